//! Answers who asks the node `urn:chirrup:timeline:0` of an account for items, by XEP-0060 section 6.5 with XEP-0059.
//!
//! To all but the account itself there is no such node.

use bytes::Bytes;
use pubsub::request::ItemsQuery;
use pubsub::wire::timeline::{self, Entry};
use pubsub::{Refusal, Request};
use store::Fault;
use xmpp::paging::{Page, Query, Start};
use xmpp::{BareJid, Element, StanzaError, ns};

use super::Timeline;
use super::read::{Found, Shown, Sources, Want};
use crate::extension::{Answer, Asked, Reply, fault};
use crate::tables::timeline::Place;

/// Entries that can be asked for by their ids in one request.
pub(super) const IDS_MAX: usize = 100;
/// Why a timeline is not read in another order.
pub(super) const NO_ORDER: &str = "A timeline is in the order of arrival, and has no other.";

impl Timeline {
    /// Answers a request about the node.
    ///
    /// # Errors
    /// As the specification has it for who may only read.
    pub async fn answer(&self, asked: &Asked, request: &Request) -> Answer {
        if !asked.caller.owns(&asked.to) {
            return Err(Refusal::ItemNotFound.to_error());
        }
        match request {
            Request::Items { query, .. } => {
                let bytes = self.items(&asked.to, query).await?;
                Ok(Reply::Bytes { name: "pubsub", ns: ns::PUBSUB, bytes })
            }
            // What is in it follows from what is followed.
            Request::Publish { .. }
            | Request::Retract { .. }
            | Request::Create { .. }
            | Request::Delete { .. }
            | Request::Purge { .. }
            | Request::Configure { .. }
            | Request::SetSubscribers { .. }
            | Request::SetAffiliated { .. } => Err(Refusal::Forbidden.to_error()),
            // A timeline in a timeline would be a loop.
            Request::Subscribe { .. } => Err(Refusal::Unsupported("subscribe").to_error()),
            Request::Configuration { .. } => Err(Refusal::Unsupported("config-node").to_error()),
            _ => Err(Refusal::Unsupported("manage-subscriptions").to_error()),
        }
    }

    /// disco#info of the node, for the account.
    #[must_use]
    pub fn information() -> Vec<Element> {
        use xmpp::xml::WithAttribute as _;
        let identity = Element::builder("identity", ns::DISCO_INFO).attribute("category", "pubsub");
        let feature = |var| Element::builder("feature", ns::DISCO_INFO).attribute("var", var).build();
        vec![
            identity.attribute("type", "leaf").attribute("name", "Timeline").build(),
            feature(ns::PUBSUB),
            feature(ns::RSM),
            feature(ns::ARCHIVE),
            feature(ns::ARCHIVE_EXTENDED),
            feature(ns::TIMELINE),
        ]
    }

    async fn items(&self, account: &BareJid, query: &ItemsQuery) -> Result<Bytes, StanzaError> {
        self.reader_came(account);
        let broken = |error: Fault| fault("timelines", &error);
        let found = match query {
            ItemsQuery::ByIds(ids) => {
                let mut shown = Vec::new();
                let mut sources = self.sources(account).await.map_err(broken)?;
                for place in ids.iter().take(IDS_MAX).filter_map(|id| Place::parse(id)) {
                    shown.extend(self.entry(account, place, &mut sources).await.map_err(broken)?);
                }
                return Ok(render(&shown, None));
            }
            ItemsQuery::Latest(count) => {
                let entries_max = usize::try_from(*count).unwrap_or(usize::MAX).min(self.page_items_max);
                self.read(account, Want { entries_max, ..Want::newest() }).await.map_err(broken)?
            }
            ItemsQuery::Page(page) => self.read(account, self.part(page)?).await.map_err(broken)?,
            // There is one order: that of arrival.
            ItemsQuery::Ordered { .. } => return Err(Refusal::Malformed(NO_ORDER).to_error()),
        };
        let page = Page {
            first: found.shown.first().map(|shown| shown.place.id()),
            last: found.shown.last().map(|shown| shown.place.id()),
            // What is there is not counted: that would mean reading all of it.
            index: None,
            count: None,
        };
        Ok(render(&found.shown, Some(&page)))
    }

    /// What a page asks for. Who asks for everything is given the newest, as of any node.
    fn part(&self, page: &Query) -> Result<Want, StanzaError> {
        let entries_max = page.size(self.page_items_max);
        let place = |id: &str| Place::parse(id).ok_or_else(|| Refusal::ItemNotFound.to_error());
        let (bound, is_backwards) = match page.start() {
            Start::First if *page == Query::default() => (None, true),
            Start::First => (None, false),
            Start::Last => (None, true),
            Start::After(id) => (Some(place(id)?), false),
            Start::Before(id) => (Some(place(id)?), true),
            Start::Index(_) => return Err(Refusal::Unsupported("rsm").to_error()),
        };
        Ok(Want { bound, is_backwards, entries_max, ..Want::newest() })
    }

    /// One entry, if it is there.
    pub(super) async fn entry(
        &self,
        account: &BareJid,
        place: Place,
        sources: &mut Sources,
    ) -> Result<Option<Shown>, Fault> {
        let (Some(sequence), true) = (place.sequence.checked_sub(1), place.time < u64::MAX) else { return Ok(None) };
        let want = Want {
            bound: Some(Place { sequence, ..place }),
            end: None,
            times: (place.time, place.time + 1),
            is_backwards: false,
            entries_max: 1,
        };
        let Found { shown, .. } = self.read_of(account, want, sources).await?;
        Ok(shown.into_iter().find(|shown| shown.place == place))
    }
}

impl Want {
    /// The newest there is; the caller says how many.
    pub(super) fn newest() -> Self {
        Self { bound: None, end: None, times: (0, u64::MAX), is_backwards: true, entries_max: 1 }
    }
}

fn render(shown: &[Shown], page: Option<&Page>) -> Bytes {
    let ids: Vec<String> = shown.iter().map(|shown| shown.place.id()).collect();
    let entries = shown.iter().zip(&ids).map(|(shown, id)| Entry {
        id,
        home: &shown.entry.home,
        node: &shown.entry.name,
        config: &shown.held.node.config,
        item: &shown.item,
    });
    timeline::page(entries, page)
}
