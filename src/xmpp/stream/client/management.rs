//! Stream management, the initiator's side (XEP-0198 sections 3 to 6): enabling it, counting, and going on with an
//! earlier stream.
//!
//! What was given out as an event counts as handled. What was sent is kept until it is acknowledged, up to a bound.

use std::collections::VecDeque;

use super::super::acks::Acks;
use super::login::Earlier;
use super::{Client, Ending, Event, Step};
use crate::stanza::Stanza;
use crate::xml::write_attr;
use crate::{Element, FullJid, ns};

/// So many stanzas are kept that the server has not acknowledged. A stream with more of them cannot be resumed.
pub const UNACKED_MAX: usize = 1024;
/// After so many stanzas the server is asked what it has handled.
const ASK_AFTER: u64 = 16;

/// Counting on a stream.
#[derive(Debug, Default)]
pub(super) struct Management {
    acks: Acks,
    /// What the stream can be resumed with.
    id: Option<Box<str>>,
    unacked: VecDeque<Stanza>,
}

/// Appends `<enable/>`.
pub(super) fn render_enable(out: &mut Vec<u8>) {
    out.extend_from_slice(["<enable xmlns='", ns::ACKS, "' resume='true'/>"].concat().as_bytes());
}

/// Appends `<resume/>`.
pub(super) fn render_resume(out: &mut Vec<u8>, earlier: &Earlier) {
    out.extend_from_slice(["<resume xmlns='", ns::ACKS, "'"].concat().as_bytes());
    write_attr(out, "h", &earlier.acks.h().to_string());
    write_attr(out, "previd", &earlier.id);
    out.extend_from_slice(b"/>");
}

fn count(element: &Element) -> Option<u32> {
    element.attr("h").and_then(|h| h.parse().ok())
}

impl Client {
    /// What is needed to resume the stream when it is lost; `None` if it cannot be. To be asked for when the
    /// connection is gone and all events have been taken.
    #[must_use]
    pub fn into_earlier(self) -> Option<Box<Earlier>> {
        let Some(Management { acks, id, unacked }) = self.management else { return self.login.earlier };
        Some(Box::new(Earlier { id: id?, jid: self.jid?, acks, unacked }))
    }

    /// Asks the server how many stanzas it has handled.
    pub fn request_ack(&mut self) {
        if self.management.is_some() && self.step == Step::Bound {
            self.out.extend_from_slice(["<r xmlns='", ns::ACKS, "'/>"].concat().as_bytes());
        }
    }

    /// How many stanzas have been sent and not acknowledged; `None` without stream management.
    #[must_use]
    pub fn unacked(&self) -> Option<u64> {
        self.management.as_ref().map(|management| management.acks.unacked())
    }

    /// Counts a stanza that is being sent.
    pub(super) fn keep(&mut self, stanza: &Stanza) {
        let Some(management) = &mut self.management else { return };
        management.acks.sent(1);
        if management.id.is_some() {
            management.unacked.push_back(stanza.clone());
        }
        if management.unacked.len() > UNACKED_MAX {
            management.id = None;
            management.unacked.clear();
        }
        if management.acks.unacked().is_multiple_of(ASK_AFTER) {
            self.request_ack();
        }
    }

    /// Counts a stanza that has come.
    pub(super) fn count(&mut self) {
        if let Some(Management { acks, .. }) = &mut self.management {
            acks.received();
            acks.handled(1);
        }
    }

    /// `<enabled/>`, wherever it stands.
    pub(super) fn take_enabled(&mut self, enabled: &Element) {
        let is_resumable = matches!(enabled.attr("resume"), Some("true" | "1"));
        let id = enabled.attr("id").filter(|_| is_resumable).map(Box::from);
        self.management = Some(Management { id, ..Management::default() });
    }

    /// `<resumed/>`, wherever it stands: what the server has not handled is sent again.
    pub(super) fn take_resumed(&mut self, resumed: &Element) -> Result<FullJid, Ending> {
        let Some(earlier) = self.login.earlier.take() else { return Err(Ending::NotBound) };
        let Earlier { id, jid, acks, unacked } = *earlier;
        let mut management = Management { acks, id: Some(id), unacked };
        management.acknowledge(count(resumed).ok_or(Ending::NotBound)?)?;
        management.acks.resume();
        let again = std::mem::take(&mut management.unacked);
        self.management = Some(management);
        self.jid = Some(jid.clone());
        self.step = Step::Bound;
        self.events.push_back(Event::Resumed(jid.clone()));
        for stanza in &again {
            self.send(stanza);
        }
        Ok(jid)
    }

    /// `<failed/>` instead of it, or nothing: what may not have been handled is given back.
    pub(super) fn give_up_earlier(&mut self, failed: Option<&Element>) {
        let Some(earlier) = self.login.earlier.take() else { return };
        let Earlier { id, acks, unacked, .. } = *earlier;
        let mut management = Management { acks, id: Some(id), unacked };
        if let Some(h) = failed.and_then(count) {
            // A count that cannot be says nothing.
            let _impossible = management.acknowledge(h);
        }
        self.events.push_back(Event::NotResumed(management.unacked.into()));
    }

    /// Takes an element of stream management on a bound stream.
    pub(super) fn take_management(&mut self, element: &Element) -> Result<(), Ending> {
        let Some(management) = &mut self.management else { return Ok(()) };
        match element.name() {
            "r" => {
                let h = management.acks.h().to_string();
                self.out.extend_from_slice(["<a xmlns='", ns::ACKS, "' h='", &h, "'/>"].concat().as_bytes());
            }
            "a" => {
                let newly = management.acknowledge(count(element).ok_or(Ending::NotBound)?)?;
                if newly > 0 {
                    self.events.push_back(Event::Acked(newly));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Management {
    fn acknowledge(&mut self, h: u32) -> Result<u32, Ending> {
        let newly = self.acks.acked(h).map_err(|_| Ending::Miscounted)?;
        for _ in 0..newly {
            self.unacked.pop_front();
        }
        Ok(newly)
    }
}
