//! What people attach to items (XEP-0470), the sums of it, and likes that come as comments.
//!
//! A change to an attachment node also changes the summary, and the other way of saying that one likes a post: Movim and
//! Converse comment with a heart, Libervia attaches `<noticed/>`. All that follows from a change is committed with it,
//! as one batch that expects all nodes to be as they were: a sum is that of what is attached at any moment, also after
//! a crash. What follows is decided here and does not pass this way again, so nothing goes in a circle.

mod attach;
mod forget;
mod hearts;
pub(super) mod storms;

use std::sync::Arc;

use pubsub::model::is_expired;
use pubsub::profile::attachments::{canonical, is_attachments, is_kept, summary_of};
use pubsub::profile::likes::comments_of;
use pubsub::profile::microblog::is_comments;
use pubsub::request::{NewItem, NewPayload};
use pubsub::{Caller, Item, Refusal, Request};
use store::{Fault, Receipt};
use tokio::sync::oneshot;
use xmpp::BareJid;

use super::Pep;
use super::serve::{Changed, Failure};
use crate::tables::nodes::{Entry, Held};

/// One attempt at a change: `None` when somebody else was first.
pub(super) type Attempt = Result<Option<(Receipt, Changed)>, Failure>;

/// Waits until what an attempt changed is durable; `None` when it must be tried again.
pub(super) async fn settled(attempt: Option<(Receipt, Changed)>) -> Result<Option<Changed>, Failure> {
    let Some((receipt, changed)) = attempt else { return Ok(None) };
    if let Err(error) = receipt.durable().await {
        changed.abandon();
        return Err(error.into());
    }
    Ok(Some(changed))
}

/// Somebody else was first, and again, and again.
pub(super) fn contended() -> Failure {
    Fault::new("nodes were changed by somebody else again and again").into()
}

/// A change of several nodes that is to be told.
pub(super) fn told(reply: pubsub::Reply, goes: Vec<oneshot::Sender<bool>>) -> Changed {
    Changed { goes, ..Changed::one(reply, None) }
}

impl Pep {
    /// Decides and commits a change and everything that follows from it, and waits until that is durable.
    pub(super) async fn change_whole(
        &self,
        home: &BareJid,
        caller: &Caller,
        request: Request,
    ) -> Result<Changed, Failure> {
        let Some(name) = request.node() else { return self.change(home, caller, request).await };
        if name.len() > self.limits.name_bytes_max {
            return Err(Refusal::NameTooLong(self.limits.name_bytes_max).into());
        }
        match &request {
            Request::Publish { .. } | Request::Retract { .. } if is_attachments(name) => {
                self.attach(home, caller, &request).await
            }
            Request::Subscribe { .. } if self.is_list(home, name) => self.watch(home, caller, request).await,
            Request::Unsubscribe { node, .. } if self.is_list(home, name) => {
                let node = Arc::clone(node);
                let changed = self.change(home, caller, request).await?;
                self.unwatched(home, &node).await;
                Ok(changed)
            }
            _ if is_kept(name) => self.change(home, caller, request).await,
            Request::Publish { node, item: Some(NewItem { payload: NewPayload::One { bytes, .. }, .. }), .. } => {
                if is_comments(node) {
                    return self.comment(home, caller, request).await;
                }
                match comments_of(bytes).filter(|place| self.serves(&place.service)) {
                    Some(place) => self.post(home, caller, &request, &place).await,
                    None => self.publish_and_trim(home, caller, request).await,
                }
            }
            Request::Retract { node, .. } if is_comments(node) => self.comment(home, caller, request).await,
            Request::Retract { .. } => self.retract(home, caller, request).await,
            Request::Purge { .. } | Request::Delete { .. } => self.empty(home, caller, request).await,
            Request::Configure { node, .. } => {
                let node = Arc::clone(node);
                let changed = self.change(home, caller, request).await?;
                self.settle_likes(home, &node).await?;
                Ok(changed)
            }
            _ => self.change(home, caller, request).await,
        }
    }

    /// The request with the name under which an attachment node is kept.
    pub(super) fn named(home: &BareJid, mut request: Request) -> Request {
        let Some(name) = request.node().filter(|name| is_attachments(name)) else { return request };
        if let Some(name) = canonical(home, name) {
            request.rename(name.into());
        }
        request
    }

    /// Whether what has that address is ours.
    pub(super) fn serves(&self, address: &BareJid) -> bool {
        self.router.upgrade().is_some_and(|router| router.serves(address.domain()))
    }

    /// An item of a node, expired or not.
    async fn item_in(&self, entry: &Entry, held: &Held, id: &str) -> Result<Option<Arc<Item>>, Fault> {
        if let Some(item) = self.nodes.recent(entry, held, |recent| recent.find(id).cloned()).await? {
            return Ok(Some(item));
        }
        Ok(self.nodes.item(held, id).await?.map(Arc::new))
    }

    /// An item of a node, as long as it is shown.
    async fn live_item(&self, entry: &Entry, held: &Held, id: &str) -> Result<Option<Arc<Item>>, Fault> {
        let item = self.item_in(entry, held, id).await?;
        Ok(item.filter(|item| !is_expired(item.updated, &held.node.config, self.now())))
    }

    /// Whether anything was ever attached to items of a node.
    async fn has_summary(&self, home: &BareJid, node: &str) -> Result<bool, Fault> {
        Ok(self.nodes.stored(&self.nodes.entry(home, &summary_of(node))).await?.is_some())
    }
}

#[cfg(test)]
mod tests;
