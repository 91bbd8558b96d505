//! Subscribe, unsubscribe, and the options of a subscription (XEP-0060 sections 6.1 to 6.3).
//!
//! Any address of the caller's own may be subscribed, bare or full, local or remote. One that asks again with other
//! options has another subscription (section 6.1.6); one that asks for what it has is told what it has.

use xmpp::jid::Jid;

use super::create::unposted;
use super::{Draft, existing, standing};
use crate::access::{Standing, may_subscribe};
use crate::config::SendLast;
use crate::decision::{Audience, Change, Decision, Event, Reply};
use crate::model::{Affiliation, Node, NodeName, SubId, Subscription, SubscriptionOptions, SubscriptionState};
use crate::options::amended;
use crate::profile::is_everybodys;
use crate::refusal::Refusal;
use crate::request::{Caller, Relation, Values, View, effective};
use crate::time::Timestamp;

pub(super) fn subscribe(
    view: &View,
    caller: &Caller,
    (name, jid): (&NodeName, &Jid),
    values: Option<&Values>,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    // Section 6.1.3.1.
    if jid.to_bare() != caller.bare {
        return Err(Refusal::InvalidJid);
    }
    let begun = begun(view, name, now);
    let (node, state, known) = match &begun {
        Some(node) => {
            let affiliation = effective(view.home, &view.address, &caller.bare, Affiliation::None);
            let (known, relation): (&[Subscription], _) = (&[], Relation::default());
            (node, may_subscribe(&node.config, &Standing::new(affiliation, known, &relation))?, known)
        }
        None => {
            let node = existing(view)?;
            (node, may_subscribe(&node.config, &standing(view, caller))?, view.subscriptions.as_slice())
        }
    };
    let own: Vec<&Subscription> = known.iter().filter(|one| one.jid == *jid).collect();
    if state == SubscriptionState::Pending && own.iter().any(|one| one.state == state) {
        return Err(Refusal::PendingSubscription);
    }
    let wanted = match values {
        Some(values) => Some(amended(SubscriptionOptions::default(), values, &view.limits, now)?),
        None => None,
    };
    let current = match wanted {
        // The end apart: who asks again for a lease renews it.
        Some(wanted) => own.iter().find(|one| SubscriptionOptions { expire: wanted.expire, ..one.options } == wanted),
        None => own.first(),
    };
    if let Some(wanted) = wanted {
        check_extended(view, node, jid, wanted)?;
    }
    let mut draft = Draft::new(node);
    let id = current.map_or(SubId(draft.tally.version), |one| one.id);
    let options = wanted.or(current.map(|one| one.options)).unwrap_or_default();
    let reply = Reply::Subscription { node: node.name.clone(), jid: jid.clone(), id, state, options: wanted };
    if let Some(current) = current.filter(|one| one.state == state) {
        if current.options != options {
            put(&mut draft, view, Subscription { options, ..(*current).clone() });
        }
        return Ok(draft.finish(reply));
    }
    if current.is_none()
        && (known.len() >= view.limits.subscriptions_per_jid_max
            || node.tally.subscribers >= view.limits.subscriptions_per_node_max)
    {
        return Err(Refusal::TooManySubscriptions);
    }
    let is_follower = own.iter().any(|one| one.state == SubscriptionState::Subscribed);
    let subscription = Subscription { jid: jid.clone(), id, state, since: 0, after: 0, options };
    add(&mut draft, known, subscription);
    match state {
        SubscriptionState::Pending => draft.tell(Audience::Owners, Event::AuthorizationWanted { jid: jid.clone(), id }),
        // Who is known to be subscribed is no news.
        _ if node.config.notify_sub && !is_follower => {
            draft.tell(Audience::Owners, Event::Subscription { jid: jid.clone(), id, state });
        }
        _ => {}
    }
    let mut decision = draft.finish(reply);
    if let Some(node) = &begun {
        decision.changes.insert(0, Change::CreateNode(node.clone()));
    }
    Ok(decision)
}

/// The feed of an account that nobody has posted to: its first follower makes it. Where there is no room for another
/// node, or the owner left an address when it went, it is not there as any other.
fn begun(view: &View, name: &NodeName, now: Timestamp) -> Option<Node> {
    let is_there = is_everybodys(view.home, name) && view.node.is_none() && view.is_account && view.moved.is_none();
    let has_room = view.nodes < view.limits.nodes_max;
    (is_there && has_room).then(|| unposted(&view.address, name, &view.limits, now))
}

/// Those who hear of what is below a node are walked for each thing that happens there, so they have a bound of their own.
fn check_extended(view: &View, node: &Node, jid: &Jid, options: SubscriptionOptions) -> Result<(), Refusal> {
    let is_known = view.subscriptions.iter().any(|one| one.jid == *jid && one.is_extended());
    let is_full = node.tally.extended >= view.limits.extended_per_node_max;
    if options.reach.is_extended() && !is_known && is_full { Err(Refusal::TooManySubscriptions) } else { Ok(()) }
}

/// Adds or approves a subscription, and sends the last item if that is configured (section 6.1.7). `known` is what its
/// address has now, and perhaps what others have.
pub(super) fn add(draft: &mut Draft<'_>, known: &[Subscription], mut subscription: Subscription) {
    subscription.since = draft.tally.version;
    subscription.after = draft.node.tally.sequence;
    if subscription.state == SubscriptionState::Subscribed {
        let config = &draft.node.config;
        if config.send_last_published_item != SendLast::Never
            && config.deliver_notifications
            && subscription.options.deliver
            && subscription.options.reach.has_items()
            && draft.node.tally.items > 0
        {
            draft.tell(Audience::One(subscription.jid.clone()), Event::LastItem);
        }
    }
    replace(draft, known, subscription);
}

fn replace(draft: &mut Draft<'_>, known: &[Subscription], subscription: Subscription) {
    let jid = subscription.jid.clone();
    draft.resubscribe(known, &jid, |rows| match rows.iter_mut().find(|one| one.id == subscription.id) {
        Some(row) => *row = subscription,
        None => rows.push(subscription),
    });
}

fn put(draft: &mut Draft<'_>, view: &View, subscription: Subscription) {
    replace(draft, &view.subscriptions, subscription);
}

/// Takes a subscription away.
pub(super) fn remove(draft: &mut Draft<'_>, known: &[Subscription], subscription: &Subscription) {
    draft.resubscribe(known, &subscription.jid, |rows| rows.retain(|one| one.id != subscription.id));
}

pub(super) fn unsubscribe(view: &View, caller: &Caller, jid: &Jid, subid: Option<&str>) -> Result<Decision, Refusal> {
    let (node, current) = own(view, caller, jid, subid)?;
    let mut draft = Draft::new(node);
    let id = current.id;
    remove(&mut draft, &view.subscriptions, current);
    let is_told = |one: &&Subscription| one.jid == *jid && one.state == SubscriptionState::Subscribed;
    let is_last = !view.subscriptions.iter().filter(is_told).any(|one| one.id != id);
    if node.config.notify_sub && current.state == SubscriptionState::Subscribed && is_last {
        let event = Event::Subscription { jid: jid.clone(), id, state: SubscriptionState::None };
        draft.tell(Audience::Owners, event);
    }
    Ok(draft.finish(Reply::Subscription {
        node: node.name.clone(),
        jid: jid.clone(),
        id,
        state: SubscriptionState::None,
        options: None,
    }))
}

pub(super) fn options(view: &View, caller: &Caller, jid: &Jid, subid: Option<&str>) -> Result<Decision, Refusal> {
    let (node, current) = own(view, caller, jid, subid)?;
    let id = subid.map(|_| current.id);
    Ok(Decision::reply(Reply::Options { node: node.name.clone(), jid: jid.clone(), id, options: current.options }))
}

pub(super) fn set_options(
    view: &View,
    caller: &Caller,
    (jid, subid): (&Jid, Option<&str>),
    values: &Values,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let (node, current) = own(view, caller, jid, subid)?;
    let options = amended(current.options, values, &view.limits, now)?;
    check_extended(view, node, jid, options)?;
    let mut draft = Draft::new(node);
    if options != current.options {
        put(&mut draft, view, Subscription { options, ..current.clone() });
    }
    Ok(draft.finish(Reply::Empty))
}

/// The caller's own subscription of that address (sections 6.2.3 and 6.3.4). Which, must be said by who has several.
fn own<'a>(
    view: &'a View,
    caller: &Caller,
    jid: &Jid,
    subid: Option<&str>,
) -> Result<(&'a Node, &'a Subscription), Refusal> {
    if jid.to_bare() != caller.bare {
        return Err(Refusal::Forbidden);
    }
    let node = existing(view)?;
    let mut own = view.subscriptions.iter().filter(|one| one.jid == *jid);
    let first = own.next().ok_or(Refusal::NoSuchSubscription)?;
    let current = match subid {
        Some(subid) => {
            let id = SubId::parse(subid).ok_or(Refusal::InvalidSubId)?;
            let mut all = std::iter::once(first).chain(own);
            all.find(|one| one.id == id).ok_or(Refusal::InvalidSubId)?
        }
        None if own.next().is_some() => return Err(Refusal::SubIdRequired),
        None => first,
    };
    Ok((node, current))
}
