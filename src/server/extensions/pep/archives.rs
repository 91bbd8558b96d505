//! XEP-0442: the archive of a node, queried as any archive is (XEP-0313).
//!
//! A node is its own archive: what it holds is in it, in the order of publication, and what it let go is not. An item
//! has the id there that it has in home timelines: its place leads straight to it. Who may read the items may query
//! them. Whoever looks for words or for a publisher has a bounded number of items looked at for each page.

use std::sync::Arc;

use pubsub::config::ItemReply;
use pubsub::order::By;
use pubsub::profile::words::words;
use pubsub::request::ItemsQuery;
use pubsub::wire::notification::{self, Origin};
use pubsub::{Caller, Event, Home, Item, Refusal, Request, Timestamp, decide};
use xmpp::paging;
use xmpp::stanza::{IqType, Kind};
use xmpp::xml::{WithAttribute as _, element_bytes};
use xmpp::{Element, StanzaError, ns};

use super::order::{Chosen, Part, Sorted};
use super::serve::Failure;
use super::{Pep, home_of, public};
use crate::extension::{Answer, Asked, BoxFuture, Reply};
use crate::extensions::archive;
use crate::extensions::archive::request::{Fields, Page, Query};
use crate::extensions::archive::results::Results;
use crate::runtime::rfc3339;
use crate::tables::nodes::{Entry, Held};
use crate::tables::timeline::{Place, source_of};

/// Items that can be asked for by their ids in one query.
const IDS_MAX: usize = 100;
/// Items looked at for one page of a query that looks for words or for a publisher.
const LOOKED_AT_MAX: usize = 2_000;
/// Bytes of them.
const LOOKED_AT_BYTES_MAX: usize = 4 << 20;
/// Items looked at in one go.
const GO: usize = 100;

/// What was found, in order, ascending.
struct Found {
    items: Vec<Arc<Item>>,
    index: Option<u64>,
    is_complete: bool,
}

/// Answers for the archives of nodes.
pub(super) struct Handle(pub(super) Arc<Pep>);

impl archive::Others for Handle {
    fn answer(&self, asked: Asked, query: Element, node: Box<str>) -> BoxFuture<Answer> {
        let pep = Arc::clone(&self.0);
        Box::pin(async move { pep.answer_archive(asked, query, &node).await })
    }
}

impl Pep {
    /// Of a service: there is an archive for each node, and none for all.
    pub(super) async fn archive_of_service(self: Arc<Self>, asked: Asked) -> Answer {
        let query = asked.open()?;
        match query.attr("node").map(Box::<str>::from) {
            Some(node) => self.answer_archive(asked, query, &node).await,
            None => Err(Refusal::NodeIdRequired.to_error()),
        }
    }

    async fn answer_archive(&self, asked: Asked, query: Element, node: &str) -> Answer {
        if home_of(&asked.to) == Home::Account && *node == *ns::TIMELINE {
            return self.timeline.answer_archive(asked, query).await;
        }
        let caller = Caller::new(asked.caller.jid.clone());
        let kind = asked.stanza.head.kind;
        let by = pubsub::wire::order(&query)?.unwrap_or_default();
        let request = Request::Items {
            node: node.into(),
            query: ItemsQuery::Ordered { order: by, newest: None, page: paging::Query::default() },
            subid: None,
        };
        let request = self.as_kept(&asked.to, request);
        self.require_together(&asked.to, &caller.bare, &request).await?;
        let name = request.node().filter(|name| name.len() <= self.limits.name_bytes_max && !name.is_empty());
        let name = name.ok_or_else(|| Refusal::ItemNotFound.to_error())?;
        let entry = self.nodes.entry(&asked.to, name);
        let held = self.held_to_read(&entry, &request).await.map_err(Failure::from)?;
        let mut view = self.view(&entry, held.as_deref(), &request, &caller).await.map_err(Failure::from)?;
        // Whoever has several subscriptions cannot say here by which of them it reads, and need not.
        if let Some(node) = &mut view.node {
            node.tally.multiples = 0;
        }
        decide(&view, &caller, &request, self.now()).map_err(Failure::from)?;
        let held = held.ok_or_else(|| Refusal::ItemNotFound.to_error())?;
        public::is_there(&held).map_err(Failure::from)?;
        let held = self.nodes.present(&entry, &held, self.now()).await.map_err(Failure::from)?;
        let fields = fields(&held);
        match (query.name(), kind) {
            ("query", Kind::Iq(IqType::Set)) => {
                let query = Query::parse(&query, &fields)?;
                self.query(&asked, (&entry, &held), &query).await
            }
            ("query", _) => Ok(Reply::Bytes { name: "query", ns: ns::ARCHIVE, bytes: fields.form(Some(node)) }),
            _ => Ok(Reply::Element(self.archive_ends((&entry, &held)).await?)),
        }
    }

    async fn query(&self, asked: &Asked, (entry, held): (&Entry, &Held), query: &Query<Place>) -> Answer {
        let found = self.find(entry, held, query).await?;
        let place = |item: &Item| Place::new(item.updated.0, &held.number, item.sequence).id();
        // Between who blocks and who is blocked there are gaps in a page.
        let shown = self.shown_to(&asked.caller.jid.to_bare(), &entry.home, found.items.clone()).await;
        let shown = shown.map_err(Failure::from)?;
        let bytes = shown.iter().map(|item| item.payload.len() + 512).sum();
        let mut results = Results::new(asked, query.query_id.as_deref(), (shown.len(), bytes));
        for item in &shown {
            let id = place(item);
            let origin = Origin { home: &entry.home, node: &entry.name, config: &held.node.config, id: &id };
            let tail = notification::tail(&origin, &Event::Published(Item::clone(item)), held.node.config.include_body);
            results.push((&id, item.updated.0.saturating_mul(1_000)), &[b"<message".as_slice(), &tail].concat());
        }
        let router = self.router.upgrade();
        results.hand_over(asked, router.as_deref(), query.is_flipped)?;
        let id = |item: Option<&Arc<Item>>| item.map(|item| place(item));
        let (first, last) = query.ends((id(found.items.first()), id(found.items.last())));
        let count = held.node.tally.items;
        let given = u64::try_from(found.items.len()).unwrap_or(u64::MAX);
        let index = found.index.filter(|_| !query.is_filtered);
        let page = paging::Page {
            first,
            last,
            index: match query.is_descending {
                true => index.and_then(|index| count.checked_sub(index)?.checked_sub(given)),
                false => index,
            },
            // What a filter leaves is not counted: that would mean reading all of it.
            count: Some(count).filter(|_| !query.is_filtered),
        };
        let complete = found.is_complete.then_some("true");
        let fin = Element::builder("fin", ns::ARCHIVE).attribute("complete", complete).append(page.to_element());
        Ok(Reply::Bytes { name: "fin", ns: ns::ARCHIVE, bytes: element_bytes(&fin.build()) })
    }

    async fn find(&self, entry: &Entry, held: &Held, query: &Query<Place>) -> Result<Found, StanzaError> {
        for anchor in &query.anchors {
            self.archived(entry, held, *anchor).await?.ok_or_else(StanzaError::item_not_found)?;
        }
        let between = self.span(entry, held, query).await.map_err(Failure::from)?;
        let wants = |item: &Item| {
            query.with.as_ref().is_none_or(|with| is_with(held, item, with))
                && query.text.as_ref().is_none_or(|text| text.finds(&words(&item.payload)))
        };
        let size = query.max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX)).min(self.page_max());
        let (bound, is_backwards) = match query.page {
            Page::First => (None, false),
            Page::Last => (None, true),
            Page::After(place) => (Some(place.sequence), false),
            Page::Before(place) => (Some(place.sequence), true),
        };
        let (sorted, bound) = match &query.ids {
            Some(ids) => (self.only(entry, held, query, ids).await?, None),
            None => (self.sorted(entry, held, query.by).await.map_err(Failure::from)?, bound),
        };
        let part = Part { between, bound, is_backwards, count: size.clamp(1, GO) };
        self.look((entry, held), &sorted, part, size, wants).await
    }

    /// Looks through a part of a node's items, go by go, for as many as fit on a page.
    async fn look(
        &self,
        (entry, held): (&Entry, &Held),
        sorted: &Sorted,
        mut part: Part,
        size: usize,
        wants: impl Fn(&Item) -> bool,
    ) -> Result<Found, StanzaError> {
        let is_backwards = part.is_backwards;
        let mut found = Found { items: Vec::new(), index: None, is_complete: false };
        let (mut bytes, mut looked_at, mut bytes_looked_at) = (0, 0, 0);
        'looking: loop {
            let chosen = self.choose((entry, held), sorted, &part).await.map_err(Failure::from)?;
            let Chosen { mut items, index, is_complete, end, looked_at: here } = chosen;
            if looked_at == 0 || is_backwards {
                found.index = index;
            }
            looked_at += here;
            bytes_looked_at += items.iter().map(|item| item.payload.len()).sum::<usize>();
            if is_backwards {
                items.reverse();
            }
            part.bound = end.or(part.bound);
            for item in items.into_iter().filter(|item| wants(item)) {
                bytes += item.payload.len() + 512;
                if found.items.len() >= size || (bytes > self.results_bytes_max && !found.items.is_empty()) {
                    // Of a page that is read from its end, nobody counted what was left away before it.
                    found.index = found.index.filter(|_| !is_backwards);
                    break 'looking;
                }
                found.items.push(item);
            }
            if is_complete || here == 0 {
                found.is_complete = true;
                break;
            }
            if found.items.len() >= size {
                break;
            }
            if looked_at >= LOOKED_AT_MAX || bytes_looked_at >= LOOKED_AT_BYTES_MAX {
                if found.items.is_empty() {
                    let text = "nothing among so many items: say from when to when to look";
                    return Err(StanzaError::policy_violation().with_text(text));
                }
                break;
            }
            part.count = GO;
            tokio::task::yield_now().await;
        }
        if is_backwards {
            found.items.reverse();
        }
        Ok(found)
    }

    /// What the times and ids of a query leave, as positions that are excluded. Items are in order of time.
    async fn span(&self, entry: &Entry, held: &Held, query: &Query<Place>) -> Result<(u64, Option<u64>), store::Fault> {
        let (since, until) = query.times;
        let mut after = query.between.0.map_or(0, |place| place.sequence);
        let mut before = query.between.1.map(|place| place.sequence);
        if let Some(earlier) = since.div_ceil(1_000).checked_sub(1) {
            after = after.max(self.nodes.position_at(entry, held, earlier).await?);
        }
        if until < u64::MAX {
            let end = self.nodes.position_at(entry, held, until / 1_000).await?.saturating_add(1);
            before = Some(before.map_or(end, |before| before.min(end)));
        }
        Ok((after, before))
    }

    /// The item at a place, if it is in the archive.
    async fn archived(&self, entry: &Entry, held: &Held, place: Place) -> Result<Option<Arc<Item>>, StanzaError> {
        if place.source != source_of(&held.number) {
            return Ok(None);
        }
        let item = self.nodes.item_at(entry, held, place.sequence).await.map_err(Failure::from)?;
        Ok(item.filter(|item| item.updated.0 == place.time))
    }

    /// Only these, in the order that was asked for, on the side of the bound that was asked for.
    async fn only(
        &self,
        entry: &Entry,
        held: &Held,
        query: &Query<Place>,
        ids: &[Place],
    ) -> Result<Sorted, StanzaError> {
        let key = async |place: Place| {
            let item = self.archived(entry, held, place).await?.ok_or_else(StanzaError::item_not_found)?;
            let time = match query.by {
                By::Modification => item.updated,
                By::Creation => item.published,
            };
            Ok::<_, StanzaError>((time, item.sequence))
        };
        let mut wanted = Vec::with_capacity(ids.len());
        for place in ids {
            wanted.push(key(*place).await?);
        }
        match query.page {
            Page::First | Page::Last => {}
            Page::After(place) => {
                let bound = key(place).await?;
                wanted.retain(|other| *other > bound);
            }
            Page::Before(place) => {
                let bound = key(place).await?;
                wanted.retain(|other| *other < bound);
            }
        }
        wanted.sort_unstable();
        Ok(Sorted::Created(wanted))
    }

    /// The first and the last item (XEP-0313 section "Archive Metadata").
    async fn archive_ends(&self, (entry, held): (&Entry, &Held)) -> Result<Element, StanzaError> {
        let mut metadata = Element::builder("metadata", ns::ARCHIVE).attribute("node", &*entry.name);
        for (name, is_backwards) in [("start", false), ("end", true)] {
            let part = Part { between: (0, None), bound: None, is_backwards, count: 1 };
            let chosen = self.choose((entry, held), &Sorted::Kept, &part).await.map_err(Failure::from)?;
            if let Some(item) = chosen.items.first() {
                let Timestamp(time) = item.updated;
                let end = Element::builder(name, ns::ARCHIVE)
                    .attribute("id", Place::new(time, &held.number, item.sequence).id().as_str())
                    .attribute("timestamp", rfc3339(time.saturating_mul(1_000)).as_str());
                metadata = metadata.append(end.build());
            }
        }
        Ok(metadata.build())
    }
}

/// What can be asked of a node's archive.
fn fields(held: &Held) -> Fields {
    Fields { has_with: true, has_groupchat: false, has_text: held.node.config.full_text, ids_max: IDS_MAX }
}

/// Whether an item shows that `who` published it: a name that is not shown is not found either.
fn is_with(held: &Held, item: &Item, who: &xmpp::Jid) -> bool {
    held.node.config.itemreply == ItemReply::Publisher && who.is_bare() && item.publisher.as_str() == who.as_str()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use pubsub::Timestamp;
    use xmpp::BareJid;

    use super::super::order::{Part, Sorted};
    use super::super::tests::Stage;
    use super::GO;

    #[tokio::test]
    async fn a_search_comes_to_its_end_though_what_was_there_is_gone() {
        let stage = Stage::new().await;
        let juliet = stage.log_in("juliet@example.com/balcony", &[]).await;
        juliet.post("1", "the only one").await;
        let pep = stage.pep();
        let entry = pep.nodes.entry(&BareJid::new("juliet@example.com").unwrap(), "urn:xmpp:microblog:0");
        let held = pep.nodes.held(&entry).await.unwrap().unwrap();
        // In the order of creation, all but the first were purged since they were put in order.
        let sorted = Sorted::Created((1..=250).map(|number| (Timestamp(number), number)).collect());
        for is_backwards in [false, true] {
            let part = Part { between: (0, None), bound: None, is_backwards, count: GO };
            let found = pep.look((&entry, &held), &sorted, part, 10, |_| true).await.unwrap();
            assert!(found.is_complete);
            assert_eq!(found.items.len(), 1, "is_backwards: {is_backwards}");
            assert_eq!(found.index, Some(0));
        }
    }
}
