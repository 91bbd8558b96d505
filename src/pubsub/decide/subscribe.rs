//! Subscribe, unsubscribe, and the options of a subscription (XEP-0060 sections 6.1 to 6.3).
//!
//! Any address of the caller's own may be subscribed, bare or full, local or remote; each is one subscription.

use xmpp::jid::Jid;

use super::{Draft, existing, standing};
use crate::access::may_subscribe;
use crate::config::SendLast;
use crate::decision::{Audience, Change, Decision, Event, Reply};
use crate::model::{Subscription, SubscriptionOptions, SubscriptionState};
use crate::refusal::Refusal;
use crate::request::{Caller, Values, View, subscription_options};
use crate::time::Timestamp;

pub(super) fn subscribe(
    view: &View,
    caller: &Caller,
    jid: &Jid,
    values: Option<&Values>,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    // Section 6.1.3.1.
    if jid.to_bare() != caller.bare {
        return Err(Refusal::InvalidJid);
    }
    let node = existing(view)?;
    let state = may_subscribe(&node.config, &standing(view, caller))?;
    let current = view.subscriptions.iter().find(|one| one.jid == *jid);
    if current.is_some_and(|one| one.state == SubscriptionState::Pending) && state == SubscriptionState::Pending {
        return Err(Refusal::PendingSubscription);
    }
    let before = current.map_or_else(SubscriptionOptions::default, |one| one.options);
    let options = values.map_or(Ok(before), |values| subscription_options(before, values, &view.limits, now))?;
    let reply = Reply::Subscription {
        node: node.name.clone(),
        jid: jid.clone(),
        state,
        options: values.is_some().then_some(options),
    };
    let mut draft = Draft::new(node);
    if let Some(current) = current.filter(|one| one.state == state) {
        // Section 6.1.6: "the service MUST return the current subscription state".
        if current.options != options {
            draft.changes.push(Change::PutSubscription(Subscription { options, ..current.clone() }));
        }
        return Ok(draft.finish(reply));
    }
    if current.is_none()
        && (view.subscriptions.len() >= view.limits.subscriptions_per_jid_max
            || node.tally.subscribers >= view.limits.subscriptions_per_node_max)
    {
        return Err(Refusal::TooManySubscriptions);
    }
    add(&mut draft, Subscription { jid: jid.clone(), state, since: 0, after: 0, options });
    match state {
        SubscriptionState::Pending => draft.tell(Audience::Owners, Event::AuthorizationWanted { jid: jid.clone() }),
        _ if node.config.notify_sub => {
            draft.tell(Audience::Owners, Event::Subscription { jid: jid.clone(), state });
        }
        _ => {}
    }
    Ok(draft.finish(reply))
}

/// Adds or approves a subscription, and sends the last item if that is configured (section 6.1.7).
pub(super) fn add(draft: &mut Draft<'_>, mut subscription: Subscription) {
    subscription.since = draft.tally.version;
    subscription.after = draft.node.tally.sequence;
    if subscription.state == SubscriptionState::Subscribed {
        draft.tally.subscribers = draft.tally.subscribers.saturating_add(1);
        let config = &draft.node.config;
        if config.send_last_published_item != SendLast::Never
            && config.deliver_notifications
            && subscription.options.deliver
            && draft.node.tally.items > 0
        {
            draft.tell(Audience::One(subscription.jid.clone()), Event::LastItem);
        }
    }
    draft.changes.push(Change::PutSubscription(subscription));
}

/// Takes a subscription away.
pub(super) fn remove(draft: &mut Draft<'_>, subscription: &Subscription) {
    if subscription.state == SubscriptionState::Subscribed {
        draft.tally.subscribers = draft.tally.subscribers.saturating_sub(1);
    }
    draft.changes.push(Change::DropSubscription(subscription.jid.clone()));
}

pub(super) fn unsubscribe(view: &View, caller: &Caller, jid: &Jid) -> Result<Decision, Refusal> {
    let (node, current) = own(view, caller, jid)?;
    let mut draft = Draft::new(node);
    remove(&mut draft, current);
    if node.config.notify_sub && current.state == SubscriptionState::Subscribed {
        let event = Event::Subscription { jid: jid.clone(), state: SubscriptionState::None };
        draft.tell(Audience::Owners, event);
    }
    Ok(draft.finish(Reply::Subscription {
        node: node.name.clone(),
        jid: jid.clone(),
        state: SubscriptionState::None,
        options: None,
    }))
}

pub(super) fn options(view: &View, caller: &Caller, jid: &Jid) -> Result<Decision, Refusal> {
    let (node, current) = own(view, caller, jid)?;
    Ok(Decision::reply(Reply::Options { node: node.name.clone(), jid: jid.clone(), options: current.options }))
}

pub(super) fn set_options(
    view: &View,
    caller: &Caller,
    jid: &Jid,
    values: &Values,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let (node, current) = own(view, caller, jid)?;
    let options = subscription_options(current.options, values, &view.limits, now)?;
    let mut draft = Draft::new(node);
    if options != current.options {
        draft.changes.push(Change::PutSubscription(Subscription { options, ..current.clone() }));
    }
    Ok(draft.finish(Reply::Empty))
}

/// The caller's own subscription of that address (sections 6.2.3.2, 6.2.3.3, 6.3.4.1, 6.3.4.2).
fn own<'a>(view: &'a View, caller: &Caller, jid: &Jid) -> Result<(&'a crate::model::Node, &'a Subscription), Refusal> {
    if jid.to_bare() != caller.bare {
        return Err(Refusal::Forbidden);
    }
    let node = existing(view)?;
    let current = view.subscriptions.iter().find(|one| one.jid == *jid).ok_or(Refusal::NoSuchSubscription)?;
    Ok((node, current))
}
