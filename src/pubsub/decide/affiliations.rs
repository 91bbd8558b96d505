//! Owners see and manage affiliations (XEP-0060 section 8.9), within the state chart of section 4.1.

use std::collections::BTreeSet;

use xmpp::jid::{BareJid, Jid};
use xmpp::paging;

use super::subscribe::{add, remove};
use super::subscribers::tell;
use super::{Draft, owned};
use crate::config::AccessModel;
use crate::decision::{Audience, Change, Decision, Event, Reply, Unmodified};
use crate::model::{Affiliation, Home, Subscription, SubscriptionState};
use crate::refusal::Refusal;
use crate::request::{Caller, Entity, View, effective};

pub(super) fn list(view: &View, caller: &Caller, page: &paging::Query) -> Result<Decision, Refusal> {
    let node = owned(view, caller)?;
    Ok(Decision::reply(Reply::Affiliated(node.name.clone(), page.clone())))
}

pub(super) fn set(
    view: &View,
    caller: &Caller,
    wanted: &[(BareJid, Option<Affiliation>)],
) -> Result<Decision, Refusal> {
    let node = owned(view, caller)?;
    if wanted.len() > view.limits.batch_max {
        return Err(Refusal::BatchTooBig(view.limits.batch_max));
    }
    let mut seen = BTreeSet::new();
    let mut impossible = Vec::new();
    let mut leaving = Vec::new();
    let mut draft = Draft::new(node);
    for (bare, affiliation) in wanted {
        if !seen.insert(bare) {
            return Err(Refusal::Ambiguous);
        }
        let Some(entity) = view.entities.iter().find(|entity| entity.jid == Jid::from(bare)) else { continue };
        let before = effective(view.home, &view.address, bare, entity.affiliation);
        let Some(after) = affiliation.filter(|after| *after != before) else { continue };
        // In an account the account owns, and nobody else.
        let is_of_account = view.home == Home::Account && (after == Affiliation::Owner || *bare == view.address);
        if is_of_account || !may_become(before, after) {
            impossible.push((bare.clone(), before));
            continue;
        }
        if before == Affiliation::Owner {
            leaving.push((bare.clone(), before));
        }
        draft.count_affiliation(before, after);
        draft.changes.push(Change::SetAffiliation(bare.clone(), after));
        draft.tell(Audience::One(bare.into()), Event::Affiliation { jid: bare.clone(), affiliation: after });
        settle_subscriptions(&mut draft, entity, after);
    }
    if draft.tally.affiliations > view.limits.affiliations_per_node_max {
        return Err(Refusal::TooManyAffiliations(view.limits.affiliations_per_node_max));
    }
    if view.home == Home::Service && draft.tally.owners == 0 {
        // Section 8.9.2.4: the last owner stays.
        impossible.append(&mut leaving);
    }
    if !impossible.is_empty() {
        let unmodified = Unmodified::Affiliations(node.name.clone(), impossible);
        return Err(Refusal::Unmodified(Box::new(unmodified)));
    }
    Ok(draft.finish(Reply::Empty))
}

/// The state chart of section 4.1, "a MUST-IMPLEMENT set of rules for checking possible state transitions".
/// `publish-only` is not in the chart and is treated as `publisher`.
fn may_become(before: Affiliation, after: Affiliation) -> bool {
    use Affiliation::{Member, None, Owner, PublishOnly, Publisher};
    match before {
        Owner => after == None,
        Publisher | PublishOnly => after != Member,
        _ => true,
    }
}

/// Section 8.7: who is let in has its pending request approved, who is banned has it refused; and who loses the right
/// to read loses the subscription.
fn settle_subscriptions(draft: &mut Draft<'_>, entity: &Entity, after: Affiliation) {
    let is_whitelist = draft.node.config.access_model == AccessModel::Whitelist;
    for subscription in &entity.subscriptions {
        match (after, subscription.state) {
            (Affiliation::Outcast | Affiliation::PublishOnly, _) => {
                remove(draft, &entity.subscriptions, subscription);
                tell(draft, &subscription.jid, subscription.id, SubscriptionState::None);
            }
            (Affiliation::None, _) if is_whitelist => {
                remove(draft, &entity.subscriptions, subscription);
                tell(draft, &subscription.jid, subscription.id, SubscriptionState::None);
            }
            (Affiliation::Owner | Affiliation::Publisher | Affiliation::Member, SubscriptionState::Pending) => {
                let state = SubscriptionState::Subscribed;
                add(draft, &entity.subscriptions, Subscription { state, ..subscription.clone() });
                tell(draft, &subscription.jid, subscription.id, state);
            }
            _ => {}
        }
    }
}
