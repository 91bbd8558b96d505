//! The initiator's part: header, features, STARTTLS, SASL EXTERNAL, and else dialback (RFC 6120 sections 4.7, 5
//! and 6, XEP-0178 section 3, XEP-0288).

use super::event::{Ending, Event, Offered, Pair, Proof, Refusal};
use super::settings::Purpose;
use super::{End, Phase, Role, Step, Stream, empty, error};
use crate::sasl::encode_message;
use crate::stream::error::clipped;
use crate::stream::line::{Header, major_version};
use crate::stream::{Condition, Tls};
use crate::xml::StreamHeader;
use crate::{Element, ns};

/// What only the initiator needs to know.
#[derive(Debug)]
pub(super) struct Initiator {
    purpose: Purpose,
    /// What the responder offers.
    pub(super) offered: Offered,
    /// Whether negotiation is over.
    pub(super) is_ready: bool,
    /// Whether the responder has sent a challenge.
    is_challenged: bool,
}

impl Initiator {
    pub(super) fn new(purpose: Purpose) -> Self {
        Self { purpose, offered: Offered::default(), is_ready: false, is_challenged: false }
    }
}

impl Stream {
    /// What the responder offers; on the responder's side nothing.
    pub(super) fn offered(&self) -> Offered {
        match &self.role {
            Role::Initiator(initiator) => initiator.offered.clone(),
            Role::Responder(_) => Offered::default(),
        }
    }

    fn purpose(&self) -> Purpose {
        match &self.role {
            Role::Initiator(initiator) => initiator.purpose,
            Role::Responder(_) => Purpose::Stanzas,
        }
    }

    /// Whether the initiator's negotiation is over; on the responder's side whether the peer has proven anything.
    pub(super) fn is_ready(&self) -> bool {
        match &self.role {
            Role::Initiator(initiator) => initiator.is_ready,
            Role::Responder(_) => self.pairs.is_any_heard(),
        }
    }

    pub(super) fn send_header(&mut self) {
        let (from, to) = (Some(&*self.local), self.remote.as_deref());
        Header { from, id: None, to, content_ns: ns::SERVER }.render_into(&mut self.line.out);
    }

    pub(super) fn take_responder_header(&mut self, header: &StreamHeader) -> Step {
        if self.line.context.content_ns != ns::SERVER {
            return Err(Condition::InvalidNamespace.into());
        }
        self.id = header.id.clone().unwrap_or_default();
        let is_same = self.is_trusted();
        if let Role::Initiator(initiator) = &mut self.role {
            // After SASL some do not say again that they know dialback.
            let before = std::mem::take(&mut initiator.offered);
            initiator.offered.dialback = header.context.declares(ns::DIALBACK) || is_same && before.dialback;
            initiator.offered.dialback_errors = is_same && before.dialback_errors;
        }
        match (&header.version, major_version(header)) {
            (Some(_), Some(1..)) => {
                self.phase = Phase::Features;
                Ok(())
            }
            // RFC 6120 section 4.7.5: a server from before there were versions has no features either.
            (None, _) | (_, Some(0)) => self.go_on(),
            (Some(_), None) => Err(Condition::UnsupportedVersion.into()),
        }
    }

    pub(super) fn take_features(&mut self, features: &Element) -> Step {
        let Role::Initiator(initiator) = &mut self.role else { return Ok(()) };
        let mut offered = Offered::parse(features);
        offered.dialback |= initiator.offered.dialback;
        offered.dialback_errors |= initiator.offered.dialback_errors;
        initiator.offered = offered.clone();
        self.pending.push_back(Event::Features(offered));
        self.go_on()
    }

    /// The next step, by what is offered.
    fn go_on(&mut self) -> Step {
        let offered = self.offered();
        if self.tls.is_none() && !self.is_trusted() {
            if offered.tls && self.settings.tls != Tls::Unavailable {
                empty(&mut self.line.out, "starttls", ns::TLS);
                self.phase = Phase::Proceed;
                return Ok(());
            }
            if self.needs_tls() {
                return Err(End::Quietly(Ending::NoCommonFeature("TLS")));
            }
        }
        if self.is_trusted() {
            self.phase = Phase::Open;
            self.ready(Some(Proof::External));
            return Ok(());
        }
        if self.purpose() == Purpose::Verification {
            self.phase = Phase::Open;
            self.ready(None);
            return Ok(());
        }
        if offered.bidi && self.settings.bidi {
            // XEP-0478 section 3.2: there are no features in this direction.
            self.send(&["<bidi xmlns='", ns::BIDI, "'>"]);
            let mut limits = Vec::new();
            self.write_limits(&mut limits);
            self.line.out.append(&mut limits);
            self.send(&["</bidi>"]);
            self.pairs.is_bidi = true;
            self.pending.push_back(Event::Bidi(offered.limits));
        }
        if offered.external && self.permitted.external && self.tls.is_some() {
            // The authorization identity need not be there, and is missed by old software (XEP-0178 section 3).
            let identity = encode_message(self.local.as_bytes());
            self.send(&["<auth xmlns='", ns::SASL, "' mechanism='EXTERNAL'>", &identity, "</auth>"]);
            self.phase = Phase::Sasl;
            return Ok(());
        }
        self.dial_back(None)
    }

    /// Asks for the stream's own pair by dialback, the last way there is.
    fn dial_back(&mut self, refused: Option<Refusal>) -> Step {
        self.phase = Phase::Open;
        if self.may_dial_back() {
            let pair = self.own_pair();
            self.ask_for(pair);
            return Ok(());
        }
        Err(End::Quietly(refused.map_or(Ending::NoCommonFeature("authentication"), Ending::NotAuthenticated)))
    }

    /// Whether pairs can be asked for. A key is bound to the stream's identifier, so there must be one.
    pub(super) fn may_dial_back(&self) -> bool {
        let is_known = matches!(self.role, Role::Responder(_)) || self.offered().dialback;
        self.permitted.dialback && is_known && !self.id.is_empty()
    }

    /// From the domain the stream is from to the one it is to.
    pub(super) fn own_pair(&self) -> Pair {
        Pair::new(&self.local, self.remote.as_deref().unwrap_or_default())
    }

    /// Negotiation is over.
    fn ready(&mut self, by: Option<Proof>) {
        let pair = self.own_pair();
        if let Some(by) = by {
            self.pending.push_back(Event::Authenticated { pair, by });
        }
        if let Role::Initiator(initiator) = &mut self.role
            && !initiator.is_ready
        {
            initiator.is_ready = true;
            self.pending.push_back(Event::Ready(initiator.offered.clone()));
        }
    }

    /// The answer to the first pair asked for.
    pub(super) fn take_first_answer(&mut self, refusal: Option<Refusal>) -> Step {
        match refusal {
            Some(refusal) => Err(End::Quietly(Ending::NotAuthenticated(refusal))),
            None => {
                self.ready(None);
                Ok(())
            }
        }
    }

    /// RFC 6120 section 5.4.2.
    pub(super) fn take_proceed(&mut self, element: &Element) -> Step {
        match element.name() {
            "proceed" => {
                self.line.check_nothing_follows()?;
                self.phase = Phase::Securing;
                self.pending.push_back(Event::StartTls);
                Ok(())
            }
            "failure" => Err(End::Quietly(Ending::Refused("TLS"))),
            _ => Err(Condition::UnsupportedStanzaType.into()),
        }
    }

    /// The responder's side of SASL EXTERNAL.
    pub(super) fn take_sasl(&mut self, element: &Element) -> Step {
        match element.name() {
            "challenge" => {
                let Role::Initiator(initiator) = &mut self.role else { return Ok(()) };
                if std::mem::replace(&mut initiator.is_challenged, true) {
                    return Err(error(Condition::PolicyViolation, "EXTERNAL has no second challenge"));
                }
                empty(&mut self.line.out, "response", ns::SASL);
                Ok(())
            }
            "success" => {
                let pair = self.own_pair();
                self.pairs.speak(pair);
                self.trust();
                self.line.framer.restart();
                self.phase = Phase::Header;
                self.send_header();
                Ok(())
            }
            "failure" => {
                let mut why = String::new();
                for child in element.children() {
                    match child.name() {
                        "text" => why = format!("{why} ({})", clipped(&child.text())),
                        name if why.is_empty() => clipped(name).clone_into(&mut why),
                        _ => {}
                    }
                }
                let refusal = Refusal::External(clipped(&why).into());
                let event = Event::NotAuthenticated { pair: self.own_pair(), refusal: refusal.clone() };
                self.pending.push_back(event);
                self.dial_back(Some(refusal))
            }
            _ => Err(Condition::UnsupportedStanzaType.into()),
        }
    }
}
