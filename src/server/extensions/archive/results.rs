//! The results of a query on their way to who asked: one message for each (XEP-0313 section 4.4), then the answer.

use bytes::Bytes;
use xmpp::{Jid, StanzaError};

use super::splice::Wrapping;
use crate::extension::Asked;
use crate::router::Router;
use crate::router::classify::Destination;
use crate::runtime::Timestamp;
use crate::session::mailbox::Frame;

/// A page of results, each a finished message.
pub(in crate::extensions) struct Results {
    wrapping: Wrapping,
    out: Vec<u8>,
    ends: Vec<usize>,
}

impl Results {
    /// None yet, for who `asked` and called its query `query_id`; so many are to come, with so many bytes of messages.
    pub(in crate::extensions) fn new(asked: &Asked, query_id: Option<&str>, (count, bytes): (usize, usize)) -> Self {
        let wrapping = Wrapping::new(&asked.caller.jid, asked.to.as_str(), query_id);
        let out = Vec::with_capacity(bytes + wrapping.len() * count);
        Self { wrapping, out, ends: Vec::with_capacity(count) }
    }

    /// Adds `message`, which is known by an id and came at a time.
    pub(in crate::extensions) fn push(&mut self, place: (&str, Timestamp), message: &[u8]) {
        self.wrapping.push(&mut self.out, place, message);
        self.ends.push(self.out.len());
    }

    /// Puts them into the mailbox of who asked, or onto the road there, which `router` knows; the last first if
    /// `is_flipped`.
    ///
    /// # Errors
    /// When there is no room for so much, and when there is nobody to give them to.
    pub(in crate::extensions) fn hand_over(
        self,
        asked: &Asked,
        router: Option<&Router>,
        is_flipped: bool,
    ) -> Result<(), StanzaError> {
        let count = self.ends.len();
        let page = Bytes::from(self.out);
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let mut results: Vec<Bytes> =
            starts.zip(self.ends.iter().copied()).map(|(start, end)| page.slice(start..end)).collect();
        if is_flipped {
            results.reverse();
        }
        let from = Jid::from(&asked.to);
        match (&asked.caller.session, router.map(|router| (router, router.classify(&asked.caller.jid)))) {
            (Some(session), _) => {
                if count > 1 && !session.mailbox.has_room(page.len()) {
                    return Err(StanzaError::resource_constraint().with_text("read what was sent before"));
                }
                for result in results {
                    session.deliver(result);
                }
            }
            (None, Some((router, Destination::Remote(domain)))) => {
                for result in results {
                    router.relay_frame(Some(&from), &domain, Frame::Whole(result))?;
                }
            }
            _ => return Err(StanzaError::forbidden()),
        }
        Ok(())
    }
}
