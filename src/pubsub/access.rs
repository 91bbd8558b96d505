//! Who may do what: affiliation × access model × publish model (XEP-0060 sections 4.1 and 4.5, XEP-0163 section 3).
//!
//! Small functions over a [`Standing`], so that every cell of the matrix can be tested.

use std::sync::Arc;

use crate::config::{AccessModel, NodeConfig, PublishModel};
use crate::model::{Affiliation, Subscription, SubscriptionState};
use crate::refusal::Refusal;
use crate::request::Relation;

/// What an entity is to a node.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Its affiliation in force.
    pub affiliation: Affiliation,
    /// Whether it, or one of its resources, is subscribed. A pending subscription is none.
    pub is_subscribed: bool,
    /// How it stands to the account, if the home is one.
    pub relation: &'a Relation,
}

impl<'a> Standing<'a> {
    /// From what was loaded.
    #[must_use]
    pub fn new(affiliation: Affiliation, subscriptions: &[Subscription], relation: &'a Relation) -> Self {
        let is_subscribed = subscriptions.iter().any(|one| one.state == SubscriptionState::Subscribed);
        Self { affiliation, is_subscribed, relation }
    }
}

/// Whether the entity may retrieve items and be notified.
///
/// An affiliation decides alone; who has none must fit the access model. `Whitelist` is decided by affiliation only,
/// so that a subscription from a time when the node was open is no key to it any more.
///
/// # Errors
/// The refusal for the access model.
pub fn may_read(config: &NodeConfig, standing: &Standing<'_>) -> Result<(), Refusal> {
    match standing.affiliation {
        Affiliation::Owner | Affiliation::Publisher | Affiliation::Member => return Ok(()),
        Affiliation::PublishOnly | Affiliation::Outcast => return Err(Refusal::Forbidden),
        Affiliation::None => {}
    }
    match config.access_model {
        AccessModel::Open => Ok(()),
        AccessModel::Presence if standing.relation.sees_presence => Ok(()),
        AccessModel::Presence => Err(Refusal::PresenceSubscriptionRequired),
        AccessModel::Roster if is_in_group(config, standing.relation) => Ok(()),
        AccessModel::Roster => Err(Refusal::NotInRosterGroup),
        AccessModel::Authorize if standing.is_subscribed => Ok(()),
        AccessModel::Authorize => Err(Refusal::NotSubscribed),
        AccessModel::Whitelist => Err(Refusal::ClosedNode),
    }
}

/// Being in a group is not enough: "subscribed to the owner's presence *and* contained in the relevant roster
/// group(s)" (section 6.5.1).
fn is_in_group(config: &NodeConfig, relation: &Relation) -> bool {
    relation.sees_presence && relation.groups.iter().any(|group| config.roster_groups_allowed.contains(group))
}

/// What becomes of a new subscription.
///
/// # Errors
/// The refusal for the access model, or that the node takes no subscriptions.
pub fn may_subscribe(config: &NodeConfig, standing: &Standing<'_>) -> Result<SubscriptionState, Refusal> {
    if !config.subscribe {
        return Err(Refusal::Unsupported("subscribe"));
    }
    match may_read(config, standing) {
        Ok(()) => Ok(SubscriptionState::Subscribed),
        Err(Refusal::NotSubscribed) => Ok(SubscriptionState::Pending),
        Err(refusal) => Err(refusal),
    }
}

/// Whether the entity may publish. Whose item it may overwrite is [`may_touch`].
///
/// # Errors
/// [`Refusal::Forbidden`].
pub fn may_publish(config: &NodeConfig, standing: &Standing<'_>) -> Result<(), Refusal> {
    let may = match standing.affiliation {
        Affiliation::Owner | Affiliation::Publisher | Affiliation::PublishOnly => true,
        Affiliation::Outcast => false,
        Affiliation::Member | Affiliation::None => match config.publish_model {
            PublishModel::Open => true,
            PublishModel::Subscribers => standing.is_subscribed,
            PublishModel::Publishers => false,
        },
    };
    if may { Ok(()) } else { Err(Refusal::Forbidden) }
}

/// Whether the entity may overwrite or retract an item: owners any, others their own.
///
/// Section 4.1 lets a service allow every publisher to remove every item; we do not, because on a node that anyone
/// may publish to, an id must belong to the one who published it.
///
/// # Errors
/// [`Refusal::Forbidden`].
pub fn may_touch(affiliation: Affiliation, is_publisher_of_item: bool) -> Result<(), Refusal> {
    match affiliation {
        Affiliation::Owner => Ok(()),
        Affiliation::Outcast => Err(Refusal::Forbidden),
        _ if is_publisher_of_item => Ok(()),
        _ => Err(Refusal::Forbidden),
    }
}

/// Whether the entity may configure, purge or delete the node and see who is subscribed.
///
/// Section 4.1 would let publishers purge; ours may not, for the reason given at [`may_touch`].
///
/// # Errors
/// [`Refusal::Forbidden`].
pub fn may_own(affiliation: Affiliation) -> Result<(), Refusal> {
    if affiliation == Affiliation::Owner { Ok(()) } else { Err(Refusal::Forbidden) }
}

/// A node above the one that is asked about (XEP-0496), as it stands to the entity.
#[derive(Clone, Debug, PartialEq)]
pub enum Above {
    /// It is there.
    Node {
        /// Its configuration.
        config: Arc<NodeConfig>,
        /// What the entity is to it: the affiliation in force.
        affiliation: Affiliation,
        /// Whether the entity is subscribed to it; looked up where that decides.
        is_subscribed: bool,
    },
    /// It is not there any more: nobody comes past it.
    Missing,
}

impl Above {
    fn ask(&self, relation: &Relation, may: May) -> Result<(), Refusal> {
        match self {
            Self::Node { config, affiliation, is_subscribed } => {
                may(config, &Standing { affiliation: *affiliation, is_subscribed: *is_subscribed, relation })
            }
            Self::Missing => Err(Refusal::ItemNotFound),
        }
    }
}

/// One of the questions above.
pub type May = fn(&NodeConfig, &Standing<'_>) -> Result<(), Refusal>;

/// Whether all nodes above let the entity through: "to access a node, an entity MUST have access to all parents"
/// (XEP-0496 section 4.4).
///
/// # Errors
/// The refusal of the first that does not.
pub fn may_pass(above: &[Above], relation: &Relation, may: May) -> Result<(), Refusal> {
    above.iter().try_for_each(|above| above.ask(relation, may))
}

/// Whether the entity may know that the node exists: who may read it, and who may ask to be let in.
///
/// # Errors
/// The refusal for the access model.
pub fn may_see(config: &NodeConfig, standing: &Standing<'_>) -> Result<(), Refusal> {
    match may_read(config, standing) {
        Err(Refusal::NotSubscribed) => Ok(()),
        other => other,
    }
}

/// Whether an entity that sees the account's presence, or is the account, is notified without having subscribed
/// (XEP-0163 section 4.1). The same as reading.
#[must_use]
pub fn may_be_notified(config: &NodeConfig, standing: &Standing<'_>) -> bool {
    may_read(config, standing).is_ok()
}
