//! The access matrix, every cell: affiliation × access model × publish model × subscription × presence × group.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pubsub::access::{Standing, may_be_notified, may_own, may_publish, may_read, may_see, may_subscribe, may_touch};
use pubsub::config::{AccessModel, PublishModel};
use pubsub::request::Relation;
use pubsub::{Affiliation, NodeConfig, Refusal, SubscriptionState};

const ACCESS: [AccessModel; 5] =
    [AccessModel::Open, AccessModel::Presence, AccessModel::Roster, AccessModel::Authorize, AccessModel::Whitelist];
const PUBLISH: [PublishModel; 3] = [PublishModel::Publishers, PublishModel::Subscribers, PublishModel::Open];

/// XEP-0060 section 4.1, the table of privileges: subscribe, retrieve, publish, configure. `None` asks the models.
fn privileges(affiliation: Affiliation) -> [Option<bool>; 4] {
    match affiliation {
        Affiliation::Owner => [Some(true), Some(true), Some(true), Some(true)],
        Affiliation::Publisher => [Some(true), Some(true), Some(true), Some(false)],
        Affiliation::PublishOnly => [Some(false), Some(false), Some(true), Some(false)],
        Affiliation::Member => [Some(true), Some(true), None, Some(false)],
        Affiliation::None => [None, None, None, Some(false)],
        Affiliation::Outcast => [Some(false), Some(false), Some(false), Some(false)],
    }
}

#[test]
fn every_cell() {
    let mut cells = 0;
    for affiliation in Affiliation::ALL {
        for access in ACCESS {
            for publish in PUBLISH {
                for bits in 0..8_u8 {
                    let (is_subscribed, sees, is_in_group) = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
                    let config = NodeConfig {
                        access_model: access,
                        publish_model: publish,
                        roster_groups_allowed: vec!["Capulets".into()],
                        ..NodeConfig::service(1000)
                    };
                    let group: Box<str> = if is_in_group { "Capulets".into() } else { "Montagues".into() };
                    let relation = Relation { sees_presence: sees, groups: vec![group] };
                    let standing = Standing { affiliation, is_subscribed, relation: &relation };

                    // Sections 4.5 and 6.5.1, for who has no affiliation.
                    let by_model = match access {
                        AccessModel::Open => Ok(()),
                        AccessModel::Presence if sees => Ok(()),
                        AccessModel::Presence => Err(Refusal::PresenceSubscriptionRequired),
                        AccessModel::Roster if sees && is_in_group => Ok(()),
                        AccessModel::Roster => Err(Refusal::NotInRosterGroup),
                        AccessModel::Authorize if is_subscribed => Ok(()),
                        AccessModel::Authorize => Err(Refusal::NotSubscribed),
                        AccessModel::Whitelist => Err(Refusal::ClosedNode),
                    };
                    let [subscribe, retrieve, may_post, configure] = privileges(affiliation);
                    let by_affiliation = |may: bool| if may { Ok(()) } else { Err(Refusal::Forbidden) };
                    let reading = retrieve.map_or(by_model.clone(), by_affiliation);
                    assert_eq!(may_read(&config, &standing), reading, "{standing:?} {access:?}");
                    assert_eq!(may_be_notified(&config, &standing), reading.is_ok());

                    let subscribing = match subscribe.map_or(by_model.clone(), by_affiliation) {
                        Ok(()) => Ok(SubscriptionState::Subscribed),
                        Err(Refusal::NotSubscribed) => Ok(SubscriptionState::Pending),
                        Err(refusal) => Err(refusal),
                    };
                    assert_eq!(may_subscribe(&config, &standing), subscribing, "{standing:?} {access:?}");
                    let closed = NodeConfig { subscribe: false, ..config.clone() };
                    assert_eq!(may_subscribe(&closed, &standing), Err(Refusal::Unsupported("subscribe")));
                    assert_eq!(may_see(&config, &standing).is_ok(), subscribing.is_ok());

                    let by_publish_model = match publish {
                        PublishModel::Publishers => false,
                        PublishModel::Subscribers => is_subscribed,
                        PublishModel::Open => true,
                    };
                    let publishing = by_affiliation(may_post.unwrap_or(by_publish_model));
                    assert_eq!(may_publish(&config, &standing), publishing, "{standing:?} {publish:?}");
                    assert_eq!(may_own(affiliation).is_ok(), configure.unwrap());
                    cells += 1;
                }
            }
        }
    }
    assert_eq!(cells, 6 * 5 * 3 * 8);
}

#[test]
fn an_item_belongs_to_its_publisher_and_to_the_owners() {
    for affiliation in Affiliation::ALL {
        let own = affiliation != Affiliation::Outcast;
        assert_eq!(may_touch(affiliation, true).is_ok(), own, "{affiliation:?}");
        assert_eq!(may_touch(affiliation, false).is_ok(), affiliation == Affiliation::Owner, "{affiliation:?}");
    }
}
