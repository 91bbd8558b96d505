//! Stanzas between servers: both addresses, and both proven (RFC 6120 sections 8.1.1.2, 8.1.2.2 and 4.9.3).

use bytes::Bytes;

use super::{Event, Role, Step, Stream, error};
use crate::stanza::{self, Head, Stanza, StanzaError, Unparsable};
use crate::stream::Condition;
use crate::xml::{XmlError, parse_element_in};
use crate::{Jid, ns};

impl Stream {
    pub(super) fn take_element(&mut self, bytes: Bytes) -> Step {
        match Stanza::parse_in(bytes, &self.line.context, self.limits()) {
            Ok(stanza) => {
                self.check_addresses(stanza.head.from.as_ref(), stanza.head.to.as_ref())?;
                self.acks.received();
                self.pending.push_back(Event::Stanza(stanza));
                Ok(())
            }
            Err(Unparsable::Malformed { head, error }) => self.take_malformed(*head, error),
            Err(Unparsable::NotAStanza { name, ns, bytes }) => {
                // RFC 6120 section 8.1: a stanza of another namespace on this stream.
                if matches!(&*name, "message" | "presence" | "iq") && matches!(&*ns, ns::CLIENT | ns::SERVER) {
                    return Err(Condition::InvalidNamespace.into());
                }
                let element = parse_element_in(&bytes, &self.line.context, self.limits())?;
                self.take_nonza(&element)
            }
            // RFC 6120 section 4.9.3.7.
            Err(Unparsable::Xml(XmlError::InvalidFrom)) => Err(Condition::ImproperAddressing.into()),
            Err(Unparsable::Xml(error)) => Err(error.into()),
        }
    }

    /// An element that comes after we have closed our side: a stanza or an acknowledgement. Nothing can be answered any
    /// more, so what is wrong is not heard.
    pub(super) fn take_late(&mut self, bytes: Bytes) {
        match Stanza::parse_in(bytes, &self.line.context, self.limits()) {
            Ok(stanza) => {
                if self.check_addresses(stanza.head.from.as_ref(), stanza.head.to.as_ref()).is_ok() {
                    self.acks.received();
                    self.pending.push_back(Event::Stanza(stanza));
                }
            }
            Err(Unparsable::NotAStanza { bytes, .. }) => {
                if let Ok(element) = parse_element_in(&bytes, &self.line.context, self.limits())
                    && element.is("a", ns::ACKS)
                    && self.management.is_on()
                    && let Some(h) = element.attr("h").and_then(|h| h.parse().ok())
                    && let Ok(acked @ 1..) = self.acks.acked(h)
                {
                    self.pending.push_back(Event::Acked(acked));
                }
            }
            Err(_) => {}
        }
    }

    /// Whether a stanza may go from the one to the other on this stream, in this direction.
    fn check_addresses(&self, from: Option<&Jid>, to: Option<&Jid>) -> Step {
        let is_permitted = (self.is_open() || self.hears_late)
            && match self.role {
                Role::Responder(_) => self.pairs.is_any_heard(),
                Role::Initiator(_) => self.pairs.is_bidi && self.is_trusted(),
            };
        if !is_permitted {
            return Err(Condition::NotAuthorized.into());
        }
        let (Some(from), Some(to)) = (from, to) else { return Err(Condition::ImproperAddressing.into()) };
        if !self.pairs.is_peer(from.domain()) {
            return Err(Condition::InvalidFrom.into());
        }
        if !self.settings.serves(to.domain()) {
            return Err(Condition::HostUnknown.into());
        }
        if !self.pairs.may_hear(from.domain(), to.domain()) {
            return Err(error(Condition::InvalidFrom, "this pair of domains has not been proven"));
        }
        Ok(())
    }

    fn take_malformed(&mut self, mut head: Head, error: StanzaError) -> Step {
        if error.condition == stanza::Condition::JidMalformed && head.to.is_none() {
            // Whom it was to cannot be read. The domain the stream is to answers, if that is in the peer's right.
            let local = Jid::from_parts(None, &self.local, None).map_err(|_| Condition::ImproperAddressing)?;
            let is_in_doubt =
                |from: &Jid| self.pairs.is_peer(from.domain()) && !self.pairs.may_hear(from.domain(), local.domain());
            if head.from.as_ref().is_some_and(is_in_doubt) {
                return Err(Condition::ImproperAddressing.into());
            }
            head.to = Some(local);
        }
        self.check_addresses(head.from.as_ref(), head.to.as_ref())?;
        self.acks.received();
        let reply = Stanza::error_reply(&head, None, &error).map(Box::new);
        self.pending.push_back(Event::Malformed { reply, error });
        Ok(())
    }
}
