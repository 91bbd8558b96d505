//! The responder's part: headers, STARTTLS, SASL EXTERNAL, the wish for bidi (RFC 6120 sections 4.7, 5 and 6,
//! XEP-0178 section 3, XEP-0288).

use super::event::{Event, Pair, PeerLimits, Proof};
use super::settings::Permitted;
use super::{End, Ending, Phase, Role, Step, Stream, empty, error};
use crate::sasl::{Failure, decode_message};
use crate::stream::line::{Header, domain_asked_for, major_version};
use crate::stream::{Condition, Seed, StreamError, Tls};
use crate::xml::StreamHeader;
use crate::{BareJid, Element, ns};

/// What only the responder needs to know.
#[derive(Debug)]
pub(super) struct Responder {
    seed: Seed,
    /// How many headers we have sent; numbers the stream identifiers.
    headers: u32,
    /// Whether our header for the present stream has been sent.
    is_open: bool,
    /// Whether the initiator is from before there were features.
    is_old: bool,
    sasl: Sasl,
    /// Failed SASL exchanges.
    failures: u8,
    /// Questions about keys that are still answered to a stranger.
    pub(super) verifications_left: u16,
}

#[derive(Debug, PartialEq, Eq)]
enum Sasl {
    Idle,
    /// The initial response is still to come.
    Initial,
    /// The caller looks whether the certificate is good for this domain.
    Judging(Box<str>),
}

impl Responder {
    pub(super) const fn new(seed: Seed, verifications_max: u16) -> Self {
        Self {
            seed,
            headers: 0,
            is_open: false,
            is_old: false,
            sasl: Sasl::Idle,
            failures: 0,
            verifications_left: verifications_max,
        }
    }

    pub(super) fn secured(&mut self) {
        self.is_open = false;
        self.sasl = Sasl::Idle;
    }

    pub(super) const fn is_waiting(&self) -> bool {
        matches!(self.sasl, Sasl::Judging(_))
    }
}

impl Stream {
    /// How the initiator may authenticate, after [`Event::Opened`]. At any other time this does nothing.
    pub fn handle_opened(&mut self, permitted: Permitted) {
        if self.phase != Phase::Opened {
            return;
        }
        self.permitted = Permitted {
            external: permitted.external
                && self.settings.external
                && self.tls.is_some()
                && self.remote.as_deref().is_some_and(|remote| !self.settings.serves(remote)),
            dialback: permitted.dialback && self.settings.dialback,
        };
        self.phase = Phase::Open;
        if !matches!(&self.role, Role::Responder(responder) if responder.is_old) {
            self.send_features();
        }
    }

    /// Whether the certificate is good for the domain of [`Event::Authenticate`]. At any other time this does
    /// nothing.
    pub fn handle_external(&mut self, is_good: bool) {
        let is_open = self.is_open();
        let Role::Responder(responder) = &mut self.role else { return };
        if !is_open {
            return;
        }
        let Sasl::Judging(domain) = std::mem::replace(&mut responder.sasl, Sasl::Idle) else { return };
        if is_good {
            self.succeed(domain);
        } else if let Err(end) = self.refuse(Failure::InvalidAuthzid) {
            match end {
                End::Error(error) => self.close(Some(error)),
                End::Quietly(ending) => self.end(None, ending),
            }
        }
    }

    /// Sends the responder's header, unless it has been sent (RFC 6120 section 4.9.1.2: errors come after it).
    pub(super) fn answer_header(&mut self) {
        let Role::Responder(responder) = &mut self.role else { return };
        if responder.is_open {
            return;
        }
        responder.is_open = true;
        responder.headers += 1;
        self.id = responder.seed.stream_id(responder.headers).into();
        let (from, to) = (Some(&*self.local), self.remote.as_deref());
        Header { from, id: Some(&self.id), to, content_ns: ns::SERVER }.render_into(&mut self.line.out);
    }

    pub(super) fn take_initiator_header(&mut self, header: &StreamHeader) -> Step {
        let checked = self.check_initiator_header(header);
        self.answer_header();
        checked?;
        if self.is_trusted() {
            self.phase = Phase::Open;
            self.send_features();
            self.tell_external();
        } else if self.needs_tls() {
            self.phase = Phase::Open;
            self.permitted = Permitted::default();
            self.send_features();
        } else {
            self.phase = Phase::Opened;
            self.pending.push_back(Event::Opened { from: self.remote.clone(), to: self.local.clone() });
        }
        Ok(())
    }

    fn check_initiator_header(&mut self, header: &StreamHeader) -> Step {
        let from = header.from.as_deref().map(|from| BareJid::new(from).ok().filter(BareJid::is_domain));
        let is_strange = from == Some(None);
        let from: Option<Box<str>> = from.flatten().map(|from| from.domain().into());
        if self.is_trusted() {
            // It is the same peer, whatever it says.
            if from.is_some() && from != self.remote && from != self.pairs.external {
                return Err(Condition::InvalidFrom.into());
            }
        } else {
            self.remote = from;
        }
        if self.line.context.content_ns != ns::SERVER {
            return Err(Condition::InvalidNamespace.into());
        }
        // Before there were versions there was dialback, and it still works where TLS is not required.
        let is_old = header.version.is_none() && !self.needs_tls() && !self.is_trusted();
        if !is_old && major_version(header) != Some(1) {
            return Err(Condition::UnsupportedVersion.into());
        }
        if let Role::Responder(responder) = &mut self.role {
            responder.is_old = is_old;
        }
        let Some(domain) = domain_asked_for(header, &self.settings.domains) else {
            return Err(Condition::HostUnknown.into());
        };
        let domain = self.settings.domains.get(domain).cloned().unwrap_or_default();
        if self.is_trusted() && domain != self.local {
            return Err(Condition::NotAuthorized.into());
        }
        self.local = domain;
        if is_strange {
            return Err(Condition::InvalidFrom.into());
        }
        if self.remote.as_deref().is_some_and(|remote| self.settings.serves(remote)) {
            return Err(error(Condition::InvalidFrom, "that domain is served here"));
        }
        Ok(())
    }

    /// STARTTLS (RFC 6120 section 5.4.2).
    pub(super) fn take_starttls(&mut self, element: &Element) -> Step {
        // Not in the middle of an authentication either (section 5.3.4): a key belongs to one stream.
        let is_begun = self.is_trusted() || !self.pairs.asked_of_us.is_empty();
        let is_possible = self.tls.is_none() && self.settings.tls != Tls::Unavailable && !is_begun;
        if element.name() != "starttls" || !is_possible {
            empty(&mut self.line.out, "failure", ns::TLS);
            return Err(End::Quietly(Ending::Closed));
        }
        self.line.check_nothing_follows()?;
        empty(&mut self.line.out, "proceed", ns::TLS);
        self.phase = Phase::Securing;
        self.pending.push_back(Event::StartTls);
        Ok(())
    }

    /// An element of the SASL namespace.
    pub(super) fn take_auth(&mut self, element: &Element) -> Step {
        if self.is_trusted() {
            return Err(error(Condition::NotAuthorized, "already authenticated"));
        }
        if !self.pairs.asked_of_us.is_empty() {
            return Err(error(Condition::NotAuthorized, "dialback is under way"));
        }
        let needs_tls = self.needs_tls();
        let Role::Responder(responder) = &mut self.role else { return Ok(()) };
        let sasl = std::mem::replace(&mut responder.sasl, Sasl::Idle);
        let text = element.text();
        let text = text.trim();
        match (element.name(), sasl) {
            ("auth", _) if needs_tls => self.refuse(Failure::EncryptionRequired),
            ("auth", _) if element.attr("mechanism") != Some("EXTERNAL") || !self.permitted.external => {
                self.refuse(Failure::InvalidMechanism)
            }
            ("auth", _) if text.is_empty() => {
                empty(&mut self.line.out, "challenge", ns::SASL);
                responder.sasl = Sasl::Initial;
                Ok(())
            }
            ("auth", _) | ("response", Sasl::Initial) => self.take_identity(text),
            ("response", _) => self.refuse(Failure::MalformedRequest),
            ("abort", _) => self.refuse(Failure::Aborted),
            _ => Err(Condition::UnsupportedStanzaType.into()),
        }
    }

    /// The authorization identity: none, the domain of the header, or another that the certificate must cover
    /// (XEP-0178 section 3).
    fn take_identity(&mut self, text: &str) -> Step {
        let identity = match decode_message(text) {
            Ok(identity) => identity,
            Err(failure) => return self.refuse(failure),
        };
        if identity.is_empty() {
            let remote = self.remote.clone().unwrap_or_default();
            self.succeed(remote);
            return Ok(());
        }
        let identity = std::str::from_utf8(&identity).ok().and_then(|text| BareJid::new(text).ok());
        match identity.filter(BareJid::is_domain) {
            Some(identity) if self.remote.as_deref() == Some(identity.domain()) => {
                self.succeed(identity.domain().into());
                Ok(())
            }
            Some(identity) if !self.settings.serves(identity.domain()) => {
                let domain: Box<str> = identity.domain().into();
                if let Role::Responder(responder) = &mut self.role {
                    responder.sasl = Sasl::Judging(domain.clone());
                }
                self.pending.push_back(Event::Authenticate { domain });
                Ok(())
            }
            _ => self.refuse(Failure::InvalidAuthzid),
        }
    }

    /// RFC 6120 section 6.4.6: the initiator is who it says, and a new stream follows.
    fn succeed(&mut self, domain: Box<str>) {
        empty(&mut self.line.out, "success", ns::SASL);
        self.pairs.external = Some(domain);
        self.trust();
        self.line.framer.restart();
        self.phase = Phase::Header;
        if let Role::Responder(responder) = &mut self.role {
            responder.is_open = false;
        }
    }

    /// Section 6.4.5: a failure, after which dialback may be tried; and after too many of them the end.
    fn refuse(&mut self, failure: Failure) -> Step {
        self.send(&["<failure xmlns='", ns::SASL, "'><", failure.name(), "/></failure>"]);
        let Role::Responder(responder) = &mut self.role else { return Ok(()) };
        responder.failures = responder.failures.saturating_add(1);
        if responder.failures >= self.settings.authentications_max {
            let text = "too many failed authentications";
            return Err(StreamError::new(Condition::PolicyViolation).with_text(text).into());
        }
        Ok(())
    }

    /// The stream that follows SASL is open.
    fn tell_external(&mut self) {
        let Some(domain) = self.pairs.external.clone() else { return };
        self.pending.push_back(Event::Heard { from: domain.clone(), to: None, by: Proof::External });
        if self.pairs.is_bidi {
            let pair = Pair::new(&self.local, &domain);
            self.pending.push_back(Event::Authenticated { pair, by: Proof::External });
        }
    }

    /// The initiator takes stanzas too (XEP-0288 section 2.2).
    pub(super) fn take_bidi(&mut self, element: &Element) -> Step {
        if element.name() != "bidi" || !self.settings.bidi {
            return Err(Condition::UnsupportedStanzaType.into());
        }
        if self.needs_tls() {
            return Err(error(Condition::PolicyViolation, "TLS comes first"));
        }
        if self.pairs.is_bidi || self.is_trusted() {
            return Err(error(Condition::PolicyViolation, "bidi is asked for once, before authentication"));
        }
        self.pairs.is_bidi = true;
        self.pending.push_back(Event::Bidi(PeerLimits::parse(element)));
        Ok(())
    }
}
