//! Items whose time is over (`pubsub#item_expire`), and subscriptions whose lease is (section 12.19): nobody asks for it,
//! the server does it.

use super::Draft;
use super::subscribe::remove;
use super::subscribers::tell;
use crate::decision::{Audience, Change, Decision, Event, Reply};
use crate::model::{ItemHead, Node, Subscription, SubscriptionState};
use crate::options::REMINDER_SECONDS;
use crate::time::Timestamp;

/// Removes items. The caller has found that they are [`crate::model::is_expired`].
///
/// Subscribers are told if the owner wants them told of retractions.
#[must_use]
pub fn expire(node: &Node, items: &[ItemHead]) -> Decision {
    let mut draft = Draft::new(node);
    for item in items {
        draft.changes.push(Change::DropItem { sequence: item.sequence, id: item.id.clone() });
        draft.tally.items = draft.tally.items.saturating_sub(1);
        if node.config.notify_retract {
            draft.tell_subscribers(Event::Retracted(item.id.clone()));
        }
    }
    draft.finish(Reply::Empty)
}

/// Ends subscriptions whose lease is over by now, and reminds those that `due` was noted for: their lease is over
/// [`REMINDER_SECONDS`] after it. The others are left alone. Who was subscribed is told (section 12.14).
#[must_use]
pub fn lapse(node: &Node, subscriptions: &[Subscription], due: Timestamp, now: Timestamp) -> Decision {
    let mut draft = Draft::new(node);
    for subscription in subscriptions {
        let Some(end) = subscription.options.expire else { continue };
        let is_told = subscription.state == SubscriptionState::Subscribed;
        if end > now && is_told && due.plus_seconds(REMINDER_SECONDS) == end {
            let (jid, id) = (subscription.jid.clone(), subscription.id);
            draft.tell(Audience::One(jid.clone()), Event::LeaseEnds { jid, id, end });
        }
        if end <= now {
            remove(&mut draft, subscriptions, subscription);
            tell(&mut draft, &subscription.jid, subscription.id, SubscriptionState::None);
        }
    }
    draft.finish(Reply::Empty)
}
