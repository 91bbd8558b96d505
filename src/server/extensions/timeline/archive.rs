//! The node `urn:chirrup:timeline:0` as an archive (XEP-0442): since a time, or behind an entry, as any archive is asked.
//!
//! A result is the notification of its entry. Its id is the entry's place, which is one as long as time goes on: whoever
//! was told it can go on behind it, also when the entry is gone.

use pubsub::Refusal;
use pubsub::wire::timeline::{self, Entry};
use xmpp::paging;
use xmpp::stanza::{IqType, Kind};
use xmpp::xml::{WithAttribute as _, element_bytes, escape_attr};
use xmpp::{BareJid, Element, StanzaError, ns};

use super::Timeline;
use super::page::{IDS_MAX, NO_ORDER};
use super::read::{Found, Shown, Want};
use crate::extension::{Answer, Asked, Reply, fault};
use crate::extensions::archive::request::{Fields, Page, Query};
use crate::extensions::archive::results::Results;
use crate::runtime::rfc3339;
use crate::tables::timeline::Place;

const FIELDS: Fields = Fields { has_with: false, has_groupchat: false, has_text: false, ids_max: IDS_MAX };

impl Timeline {
    /// Answers an IQ about the archive; `query` is its payload.
    ///
    /// # Errors
    /// `item-not-found` to all but the account itself, and what XEP-0313 has for queries that make no sense.
    pub async fn answer_archive(&self, asked: Asked, query: Element) -> Answer {
        if !asked.caller.owns(&asked.to) {
            return Err(Refusal::ItemNotFound.to_error());
        }
        match (query.name(), asked.stanza.head.kind) {
            ("query", Kind::Iq(IqType::Set)) => {
                let query = Query::parse(&query, &FIELDS)?;
                if query.is_descending || query.by != pubsub::order::By::Modification {
                    return Err(Refusal::Malformed(NO_ORDER).to_error());
                }
                self.query(&asked, &query).await
            }
            ("query", _) => {
                let bytes = FIELDS.form(Some(ns::TIMELINE));
                Ok(Reply::Bytes { name: "query", ns: ns::ARCHIVE, bytes })
            }
            _ => Ok(Reply::Element(self.archive_ends(&asked.to).await?)),
        }
    }

    async fn query(&self, asked: &Asked, query: &Query<Place>) -> Answer {
        let found = self.find(&asked.to, query).await?;
        let bytes = found.shown.iter().map(|shown| shown.item.payload.len() + 512).sum();
        let mut results = Results::new(asked, query.query_id.as_deref(), (found.shown.len(), bytes));
        let mut before = b"<message from='".to_vec();
        escape_attr(&mut before, asked.to.as_str());
        before.push(b'\'');
        for Shown { place, entry, held, item } in &found.shown {
            let id = place.id();
            let config = &held.node.config;
            let tail = timeline::notification(&Entry { id: &id, home: &entry.home, node: &entry.name, config, item });
            results.push((&id, place.time.saturating_mul(1_000)), &[before.as_slice(), &tail].concat());
        }
        results.hand_over(asked, None, query.is_flipped)?;
        let id = |shown: Option<&Shown>| shown.map(|shown| shown.place.id());
        // What is there is not counted: that would mean reading all of it.
        let (first, last) = (id(found.shown.first()), id(found.shown.last()));
        let page = paging::Page { first, last, index: None, count: None };
        let complete = found.is_complete.then_some("true");
        let fin = Element::builder("fin", ns::ARCHIVE).attribute("complete", complete).append(page.to_element());
        Ok(Reply::Bytes { name: "fin", ns: ns::ARCHIVE, bytes: element_bytes(&fin.build()) })
    }

    async fn find(&self, account: &BareJid, query: &Query<Place>) -> Result<Found, StanzaError> {
        let entries_max = query.max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        let entries_max = entries_max.min(self.page_items_max);
        // Whole milliseconds: from the first that is not before, up to the first that is behind.
        let (since, until) = query.times;
        let times = (since.div_ceil(1_000), (until / 1_000).saturating_add(1));
        let (after, before) = query.between;
        let is_backwards = query.is_from_end();
        let bound = match (query.page, is_backwards) {
            (Page::After(place), _) => after.max(Some(place)),
            (Page::Before(place), _) => Some(before.map_or(place, |before| before.min(place))),
            (_, true) => before,
            (_, false) => after,
        };
        let end = if is_backwards { after } else { before };
        let want = Want { bound, end, times, is_backwards, entries_max };
        if entries_max == 0 {
            return Ok(Found::default());
        }
        let Some(ids) = &query.ids else {
            return self.read(account, want).await.map_err(|error| fault("timelines", &error));
        };
        let mut found = Found { shown: Vec::new(), is_complete: true };
        let mut sources = self.sources(account).await.map_err(|error| fault("timelines", &error))?;
        for place in ids {
            let shown = self.entry(account, *place, &mut sources).await.map_err(|error| fault("timelines", &error))?;
            found.shown.push(shown.ok_or_else(StanzaError::item_not_found)?);
        }
        found.shown.retain(|shown| want.takes(&shown.place));
        let surplus = found.shown.len().saturating_sub(entries_max);
        found.is_complete = surplus == 0;
        if is_backwards {
            drop(found.shown.drain(..surplus));
        } else {
            found.shown.truncate(entries_max);
        }
        Ok(found)
    }

    /// The first and the last entry (XEP-0313 section "Archive Metadata").
    async fn archive_ends(&self, account: &BareJid) -> Result<Element, StanzaError> {
        let mut metadata = Element::builder("metadata", ns::ARCHIVE).attribute("node", ns::TIMELINE);
        for (name, is_backwards) in [("start", false), ("end", true)] {
            let want = Want { is_backwards, ..Want::newest() };
            let found = self.read(account, want).await.map_err(|error| fault("timelines", &error))?;
            if let Some(shown) = found.shown.first() {
                let end = Element::builder(name, ns::ARCHIVE)
                    .attribute("id", shown.place.id().as_str())
                    .attribute("timestamp", rfc3339(shown.place.time.saturating_mul(1_000)).as_str());
                metadata = metadata.append(end.build());
            }
        }
        Ok(metadata.build())
    }
}
