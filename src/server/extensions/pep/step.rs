//! Nodes that say the same as something else: other nodes, or what is kept for another protocol. All of it changes in
//! one step, or nothing does.
//!
//! A [`Mirror`] knows what must follow from a change. It is asked before the change is decided, in the account's turn,
//! so that what it reads is still so when everything is committed. What follows is not asked about again: there is no
//! way round in a circle.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use pubsub::request::{ItemsQuery, Values};
use pubsub::{Caller, Item, Node, Request, decide};
use store::{Batch, Fault, Receipt};
use xmpp::{BareJid, Element, Jid};

use super::Pep;
use super::ensemble::{Ensemble, lock};
use super::serve::{ATTEMPTS, Changed, Failure};
use crate::extension::BoxFuture;

/// A future that borrows.
pub type Borrowed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is about to change.
#[derive(Clone, Copy, Debug)]
pub enum Cause<'a> {
    /// A node, by this request.
    Request(&'a Request),
    /// What another protocol keeps, to this element.
    Element(&'a Element),
}

/// What follows from a change.
#[derive(Debug, Default)]
pub struct Following {
    /// Changes of the account's own nodes, made in the account's own name. Several may be about one node if each is about
    /// another item and the node has no bound of items.
    pub requests: Vec<Request>,
    /// Rows of other tables.
    pub batch: Batch,
}

/// Keeps something in step with nodes of accounts.
pub trait Mirror: Send + Sync + 'static {
    /// Whether a change of this node concerns it. Asked of every change.
    fn concerns(&self, node: &str) -> bool;

    /// What else must change with it.
    fn follow<'a>(
        &'a self,
        pep: &'a Pep,
        account: &'a BareJid,
        cause: Cause<'a>,
    ) -> Borrowed<'a, Result<Following, Failure>>;

    /// Everything is changed and durable. What is given back is done when the one who asked has been answered.
    fn settled<'a>(&'a self, _pep: &'a Pep, _account: &'a BareJid) -> Borrowed<'a, Option<BoxFuture<()>>> {
        Box::pin(std::future::ready(None))
    }
}

/// A change that is durable, and that nobody has been told of.
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
#[must_use = "who should hear of it waits"]
pub struct Done {
    changed: Option<Changed>,
    after: Option<BoxFuture<()>>,
}

impl Done {
    /// Tells those who should hear of it. The one who asked has been answered.
    pub async fn tell(self) {
        if let Some(changed) = self.changed {
            changed.tell();
        }
        if let Some(after) = self.after {
            after.await;
        }
    }
}

impl Pep {
    /// The mirror that a request concerns, if there is one.
    pub(super) fn mirror_of(&self, home: &BareJid, request: &Request) -> Option<&Arc<dyn Mirror>> {
        let name = match request {
            Request::Publish { node, .. }
            | Request::Retract { node, .. }
            | Request::Purge { node }
            | Request::Delete { node, .. }
            | Request::Configure { node, .. } => node,
            _ => return None,
        };
        home.localpart()?;
        self.mirrors.iter().find(|mirror| mirror.concerns(name))
    }

    /// Changes what another protocol keeps for `account` to `element`, and the nodes that say the same. Nobody is told
    /// before [`Done::tell`].
    ///
    /// # Errors
    /// What the mirror or the engine refuses; then nothing has changed.
    pub async fn set_in_step(
        &self,
        mirror: &dyn Mirror,
        account: &BareJid,
        element: &Element,
    ) -> Result<Done, Failure> {
        let (changed, after) = self.step(mirror, account, None, Cause::Element(element)).await?;
        Ok(Done { changed, after })
    }

    /// Makes a change of a node, and whatever follows from it.
    pub(super) async fn change_in_step(
        &self,
        mirror: &dyn Mirror,
        home: &BareJid,
        caller: &Caller,
        request: &Request,
    ) -> Result<Changed, Failure> {
        let (changed, after) = self.step(mirror, home, Some(caller), Cause::Request(request)).await?;
        let mut changed = changed.ok_or_else(|| Fault::new("a change came to nothing"))?;
        changed.after = after;
        Ok(changed)
    }

    async fn step(
        &self,
        mirror: &dyn Mirror,
        home: &BareJid,
        caller: Option<&Caller>,
        cause: Cause<'_>,
    ) -> Result<(Option<Changed>, Option<BoxFuture<()>>), Failure> {
        let _turn = self.turns.of(home.as_str()).await;
        let own = Caller::new(home.into());
        for _ in 0..ATTEMPTS {
            let Following { requests, batch } = mirror.follow(self, home, cause).await?;
            let mut all: Vec<(&Caller, &Request)> = Vec::with_capacity(1 + requests.len());
            if let (Cause::Request(request), Some(caller)) = (cause, caller) {
                all.push((caller, request));
            }
            all.extend(requests.iter().map(|request| (&own, request)));
            let Some((receipt, changed)) = self.try_together(home, &all, batch).await? else { continue };
            if let Some(receipt) = receipt
                && let Err(error) = receipt.durable().await
            {
                if let Some(changed) = changed {
                    changed.abandon();
                }
                return Err(error.into());
            }
            return Ok((changed, mirror.settled(self, home).await));
        }
        Err(Fault::new("nodes were changed by somebody else again and again").into())
    }

    /// One attempt at several requests as one step; `None` when somebody else was first.
    async fn try_together(
        &self,
        home: &BareJid,
        requests: &[(&Caller, &Request)],
        batch: Batch,
    ) -> Result<Option<(Option<Receipt>, Option<Changed>)>, Failure> {
        let names = requests.iter().filter_map(|(_, request)| request.node());
        let entries = self.entries(names.map(|name| (home, &**name)));
        let turnstiles = lock(&entries).await;
        let mut ensemble = Ensemble::load(self, &entries).await?;
        let mut reply = None;
        for (caller, request) in requests {
            let Some(at) = request.node().and_then(|name| ensemble.place(home, name)) else { continue };
            reply.get_or_insert(ensemble.decide(at, caller, request).await?);
        }
        let Some((receipt, goes)) = ensemble.commit(batch).await? else { return Ok(None) };
        drop(turnstiles);
        Ok(Some((Some(receipt), reply.map(|reply| Changed { goes, ..Changed::one(reply, None) }))))
    }

    /// The node of an account, if it exists.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn node(&self, account: &BareJid, name: &str) -> Result<Option<Node>, Fault> {
        let held = self.nodes.held(&self.nodes.entry(account, name)).await?;
        Ok(held.map(|held| held.node.clone()))
    }

    /// The newest items of an account's node, at most `items_max`, oldest of them first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn newest_of(&self, account: &BareJid, name: &str, items_max: usize) -> Result<Vec<Arc<Item>>, Fault> {
        let entry = self.nodes.entry(account, name);
        let Some(held) = self.nodes.held(&entry).await? else { return Ok(Vec::new()) };
        let held = self.nodes.present(&entry, &held, self.now()).await?;
        if let Some(items) = self.nodes.recent(&entry, &held, |recent| recent.before(None, items_max)).await? {
            return Ok(items);
        }
        let items = self.nodes.items(&held, 0, None, true, store::Page::rows(items_max)).await?;
        Ok(items.into_iter().map(Arc::new).collect())
    }

    /// One item of an account's node.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn item_of(&self, account: &BareJid, name: &str, id: &str) -> Result<Option<Arc<Item>>, Fault> {
        let entry = self.nodes.entry(account, name);
        let Some(held) = self.nodes.held(&entry).await? else { return Ok(None) };
        let held = self.nodes.present(&entry, &held, self.now()).await?;
        if let Some(item) = self.nodes.recent(&entry, &held, |recent| recent.find(id).cloned()).await? {
            return Ok(Some(item));
        }
        Ok(self.nodes.item(&held, id).await?.map(Arc::new))
    }

    /// Whether `who` may read a node of an account; `None` where there is no such node.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn may_read(&self, account: &BareJid, name: &str, who: &Jid) -> Result<Option<bool>, Fault> {
        let entry = self.nodes.entry(account, name);
        let Some(held) = self.nodes.held(&entry).await? else { return Ok(None) };
        let request = Request::Items { node: held.node.name.clone(), query: ItemsQuery::Latest(1), subid: None };
        let caller = Caller::new(who.clone());
        let view = self.view(&entry, Some(&held), &request, &caller).await?;
        Ok(Some(decide(&view, &caller, &request, self.now()).is_ok()))
    }
}

/// One value for one field of a node's configuration.
#[must_use]
pub fn values(fields: &[(&str, &str)]) -> Values {
    Values(fields.iter().map(|(var, value)| ((*var).into(), vec![(*value).into()])).collect())
}

/// The request to publish `payload` under `id`.
#[must_use]
pub fn publish(node: &str, id: &str, payload: &Element, options: Option<Values>) -> Request {
    let payload = pubsub::wire::payload(payload);
    let item = pubsub::request::NewItem { id: Some(id.into()), payload };
    Request::Publish { node: node.into(), item: Some(item), options }
}
