//! Answers queries: pages of results, the form, and what an archive begins and ends with (XEP-0313 sections 4 and 5).

use std::sync::Arc;

use bytes::Bytes;
use store::Fault;
use xmpp::paging::Page as Described;
use xmpp::xml::{WithAttribute as _, element_bytes};
use xmpp::{BareJid, Element, StanzaError, ns};

use super::configure::Configure;
use super::request::{Fields, Page, Query};
use super::results::Results;
use super::{Account, Archive, SPEC};
use crate::config::Config;
use crate::extension::{Answer, Asked, Bind2, BoxFuture, Extension, Listener, Mount, Pending, Reply, Spec, To, fault};
use crate::extensions::messages::Ticket;
use crate::extensions::offline::Offline;
use crate::runtime::{Timestamp, rfc3339};
use crate::session::{ArchiveRead, Session};
use crate::tables::archive::{self, Entry, Found, Ledgers, Place, Searched, Span, Want};

/// Messages that can be asked for by their ids in one query.
const IDS_MAX: usize = 250;

/// Archives of an account that are not its own: of its nodes.
pub trait Others: Send + Sync + 'static {
    /// Answers an IQ about the archive of `node`.
    fn answer(&self, asked: Asked, query: Element, node: Box<str>) -> BoxFuture<Answer>;
}

/// Answers for the archives.
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct Service {
    pub(super) archive: Arc<Archive>,
    offline: Arc<Offline>,
    others: Arc<dyn Others>,
    /// A page is no heavier than this, so that it fits into a mailbox beside other things.
    page_bytes_max: usize,
}

impl Service {
    /// Serves `archive`; what it serves need not be delivered from `offline` any more.
    #[must_use]
    pub fn new(archive: &Arc<Archive>, offline: &Arc<Offline>, others: Arc<dyn Others>, config: &Config) -> Arc<Self> {
        let (archive, offline) = (Arc::clone(archive), Arc::clone(offline));
        Arc::new(Self { archive, offline, others, page_bytes_max: config.limits.mailbox_bytes_max / 8 })
    }

    fn fields(&self) -> Fields {
        Fields { has_with: true, has_groupchat: true, has_text: self.archive.settings.search, ids_max: IDS_MAX }
    }

    /// The query, if it is for the account's own archive and the account asks; otherwise the answer.
    async fn own(&self, asked: Asked) -> Result<(Asked, Element), Answer> {
        let query = asked.open().map_err(Err)?;
        if let Some(node) = query.attr("node").map(Box::from) {
            return Err(self.others.answer(asked, query, node).await);
        }
        if !self.archive.settings.enabled {
            return Err(Err(StanzaError::service_unavailable()));
        }
        asked.require_owner().map_err(Err)?;
        Ok((asked, query))
    }

    pub(super) async fn open(&self, account: &BareJid) -> Result<Arc<Account>, StanzaError> {
        self.archive.ledgers.open(account).await.map_err(|error| broken(&error))
    }

    async fn form(self: Arc<Self>, asked: Asked) -> Answer {
        match self.own(asked).await {
            Ok(_) => Ok(Reply::Bytes { name: "query", ns: ns::ARCHIVE, bytes: self.fields().form(None) }),
            Err(answer) => answer,
        }
    }

    async fn metadata(self: Arc<Self>, asked: Asked) -> Answer {
        match self.own(asked).await {
            Ok((asked, _)) => Ok(Reply::Element(self.ends(&asked.to).await?.0)),
            Err(answer) => answer,
        }
    }

    /// The first and the last message there is (XEP-0313 section "Archive Metadata"), and where the last one is.
    async fn ends(&self, account: &BareJid) -> Result<(Element, Option<Place>), StanzaError> {
        let ledger = self.open(account).await?;
        let mut metadata = Element::builder("metadata", ns::ARCHIVE);
        let mut last = None;
        for (name, is_from_end) in [("start", false), ("end", true)] {
            let want = Want {
                span: Span::ALL.since(self.archive.keep(&ledger).since),
                with: None,
                messages_max: 1,
                bytes_max: self.page_bytes_max,
                is_from_end,
            };
            let found = self.archive.ledgers.read(&ledger, want).await.map_err(|error| broken(&error))?;
            if let Some(entry) = found.entries.first() {
                let end = Element::builder(name, ns::ARCHIVE)
                    .attribute("id", entry.place.id().as_str())
                    .attribute("timestamp", rfc3339(entry.place.time).as_str());
                metadata = metadata.append(end.build());
                last = Some(entry.place);
            }
        }
        Ok((metadata.build(), last))
    }

    async fn query(self: Arc<Self>, asked: Asked) -> Answer {
        let (asked, query) = match self.own(asked).await {
            Ok(own) => own,
            Err(answer) => return answer,
        };
        let Some(session) = asked.caller.session.clone() else { return Err(StanzaError::forbidden()) };
        let query = Query::parse(&query, &self.fields())?;
        let ledger = self.open(&asked.to).await?;
        let (found, span) = self.find(&ledger, &query).await?;
        let id = |entry: Option<&Entry>| entry.map(|entry| entry.place.id());
        let (first, last) = query.ends((id(found.entries.first()), id(found.entries.last())));
        let is_first = query.page == if query.is_descending { Page::Last } else { Page::First };
        let page = Described {
            first,
            last,
            index: Some(0).filter(|_| is_first && !query.is_filtered),
            // What a filter leaves is not counted: that would mean reading all of it.
            count: Some(ledger.size().0).filter(|_| !query.is_filtered),
        };
        let bytes = found.entries.iter().map(|entry| entry.message.len()).sum();
        let mut results = Results::new(&asked, query.query_id.as_deref(), (found.entries.len(), bytes));
        for entry in &found.entries {
            results.push((&entry.place.id(), entry.place.time), &entry.message);
        }
        results.hand_over(&asked, None, query.is_flipped)?;
        if query.with.is_none() && query.ids.is_none() && query.text.is_none() && query.max != Some(0) {
            self.was_read(&session, &asked.to, (&found, span, query.is_from_end())).await;
        }
        let complete = found.is_complete.then_some("true");
        let fin = Element::builder("fin", ns::ARCHIVE).attribute("complete", complete).append(page.to_element());
        Ok(Reply::Bytes { name: "fin", ns: ns::ARCHIVE, bytes: element_bytes(&fin.build()) })
    }

    /// What a query is for, and where it was looked for.
    async fn find(&self, ledger: &Account, query: &Query<Place>) -> Result<(Found, Span), StanzaError> {
        let ledgers = &self.archive.ledgers;
        for anchor in &query.anchors {
            let held = ledgers.get(ledger, *anchor).await.map_err(|error| broken(&error))?;
            held.ok_or_else(StanzaError::item_not_found)?;
        }
        let mut span = query.span().since(self.archive.keep(ledger).since);
        let is_from_end = match query.page {
            Page::First => false,
            Page::Last => true,
            Page::After(place) => {
                span = span.after(place);
                false
            }
            Page::Before(place) => {
                span = span.before(place);
                true
            }
        };
        let max = query.max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        let want = Want {
            span,
            with: query.with.as_ref(),
            messages_max: max.min(self.archive.settings.page_messages_max),
            bytes_max: self.page_bytes_max,
            is_from_end,
        };
        let found = match (&query.ids, &query.text) {
            (None, None) => ledgers.read(ledger, want).await.map_err(|error| broken(&error))?,
            (None, Some(text)) => self.search(ledger, want, text).await?,
            (Some(ids), text) => {
                let mut entries = Vec::with_capacity(ids.len());
                for place in ids {
                    let entry = ledgers.get(ledger, *place).await.map_err(|error| broken(&error))?;
                    let entry = entry.ok_or_else(StanzaError::item_not_found)?;
                    if text.as_ref().is_none_or(|text| Ledgers::<Ticket>::finds(text, &entry)) {
                        entries.push(entry);
                    }
                }
                want.choose(entries)
            }
        };
        Ok((found, span))
    }

    async fn search(&self, ledger: &Account, want: Want<'_>, text: &archive::Query) -> Result<Found, StanzaError> {
        match self.archive.ledgers.search(ledger, want, text).await.map_err(|error| broken(&error))? {
            Searched::Found(found) => Ok(found),
            Searched::Behind => {
                self.archive.is_behind(ledger.account());
                Err(StanzaError::resource_constraint()
                    .with_text("this archive is being indexed: try again in a minute"))
            }
            Searched::TooBroad => {
                let text = "too many messages hold these words, and none side by side";
                Err(StanzaError::policy_violation().with_text(text))
            }
        }
    }

    /// Notes how far the session knows its archive, so that offline messages don't tell it again.
    async fn was_read(&self, session: &Session, account: &BareJid, (found, span, is_from_end): (&Found, Span, bool)) {
        let first = found.entries.first().map_or(span.from, |entry| entry.place);
        // An empty page tells that nothing is behind where it was asked for.
        let to = found.entries.last().map_or(first, |entry| entry.place);
        // The last page reaches the end whether or not it is the first one too.
        let reached_end = span.to == Place::LAST && (found.is_complete || is_from_end);
        {
            let mut state = session.state();
            let before = state.archive_read;
            state.archive_read = Some(ArchiveRead {
                to: before.map_or(to, |before| before.to.max(to)),
                reached_end: reached_end || before.is_some_and(|before| before.reached_end && before.to >= to),
            });
        }
        if !found.entries.is_empty() {
            self.offline.was_served(account, first, to).await;
        }
    }
}

pub(super) fn broken(error: &Fault) -> StanzaError {
    fault("an archive", error)
}

impl Listener for Service {
    fn minute_passed(&self, now: Timestamp) -> Pending<()> {
        let archive = Arc::clone(&self.archive);
        Pending::later(async move {
            if let Err(error) = archive.sweep(now).await {
                tracing::error!(%error, "archives could not be rid of what is too old");
            }
            if let Err(error) = archive.catch_up().await {
                tracing::error!(%error, "archives could not be indexed");
            }
        })
    }

    fn account_removed(&self, account: &BareJid) -> Pending<()> {
        let (archive, account) = (Arc::clone(&self.archive), account.clone());
        Pending::later(async move {
            if let Err(error) = archive.ledgers.delete(account.as_str()).await {
                tracing::error!(%account, %error, "the archive of a removed account is left behind");
            }
        })
    }
}

impl Bind2 for Service {
    fn bound(&self, session: &Arc<Session>, _: Option<&Element>) -> Pending<Option<Bytes>> {
        let (archive, offline) = (Arc::clone(&self.archive), Arc::clone(&self.offline));
        let others = Arc::clone(&self.others);
        let (service, session) = (Self { archive, offline, others, ..*self }, Arc::clone(session));
        Pending::later(async move {
            let (ends, last) = service.ends(&session.jid.bare()).await.ok()?;
            // Whoever is told where the archive ends reads it so far, and needs nothing of that twice. What comes
            // behind that, also before the first presence, it hears.
            session.state().archive_read = Some(ArchiveRead { to: last.unwrap_or(Place::FIRST), reached_end: true });
            Some(element_bytes(&ends))
        })
    }
}

impl Extension for Service {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.iq_set(To::ACCOUNT, ("query", ns::ARCHIVE), &self, Self::query);
        at.iq_get(To::ACCOUNT, ("query", ns::ARCHIVE), &self, Self::form);
        at.iq_get(To::ACCOUNT, ("metadata", ns::ARCHIVE), &self, Self::metadata);
        if !self.archive.settings.enabled {
            // Nodes have archives nevertheless, and say so themselves.
            at.unfeature(To::ACCOUNT, ns::ARCHIVE);
        }
        if self.archive.settings.enabled {
            at.iq_get(To::ACCOUNT, ("prefs", ns::ARCHIVE), &self, Self::preferences);
            at.iq_set(To::ACCOUNT, ("prefs", ns::ARCHIVE), &self, Self::prefer);
            at.bind2(ns::ARCHIVE, false, Arc::<Self>::clone(&self));
            at.feature(To::ACCOUNT, ns::ARCHIVE_EXTENDED);
            at.feature(To::ACCOUNT, "urn:xmpp:mam:2#groupchat-field");
            at.feature(To::ACCOUNT, ns::STANZA_IDS);
            at.feature(To::ACCOUNT, ns::RETRACT);
            at.feature(To::ACCOUNT, ns::RETRACT_TOMBSTONE);
            at.command(To::DOMAIN, Arc::new(Configure(Arc::clone(&self.archive))));
            if self.archive.settings.search {
                at.feature(To::ACCOUNT, ns::FULL_TEXT);
            }
        }
        at.listener(self);
    }
}
