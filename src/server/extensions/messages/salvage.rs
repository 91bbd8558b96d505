//! Another way for what was put into the mailbox of a session that is gone, and never written to its stream.

use std::sync::Arc;

use xmpp::limits::Limits;
use xmpp::stanza::Kind;
use xmpp::{Jid, Stanza, StanzaError, ns};

use super::clean::is_by;
use super::{Delivery, Present, Undelivered, copies};
use crate::router::Router;
use crate::router::rules::may_be_answered;
use crate::runtime::Timestamp;
use crate::session::Session;
use crate::session::mailbox::Frame;
use crate::tables::archive::Place;

impl Delivery {
    /// Finds another way for what is left in the mailbox of `session`: messages go where they would go had it not been
    /// there, requests are answered as if it had not been. What its own account told it (copies, pages of its archive)
    /// was for it alone. `priority` is what it had if it was available.
    pub async fn salvage(&self, session: &Session, priority: Option<i8>) {
        let Some(router) = self.router.upgrade() else { return };
        for (frame, since) in session.mailbox.drain() {
            let Frame::Whole(bytes) = frame else { continue };
            if !bytes.starts_with(b"<message") && !bytes.starts_with(b"<iq") {
                continue;
            }
            let Ok(stanza) = Stanza::parse(bytes, &Limits::server()) else { continue };
            let is_own = stanza.head.from.as_ref().is_some_and(|from| from.as_str() == session.jid.as_bare_str());
            match stanza.head.kind {
                Kind::Message(_) if is_own => {}
                Kind::Message(_) => match archived_at(&stanza) {
                    Some(place) => self.salvage_archived(&router, (session, priority), stanza, place).await,
                    None if self.offline.was_kept(&stanza) => {
                        self.wake_again(&router, &stanza, None).await;
                        self.offline.keep_again(stanza).await;
                    }
                    None => self.late(Arc::clone(&router), stanza, since, priority).await,
                },
                Kind::Iq(_) if may_be_answered(stanza.head.kind) && stanza.head.from.is_some() => {
                    router.bounce(&stanza, &StanzaError::service_unavailable()).await;
                }
                Kind::Iq(_) | Kind::Presence(_) => {}
            }
        }
    }

    /// What waited `since` then, if it did, says so to whoever gets it in the end.
    async fn late(&self, router: Arc<Router>, stanza: Stanza, since: Timestamp, priority: Option<i8>) {
        let (Some(to), 1..) = (&stanza.head.to, since) else { return self.plain(router, None, stanza).await };
        let is_copied = copies::of_received(None, &stanza);
        let present = Present::of(&router, to);
        if present.has_it(since, priority, is_copied) {
            return;
        }
        let bytes = Frame::Whole(stanza.render()).delayed(to.domain(), since).to_bytes();
        if let Err(recipient) = present.give(&stanza.head, None, is_copied, &mut || bytes.clone()) {
            let account = to.to_bare();
            let since = Some(since);
            self.otherwise(&router, Undelivered { account, recipient, stanza, since }).await;
        }
    }

    /// An archived message is never bounced, and never given to who had a copy.
    async fn salvage_archived(
        &self,
        router: &Router,
        (lost, priority): (&Session, Option<i8>),
        stanza: Stanza,
        place: Place,
    ) {
        let Some(to) = &stanza.head.to else { return };
        self.wake_again(router, &stanza, Some(lost.jid.resource())).await;
        let mut present = Present::of(router, to);
        if present.has_it(place.time, priority, copies::of_received(None, &stanza)) || present.has_read(place) {
            return;
        }
        present.named = present.named.filter(|named| named.jid != lost.jid);
        // With the bytes as they were: they say when the message was held up, if it was.
        if present.give(&stanza.head, None, false, &mut || stanza.render()).is_err() {
            self.offline.refer(&to.to_bare(), place).await;
        }
    }
}

impl Present {
    /// Whether somebody else has found the message in the archive.
    fn has_read(&self, place: Place) -> bool {
        self.available.iter().any(|resource| {
            let read = resource.session.state().archive_read;
            read.is_some_and(|read| place <= read.to || !read.reached_end)
        })
    }

    /// Whether somebody else has had a message that came `at` that time to a resource of this `priority`: as a copy, if
    /// it was copied, or because it went to all who were as available.
    fn has_it(&self, at: Timestamp, priority: Option<i8>, is_copied: bool) -> bool {
        self.available.iter().any(|resource| {
            let since = resource.session.state().available.as_ref().map(|available| available.since);
            let went_to_all = !self.is_full && priority == Some(resource.priority) && resource.priority >= 0;
            since.is_some_and(|since| since <= at) && (went_to_all || (is_copied && resource.wants_carbons))
        })
    }
}

/// Where in the archive of its recipient a message is.
fn archived_at(stanza: &Stanza) -> Option<Place> {
    let account = stanza.head.to.as_ref().map(Jid::as_bare_str)?;
    let is_ours = |child: &&xmpp::stanza::Child| child.is("stanza-id", ns::STANZA_IDS) && is_by(child, account);
    let id = stanza.content.children().find(is_ours)?.open().ok()?;
    Place::parse(id.attr("id")?)
}
