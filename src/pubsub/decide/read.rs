//! What can be read: items (XEP-0060 section 6.5), one's own subscriptions and affiliations (5.6, 5.7), and what
//! disco shows (5.2 to 5.5).
//!
//! The decision is whether; the server reads the rows.

use xmpp::jid::Jid;
use xmpp::paging;

use super::{existing, standing};
use crate::access::{may_read, may_see};
use crate::decision::{Decision, Reply};
use crate::model::{NodeName, SubId, Subscription};
use crate::order::{By, Order};
use crate::refusal::Refusal;
use crate::request::{Caller, ItemsQuery, View};

pub(super) fn items(
    view: &View,
    caller: &Caller,
    query: &ItemsQuery,
    subid: Option<&str>,
) -> Result<Decision, Refusal> {
    let node = existing(view)?;
    may_read(&node.config, &standing(view, caller))?;
    // Sections 6.5.9.1 and 6.5.9.2. Who has one subscription, or none, need not say so.
    let own = || view.subscriptions.iter().filter(|one| one.jid == caller.jid || one.jid == Jid::from(&caller.bare));
    let is_one = |subid: &str| own().any(|one| SubId::parse(subid) == Some(one.id));
    match subid {
        Some(subid) if own().next().is_some() && !is_one(subid) => return Err(Refusal::InvalidSubId),
        None if node.tally.multiples > 0 && has_several(own()) => return Err(Refusal::SubIdRequired),
        _ => {}
    }
    if !node.config.persist_items {
        return Err(Refusal::Unsupported("persistent-items"));
    }
    if let ItemsQuery::ByIds(ids) = query
        && ids.len() > view.limits.batch_max
    {
        return Err(Refusal::BatchTooBig(view.limits.batch_max));
    }
    if let ItemsQuery::Ordered { order: Order { by: By::Creation, .. }, .. } = query
        && node.tally.items > view.limits.sorted_items_max
    {
        return Err(Refusal::TooManyToSort(view.limits.sorted_items_max));
    }
    Ok(Decision::reply(Reply::Items(node.name.clone(), query.clone())))
}

/// Whether one address is among them twice. They are in the order of their addresses.
fn has_several<'a>(rows: impl Iterator<Item = &'a Subscription>) -> bool {
    let mut before = None;
    rows.into_iter().any(|one| before.replace(&one.jid) == Some(&one.jid))
}

/// Section 6.4: they are the same everywhere, but a node that may not be seen says nothing.
pub(super) fn default_options(view: &View, caller: &Caller, node: Option<&NodeName>) -> Result<Decision, Refusal> {
    if node.is_some() {
        may_see(&existing(view)?.config, &standing(view, caller))?;
    }
    Ok(Decision::reply(Reply::DefaultOptions(node.cloned())))
}

pub(super) fn own_subscriptions(view: &View, node: Option<&NodeName>) -> Result<Decision, Refusal> {
    if node.is_some() {
        existing(view)?;
    }
    Ok(Decision::reply(Reply::OwnSubscriptions(node.cloned())))
}

pub(super) fn own_affiliations(view: &View, node: Option<&NodeName>) -> Result<Decision, Refusal> {
    if node.is_some() {
        existing(view)?;
    }
    Ok(Decision::reply(Reply::OwnAffiliations(node.cloned())))
}

pub(super) fn information(view: &View, caller: &Caller) -> Result<Decision, Refusal> {
    let node = existing(view)?;
    may_see(&node.config, &standing(view, caller))?;
    Ok(Decision::reply(Reply::NodeInformation(node.name.clone())))
}

pub(super) fn node_items(view: &View, caller: &Caller, page: &paging::Query) -> Result<Decision, Refusal> {
    let node = existing(view)?;
    may_read(&node.config, &standing(view, caller))?;
    Ok(Decision::reply(Reply::NodeItems(node.name.clone(), page.clone())))
}

/// XEP-0163 section 7.2: "MUST return as service discovery items only those nodes to which the contact is allowed to
/// subscribe or from which the contact is allowed to retrieve items". The server asks [`may_see`] of each.
pub(super) fn nodes(page: &paging::Query) -> Decision {
    Decision::reply(Reply::Nodes(page.clone()))
}
