//! Owners see and manage who is subscribed (XEP-0060 section 8.8), and answer who asks to be (section 8.6).

use std::collections::BTreeSet;

use xmpp::jid::Jid;
use xmpp::paging;

use super::subscribe::{add, remove};
use super::{Draft, owned};
use crate::config::AccessModel;
use crate::decision::{Audience, Decision, Event, Reply, Unmodified};
use crate::model::{Affiliation, Subscription, SubscriptionOptions, SubscriptionState};
use crate::refusal::Refusal;
use crate::request::{Caller, Entity, View, effective};

pub(super) fn list(view: &View, caller: &Caller, page: &paging::Query) -> Result<Decision, Refusal> {
    let node = owned(view, caller)?;
    Ok(Decision::reply(Reply::Subscribers(node.name.clone(), page.clone())))
}

pub(super) fn set(
    view: &View,
    caller: &Caller,
    wanted: &[(Jid, Option<SubscriptionState>)],
) -> Result<Decision, Refusal> {
    let node = owned(view, caller)?;
    if wanted.len() > view.limits.batch_max {
        return Err(Refusal::BatchTooBig(view.limits.batch_max));
    }
    let mut seen = BTreeSet::new();
    let mut impossible = Vec::new();
    let mut draft = Draft::new(node);
    for (jid, state) in wanted {
        if !seen.insert(jid) {
            return Err(Refusal::Ambiguous);
        }
        let Some(entity) = view.entities.iter().find(|entity| entity.jid == *jid) else { continue };
        let current = entity.subscriptions.iter().find(|one| one.jid == *jid);
        let now = current.map_or(SubscriptionState::None, |one| one.state);
        match state {
            None => {}
            Some(state) if *state == now => {}
            Some(SubscriptionState::None) => {
                if let Some(current) = current {
                    remove(&mut draft, current);
                    tell(&mut draft, jid, SubscriptionState::None);
                }
            }
            Some(SubscriptionState::Subscribed) if may_be_subscribed(view, entity) => {
                let options = current.map_or_else(SubscriptionOptions::default, |one| one.options);
                let state = SubscriptionState::Subscribed;
                add(&mut draft, Subscription { jid: jid.clone(), state, since: 0, after: 0, options });
                tell(&mut draft, jid, state);
            }
            Some(SubscriptionState::Subscribed | SubscriptionState::Pending) => impossible.push((jid.clone(), now)),
        }
    }
    if !impossible.is_empty() {
        let unmodified = Unmodified::Subscriptions(node.name.clone(), impossible);
        return Err(Refusal::Unmodified(Box::new(unmodified)));
    }
    Ok(draft.finish(Reply::Empty))
}

/// Whether an owner may subscribe somebody: not who is banned or only publishes, not beside the whitelist, and not
/// more resources than the entity could subscribe itself. Presence and roster group are checked when it is notified.
fn may_be_subscribed(view: &View, entity: &Entity) -> bool {
    let affiliation = effective(view.home, &view.address, &entity.jid.to_bare(), entity.affiliation);
    let is_listed = view.node.as_ref().is_none_or(|node| node.config.access_model != AccessModel::Whitelist);
    let is_new = !entity.subscriptions.iter().any(|one| one.jid == entity.jid);
    match affiliation {
        Affiliation::Outcast | Affiliation::PublishOnly => false,
        Affiliation::None if !is_listed => false,
        _ => !is_new || entity.subscriptions.len() < view.limits.subscriptions_per_jid_max,
    }
}

/// Section 12.12: "a service SHOULD send a message to the (new, former, or denied) subscriber".
pub(super) fn tell(draft: &mut Draft<'_>, jid: &Jid, state: SubscriptionState) {
    // Said before any last item, so that the subscriber knows why it comes.
    let version = draft.tally.version;
    let notice = crate::decision::Notice {
        audience: Audience::One(jid.clone()),
        event: Event::Subscription { jid: jid.clone(), state },
        version,
    };
    let last = draft
        .notices
        .iter()
        .rposition(|earlier| earlier.event == Event::LastItem && earlier.audience == Audience::One(jid.clone()));
    draft.notices.insert(last.unwrap_or(draft.notices.len()), notice);
}

pub(super) fn authorize(view: &View, caller: &Caller, jid: &Jid, allow: bool) -> Result<Decision, Refusal> {
    let node = owned(view, caller)?;
    let current = view.subscriptions.iter().find(|one| one.jid == *jid).ok_or(Refusal::NoSuchSubscription)?;
    let mut draft = Draft::new(node);
    match (current.state, allow) {
        // Another owner was first, and one approval is enough.
        (SubscriptionState::Subscribed | SubscriptionState::None, _) => {}
        (SubscriptionState::Pending, true) => {
            add(&mut draft, Subscription { state: SubscriptionState::Subscribed, ..current.clone() });
            tell(&mut draft, jid, SubscriptionState::Subscribed);
        }
        (SubscriptionState::Pending, false) => {
            remove(&mut draft, current);
            tell(&mut draft, jid, SubscriptionState::None);
        }
    }
    Ok(draft.finish(Reply::Empty))
}
