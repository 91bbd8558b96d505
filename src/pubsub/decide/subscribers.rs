//! Owners see and manage who is subscribed (XEP-0060 section 8.8), and answer who asks to be (section 8.6).

use std::collections::BTreeSet;

use xmpp::jid::Jid;
use xmpp::paging;

use super::subscribe::{add, remove};
use super::{Draft, owned};
use crate::config::AccessModel;
use crate::decision::{Audience, Decision, Event, Reply, Unmodified};
use crate::model::{Affiliation, SubId, Subscription, SubscriptionOptions, SubscriptionState};
use crate::refusal::Refusal;
use crate::request::{Caller, Entity, View, Wanted, effective};

pub(super) fn list(view: &View, caller: &Caller, page: &paging::Query) -> Result<Decision, Refusal> {
    let node = owned(view, caller)?;
    Ok(Decision::reply(Reply::Subscribers(node.name.clone(), page.clone())))
}

pub(super) fn set(view: &View, caller: &Caller, wanted: &[Wanted]) -> Result<Decision, Refusal> {
    let node = owned(view, caller)?;
    if wanted.len() > view.limits.batch_max {
        return Err(Refusal::BatchTooBig(view.limits.batch_max));
    }
    let mut seen = BTreeSet::new();
    let mut impossible = Vec::new();
    let mut draft = Draft::new(node);
    for Wanted { jid, subid, state } in wanted {
        // Section 8.8.2.4: "each element MUST possess a distinct value of the 'subid' attribute".
        if !seen.insert((jid, subid)) {
            return Err(Refusal::Ambiguous);
        }
        let Some(entity) = view.entities.iter().find(|entity| entity.jid == *jid) else { continue };
        let Some(state) = *state else { continue };
        let id = subid.as_deref().map(SubId::parse);
        let mut known = entity.subscriptions.iter().filter(|one| one.jid == *jid).peekable();
        if known.peek().is_none() && id.is_none() {
            match state {
                SubscriptionState::None => {}
                SubscriptionState::Subscribed if may_be_subscribed(view, entity) => {
                    let (jid, id) = (jid.clone(), SubId(draft.tally.version));
                    let options = SubscriptionOptions::default();
                    add_told(&mut draft, entity, Subscription { jid, id, state, since: 0, after: 0, options });
                }
                _ => impossible.push((jid.clone(), None, SubscriptionState::None)),
            }
            continue;
        }
        let mut is_found = false;
        for current in known.filter(|one| id.is_none_or(|id| id == Some(one.id))) {
            is_found = true;
            match state {
                _ if state == current.state => {}
                SubscriptionState::None => {
                    remove(&mut draft, &entity.subscriptions, current);
                    tell(&mut draft, jid, current.id, state);
                }
                SubscriptionState::Subscribed if may_be_subscribed(view, entity) => {
                    add_told(&mut draft, entity, Subscription { state, ..current.clone() });
                }
                _ => impossible.push((jid.clone(), Some(current.id), current.state)),
            }
        }
        if !is_found {
            impossible.push((jid.clone(), None, SubscriptionState::None));
        }
    }
    if !impossible.is_empty() {
        let unmodified = Unmodified::Subscriptions(node.name.clone(), impossible);
        return Err(Refusal::Unmodified(Box::new(unmodified)));
    }
    Ok(draft.finish(Reply::Empty))
}

fn add_told(draft: &mut Draft<'_>, entity: &Entity, subscription: Subscription) {
    let (jid, id, state) = (subscription.jid.clone(), subscription.id, subscription.state);
    add(draft, &entity.subscriptions, subscription);
    tell(draft, &jid, id, state);
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

/// Section 12.14: "a service SHOULD send a message to the (new, former, or denied) subscriber".
pub(super) fn tell(draft: &mut Draft<'_>, jid: &Jid, id: SubId, state: SubscriptionState) {
    // Said before any last item, so that the subscriber knows why it comes.
    let version = draft.tally.version;
    let notice = crate::decision::Notice {
        audience: Audience::One(jid.clone()),
        event: Event::Subscription { jid: jid.clone(), id, state },
        version,
    };
    let last = draft
        .notices
        .iter()
        .rposition(|earlier| earlier.event == Event::LastItem && earlier.audience == Audience::One(jid.clone()));
    draft.notices.insert(last.unwrap_or(draft.notices.len()), notice);
}

pub(super) fn authorize(
    view: &View,
    caller: &Caller,
    jid: &Jid,
    subid: Option<&str>,
    allow: bool,
) -> Result<Decision, Refusal> {
    let node = owned(view, caller)?;
    let mut own = view.subscriptions.iter().filter(|one| one.jid == *jid).peekable();
    own.peek().ok_or(Refusal::NoSuchSubscription)?;
    let mut draft = Draft::new(node);
    let mut is_found = false;
    for current in own.filter(|one| subid.is_none_or(|subid| SubId::parse(subid) == Some(one.id))) {
        is_found = true;
        match (current.state, allow) {
            // Another owner was first, and one approval is enough.
            (SubscriptionState::Subscribed | SubscriptionState::None, _) => {}
            (SubscriptionState::Pending, true) => {
                let state = SubscriptionState::Subscribed;
                add(&mut draft, &view.subscriptions, Subscription { state, ..current.clone() });
                tell(&mut draft, jid, current.id, state);
            }
            (SubscriptionState::Pending, false) => {
                remove(&mut draft, &view.subscriptions, current);
                tell(&mut draft, jid, current.id, SubscriptionState::None);
            }
        }
    }
    if !is_found {
        // What was asked for then is no more; what is asked for now has another identifier.
        return Err(Refusal::InvalidSubId);
    }
    Ok(draft.finish(Reply::Empty))
}
