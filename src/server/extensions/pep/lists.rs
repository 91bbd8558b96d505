//! Requests that only read: whether they may is the engine's to say, what there is the store's.

use std::sync::Arc;

use bytes::Bytes;
use pubsub::request::ItemsQuery;
use pubsub::wire::lists;
use pubsub::wire::reply::{Rendered, render};
use pubsub::{Affiliation, Caller, Home, Item, Refusal, Reply, Request, Subscription, SubscriptionState, View, decide};
use store::Page as StorePage;
use xmpp::paging::{Page, Query, Start};
use xmpp::{BareJid, Jid};

use super::serve::Failure;
use super::types::Types;
use super::{Pep, home_of, public};
use crate::tables::nodes::{Entry, Held, Nodes};

/// Rows of small things in one answer, for each item that would be in one.
const SMALL_ROWS: u64 = 10;

/// Items and which part of the node they are.
pub(super) struct Found {
    pub(super) items: Vec<Arc<Item>>,
    /// The position of the first, where that is known without counting.
    pub(super) index: Option<u64>,
    /// Whether to say which part it is: the asker asked by page, or there is more.
    pub(super) is_page: bool,
}

impl Pep {
    /// Answers a request that only reads; `None` is an empty result.
    pub(super) async fn read(
        &self,
        home: &BareJid,
        caller: &Caller,
        request: &Request,
    ) -> Result<Option<Bytes>, Failure> {
        let (entry, held, view) = match request.node() {
            Some(name) if name.len() <= self.limits.name_bytes_max => {
                let entry = self.nodes.entry(home, name);
                let held = self.held_to_read(&entry, request).await?;
                let view = self.view(&entry, held.as_deref(), request, caller).await?;
                (Some(entry), held, view)
            }
            _ => {
                let mut view = View::new(home_of(home), home.clone(), None);
                view.limits = self.limits_of(view.home);
                (None, None, view)
            }
        };
        let decision = decide(&view, caller, request, self.now())?;
        if let (Request::Items { .. }, Some(held)) = (request, &held) {
            public::is_there(held)?;
        }
        let reply = match render(&decision.reply, home_of(home)) {
            Rendered::Empty => return Ok(None),
            Rendered::Payload(bytes) => return Ok(Some(bytes)),
            Rendered::List(reply) => reply,
        };
        let present = match (&entry, &held) {
            (Some(entry), Some(held)) => Some(self.nodes.present(entry, held, self.now()).await?),
            _ => None,
        };
        let held = present.as_deref();
        let bytes = match (reply, entry.as_deref(), held) {
            (Reply::Items(_, query), Some(entry), Some(held)) => self.items(caller, entry, held, query).await?,
            (Reply::Subscribers(_, page), Some(entry), Some(held)) => self.subscribers(entry, held, page).await?,
            (Reply::Affiliated(_, page), Some(entry), Some(held)) => self.affiliated(entry, held, page).await?,
            (Reply::NodeInformation(_), Some(entry), Some(held)) => self.node_information(entry, held).await?,
            (Reply::NodeItems(_, page), Some(entry), Some(held)) => {
                let found = self.page(entry, held, page).await?;
                let set = page_of(&found, held);
                let items = self.shown_to(&caller.bare, home, found.items).await?;
                let ids = items.iter().map(|item| &*item.id);
                lists::node_items(home, &entry.name, ids, set.as_ref())
            }
            (Reply::OwnSubscriptions(node), _, held) => {
                self.own_subscriptions(home, caller, node.as_deref(), held).await?
            }
            (Reply::OwnAffiliations(node), _, held) => {
                self.own_affiliations(home, caller, node.as_deref(), held).await?
            }
            (Reply::Nodes(page), ..) => {
                let (nodes, set) = self.nodes_seen(home, caller, page, &Types::ALL).await?;
                let rows = nodes.iter().map(|held| (&*held.node.name, held.node.config.title.as_deref()));
                lists::nodes(home, rows, set.as_ref())
            }
            _ => return Err(Refusal::ItemNotFound.into()),
        };
        Ok(Some(bytes))
    }

    /// The node, for who may ask this of it.
    pub(super) async fn require(
        &self,
        home: &BareJid,
        caller: &Caller,
        request: &Request,
    ) -> Result<Arc<Held>, Failure> {
        let name = request.node().ok_or(Refusal::NodeIdRequired)?;
        if name.len() > self.limits.name_bytes_max {
            return Err(Refusal::NameTooLong(self.limits.name_bytes_max).into());
        }
        let entry = self.nodes.entry(home, name);
        let held = self.held_to_read(&entry, request).await?;
        let view = self.view(&entry, held.as_deref(), request, caller).await?;
        decide(&view, caller, request, self.now())?;
        Ok(held.ok_or(Refusal::ItemNotFound)?)
    }

    fn store_page(&self, rows: usize) -> StorePage {
        StorePage { rows_max: rows, bytes_max: self.limits.page_bytes_max }
    }

    pub(super) fn page_max(&self) -> usize {
        usize::try_from(self.limits.page_items_max).unwrap_or(usize::MAX)
    }

    async fn items(&self, caller: &Caller, entry: &Entry, held: &Held, query: &ItemsQuery) -> Result<Bytes, Failure> {
        let found = match query {
            ItemsQuery::ByIds(ids) => self.items_by_id(entry, held, ids).await?,
            ItemsQuery::Latest(count) => {
                let count = usize::try_from(*count).unwrap_or(usize::MAX).min(self.page_max());
                let items = self.newest(entry, held, None, count).await?;
                // Movim and Converse ask so for the first page, and go on from where this says it begins.
                Found { index: held.node.tally.items.checked_sub(items.len() as u64), items, is_page: true }
            }
            ItemsQuery::Page(page) => self.page(entry, held, page).await?,
            ItemsQuery::Ordered { order, newest, page } => self.ordered(entry, held, *order, (*newest, page)).await?,
        };
        let config = &held.node.config;
        let set = page_of(&found, held);
        let items = self.shown_to(&caller.bare, &entry.home, found.items).await?;
        let capacity = items.iter().map(|item| item.payload.len() + 160).sum();
        let mut list = lists::Items::new(&entry.name, config, capacity);
        for item in &items {
            list.push(item);
        }
        Ok(list.finish(set.as_ref()))
    }

    async fn items_by_id(&self, entry: &Entry, held: &Held, ids: &[Box<str>]) -> Result<Found, Failure> {
        let mut items = Vec::with_capacity(ids.len());
        let mut bytes = 0;
        for id in ids {
            let here = self.nodes.recent(entry, held, |recent| recent.find(id).cloned()).await?;
            let item = match here {
                Some(item) => Some(item),
                None => self.nodes.item(held, id).await?.map(Arc::new),
            };
            let Some(item) = item else { continue };
            bytes += item.payload.len();
            if bytes > self.limits.page_bytes_max && !items.is_empty() {
                break;
            }
            items.push(item);
        }
        Ok(Found { items, index: None, is_page: false })
    }

    /// The last items before a position, or of all.
    async fn newest(
        &self,
        entry: &Entry,
        held: &Held,
        before: Option<u64>,
        count: usize,
    ) -> Result<Vec<Arc<Item>>, Failure> {
        if count == 0 {
            return Ok(Vec::new());
        }
        if let Some(items) = self.nodes.recent(entry, held, |recent| recent.before(before, count)).await? {
            return Ok(items);
        }
        let items = self.nodes.items(held, 0, before, true, self.store_page(count)).await?;
        Ok(items.into_iter().map(Arc::new).collect())
    }

    /// The first items after a position; 0 is before the first.
    async fn oldest(&self, entry: &Entry, held: &Held, after: u64, count: usize) -> Result<Vec<Arc<Item>>, Failure> {
        if count == 0 {
            return Ok(Vec::new());
        }
        if let Some(items) = self.nodes.recent(entry, held, |recent| recent.after(after, count)).await? {
            return Ok(items);
        }
        let items = self.nodes.items(held, after, None, false, self.store_page(count)).await?;
        Ok(items.into_iter().map(Arc::new).collect())
    }

    /// A page by XEP-0059, in order of publication.
    ///
    /// Who asks for all items of a node that has more than one answer holds is given the newest, and is told which
    /// part that is (section 6.5.4): whoever does not page wants to see what is new.
    pub(super) async fn page(&self, entry: &Entry, held: &Held, query: &Query) -> Result<Found, Failure> {
        let count = held.node.tally.items;
        let size = query.size(self.page_max());
        let is_all = *query == Query::default();
        let is_page = !is_all || count > size as u64;
        let position = async |id: &str| -> Result<u64, Failure> {
            let head = self.nodes.item_head(entry, held, id).await?;
            Ok(head.ok_or(Refusal::ItemNotFound)?.sequence)
        };
        let (items, index) = match query.start() {
            Start::First if is_all && count > size as u64 => (self.newest(entry, held, None, size).await?, None),
            Start::First => (self.oldest(entry, held, 0, size).await?, Some(0)),
            Start::After(id) => (self.oldest(entry, held, position(id).await?, size).await?, None),
            Start::Before(id) => (self.newest(entry, held, Some(position(id).await?), size).await?, None),
            Start::Last => {
                let items = self.newest(entry, held, None, size).await?;
                let index = count.checked_sub(items.len() as u64);
                (items, index)
            }
            // Section 2.7: a place in a list of a million is found by counting, and we do not count.
            Start::Index(_) => return Err(Refusal::Unsupported("rsm").into()),
        };
        Ok(Found { items, index, is_page })
    }

    async fn own_subscriptions(
        &self,
        home: &BareJid,
        caller: &Caller,
        node: Option<&str>,
        held: Option<&Held>,
    ) -> Result<Bytes, Failure> {
        let rows_max = self.page_max().saturating_mul(10);
        let rows: Vec<(Box<str>, Subscription)> = match (node, held) {
            (Some(node), Some(held)) => {
                let rows = self.nodes.subscriptions_of(held, &caller.bare, rows_max).await?;
                rows.into_iter().map(|one| (Box::from(node), one)).collect()
            }
            _ => self.nodes.own_subscriptions(&caller.bare, home, rows_max).await?,
        };
        Ok(lists::own_subscriptions(node, rows.iter().map(|(node, one)| (&**node, one))))
    }

    async fn own_affiliations(
        &self,
        home: &BareJid,
        caller: &Caller,
        node: Option<&str>,
        held: Option<&Held>,
    ) -> Result<Bytes, Failure> {
        let rows_max = self.page_max().saturating_mul(10);
        let owns_home = home_of(home) == Home::Account && caller.bare == *home;
        let rows: Vec<(Box<str>, Affiliation)> = match (node, held) {
            (Some(node), Some(held)) => {
                let stored = self.nodes.affiliation(held, &caller.bare).await?;
                let affiliation = pubsub::request::effective(home_of(home), home, &caller.bare, stored);
                Vec::from_iter((affiliation != Affiliation::None).then(|| (Box::from(node), affiliation)))
            }
            _ if owns_home => {
                let nodes = self.listed_nodes(home, None, rows_max).await?;
                nodes.into_iter().map(|held| (Box::from(&*held.node.name), Affiliation::Owner)).collect()
            }
            _ => self.nodes.own_affiliations(&caller.bare, home, rows_max).await?,
        };
        Ok(lists::own_affiliations(node, rows.iter().map(|(node, affiliation)| (&**node, *affiliation))))
    }

    fn small_page(&self, query: &Query) -> usize {
        query.size(usize::try_from(self.limits.page_items_max * SMALL_ROWS).unwrap_or(usize::MAX))
    }

    async fn subscribers(&self, entry: &Entry, held: &Held, query: &Query) -> Result<Bytes, Failure> {
        let size = self.small_page(query);
        let mut from = match query.start() {
            Start::First => None,
            Start::After(jid) => Some(Nodes::position(held, &Jid::new(jid).map_err(|_| Refusal::ItemNotFound)?)),
            Start::Before(_) | Start::Last | Start::Index(_) => return Err(Refusal::Unsupported("rsm").into()),
        };
        let mut rows: Vec<Subscription> = Vec::new();
        while rows.len() < size {
            let page = self.nodes.subscribers(held, from.as_ref(), size - rows.len()).await?;
            // Section 8.8.1.2: pending ones SHOULD NOT be listed.
            rows.extend(page.rows.into_iter().filter(|one| one.state == SubscriptionState::Subscribed));
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        let is_page = *query != Query::default() || from.is_some();
        let set = is_page.then(|| Page {
            first: rows.first().map(|one| one.jid.to_string()),
            last: rows.last().map(|one| one.jid.to_string()),
            index: None,
            count: Some(held.node.tally.subscribers),
        });
        Ok(lists::subscribers(&entry.name, &rows, set.as_ref()))
    }

    async fn affiliated(&self, entry: &Entry, held: &Held, query: &Query) -> Result<Bytes, Failure> {
        let size = self.small_page(query);
        let after = match query.start() {
            Start::First => None,
            Start::After(jid) => Some(BareJid::new(jid).map_err(|_| Refusal::ItemNotFound)?),
            Start::Before(_) | Start::Last | Start::Index(_) => return Err(Refusal::Unsupported("rsm").into()),
        };
        let mut rows = self.nodes.affiliations(held, after.as_ref(), size.max(1)).await?;
        let is_account = home_of(&entry.home) == Home::Account;
        rows.retain(|(bare, _)| !is_account || *bare != entry.home);
        let is_page = *query != Query::default() || rows.len() >= size;
        let stored = rows.len();
        if is_account && after.is_none() {
            // The account owns its nodes without a row that says so.
            rows.insert(0, (entry.home.clone(), Affiliation::Owner));
        }
        let set = is_page.then(|| Page {
            first: rows.first().map(|(bare, _)| bare.to_string()),
            last: rows.last().map(|(bare, _)| bare.to_string()).filter(|_| stored > 0),
            index: None,
            count: Some(held.node.tally.affiliations.saturating_add(u64::from(is_account))),
        });
        Ok(lists::affiliated(&entry.name, rows.iter().map(|(bare, affiliation)| (bare, *affiliation)), set.as_ref()))
    }

    pub(super) async fn node_information(&self, entry: &Entry, held: &Held) -> Result<Bytes, Failure> {
        let (owners, publishers) = self.owners_and_publishers(&entry.home, held).await?;
        Ok(lists::node_information(&held.node, &owners, &publishers))
    }

    /// Who owns a node, and who publishes there, as its metadata says.
    pub(super) async fn owners_and_publishers(
        &self,
        home: &BareJid,
        held: &Held,
    ) -> Result<(Vec<BareJid>, Vec<BareJid>), Failure> {
        let listed = self.nodes.affiliations(held, None, self.page_max()).await?;
        let of = |wanted: Affiliation| {
            listed.iter().filter(move |(_, affiliation)| *affiliation == wanted).map(|(bare, _)| bare.clone())
        };
        let owners: Vec<BareJid> = match home_of(home) {
            Home::Account => vec![home.clone()],
            Home::Service => of(Affiliation::Owner).collect(),
        };
        let publishers = owners.iter().cloned().chain(of(Affiliation::Publisher)).collect();
        Ok((owners, publishers))
    }
}

/// What is said of the part of a node that was given.
fn page_of(found: &Found, held: &Held) -> Option<Page> {
    found.is_page.then(|| Page {
        first: found.items.first().map(|item| item.id.to_string()),
        last: found.items.last().map(|item| item.id.to_string()),
        index: found.index.filter(|_| !found.items.is_empty()),
        count: Some(held.node.tally.items),
    })
}
