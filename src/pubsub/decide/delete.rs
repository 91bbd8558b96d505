//! Delete a node (XEP-0060 section 8.4) and purge it of items (section 8.5).

use super::{Draft, owned};
use crate::decision::{Audience, Change, Decision, Event, Notice, Reply};
use crate::refusal::Refusal;
use crate::request::{Caller, View};

pub(super) fn delete(view: &View, caller: &Caller, redirect: Option<&str>) -> Result<Decision, Refusal> {
    let node = owned(view, caller)?;
    let redirect = redirect.filter(|uri| !uri.is_empty());
    if redirect.is_some_and(|uri| uri.len() > view.limits.config_value_bytes_max) {
        return Err(Refusal::Malformed("The address to redirect to is too long."));
    }
    let mut notices = Vec::new();
    if node.config.notify_delete {
        notices.push(Notice {
            audience: Audience::Subscribers,
            event: Event::Deleted(redirect.map(Into::into)),
            version: node.tally.version.saturating_add(1),
        });
    }
    let mut changes = vec![Change::DeleteNode];
    changes.extend(redirect.map(|uri| Change::Redirect(uri.into())));
    Ok(Decision { changes, reply: Reply::Empty, notices })
}

/// One notification for all items: "a purge request MUST NOT result in sending the same notifications as are sent
/// when deleting items".
pub(super) fn purge(view: &View, caller: &Caller) -> Result<Decision, Refusal> {
    let node = owned(view, caller)?;
    if !node.config.persist_items {
        return Err(Refusal::Unsupported("persistent-items"));
    }
    let mut draft = Draft::new(node);
    draft.changes.push(Change::Purge);
    draft.tally.items = 0;
    if node.config.notify_retract {
        draft.tell_subscribers(Event::Purged);
    }
    Ok(draft.finish(Reply::Empty))
}
