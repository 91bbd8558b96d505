//! From the first header to a bound resource: all that a stream needs to know until then.

use super::authentication::Authentication;
use super::binding::Binding;
use super::feature::{self, FEATURES};
use super::line::{Allowance, Header, domain_asked_for, major_version};
use super::{Condition, Event, Seed, Settings, Step, StreamError, TlsFacts};
use crate::limits::Limits;
use crate::sasl::{Failure, Keys};
use crate::stanza::StanzaError;
use crate::xml::StreamHeader;
use crate::{BareJid, Element, FullJid, Jid, ns};

/// The state of a negotiation. Lives on the heap, for as long as the negotiation does.
#[derive(Debug)]
pub(super) struct Negotiation {
    seed: Seed,
    /// How many headers we have sent; numbers the stream identifiers.
    headers: u32,
    pub(super) allowance: Allowance,
    /// Whether our header for the present stream has been sent.
    is_open: bool,
    /// TLS has been agreed on and not begun, or not finished.
    is_securing: bool,
    /// Which of our domains the initiator has asked for.
    domain: Option<usize>,
    /// Who the initiator says it is, if it said so under TLS or after.
    pub(super) from: Option<BareJid>,
    pub(super) tls: Option<TlsFacts>,
    pub(super) registrations_left: u8,
    pub(super) authentication: Authentication,
    /// Who the initiator has proven to be.
    pub(super) account: Option<BareJid>,
    pub(super) binding: Binding,
    /// Whether a resource was bound together with authentication.
    pub(super) is_bound: bool,
    /// Whether stream management was enabled, or a stream resumed, together with that: it is not offered again.
    pub(super) is_managed: bool,
    /// Which features were advertised (XEP-0509).
    pub(super) config_version: Option<Box<str>>,
    /// The identifier of the stream to be resumed, while that waits for its answer.
    pub(super) resumption: Option<Box<str>>,
}

impl Negotiation {
    pub(super) fn new(settings: &Settings, seed: Seed, tls: Option<TlsFacts>) -> Self {
        Self {
            seed,
            headers: 0,
            allowance: Allowance::new(settings.unauthenticated_bytes_max),
            is_open: false,
            is_securing: false,
            domain: None,
            from: None,
            tls,
            registrations_left: settings.registrations_max,
            authentication: Authentication::default(),
            account: None,
            binding: Binding::default(),
            is_bound: false,
            is_managed: false,
            config_version: None,
            resumption: None,
        }
    }

    /// The bytes that may be read: all of them once authenticated, none while TLS is being negotiated.
    pub(super) fn permit<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        if self.is_securing {
            return &[];
        }
        if self.account.is_some() {
            return bytes;
        }
        self.allowance.permit(bytes)
    }

    pub(super) const fn is_securing(&self) -> bool {
        self.is_securing
    }

    /// Whether an event waits for its answer.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_securing || self.authentication.is_waiting() || self.binding.is_waiting() || self.resumption.is_some()
    }

    pub(super) fn begin_tls(&mut self) -> Step {
        self.is_securing = true;
        Step::StartTls
    }

    pub(super) const fn refuse_tls(&mut self) {
        self.is_securing = false;
    }

    pub(super) fn handle_secured(&mut self, tls: TlsFacts) -> bool {
        if !self.is_securing {
            return false;
        }
        self.is_securing = false;
        self.is_open = false;
        self.domain = None;
        self.from = None;
        self.tls = Some(tls);
        true
    }

    pub(super) fn domain<'s>(&self, settings: &'s Settings) -> &'s str {
        settings.domains.get(self.domain.unwrap_or(0)).map_or("", |domain| domain)
    }

    pub(super) const fn limits<'s>(&self, settings: &'s Settings) -> &'s Limits {
        if self.account.is_some() { &settings.limits } else { &settings.limits_unauthenticated }
    }

    pub(super) fn next_nonce(&mut self) -> String {
        self.headers += 1;
        self.seed.nonce(self.headers)
    }

    /// Sends our header, unless it has been sent (RFC 6120 section 4.9.1.2: errors come after it).
    pub(super) fn open(&mut self, settings: &Settings, out: &mut Vec<u8>) {
        if self.is_open {
            return;
        }
        self.is_open = true;
        self.headers += 1;
        let id = self.seed.stream_id(self.headers);
        let to = self.from.as_ref().map(BareJid::as_str);
        Header { from: Some(self.domain(settings)), id: Some(&id), to, content_ns: ns::CLIENT }.render_into(out);
    }

    /// RFC 6120 section 4.7, then the features.
    pub(super) fn take_header(&mut self, settings: &Settings, header: &StreamHeader, out: &mut Vec<u8>) -> Step {
        let checked = self.check_header(settings, header);
        self.open(settings, out);
        if let Err(condition) = checked {
            return Step::Fail(condition.into());
        }
        feature::advertise_all(self, settings, out);
        Step::Stay
    }

    fn check_header(&mut self, settings: &Settings, header: &StreamHeader) -> Result<(), Condition> {
        let from = header.from.as_deref().map(|from| Jid::new(from).map(|from| from.to_bare()));
        let from = from.transpose().map_err(|_| Condition::InvalidFrom);
        self.from = from.as_ref().ok().cloned().flatten();
        if header.context.content_ns != ns::CLIENT {
            return Err(Condition::InvalidNamespace);
        }
        if major_version(header) != Some(1) {
            return Err(Condition::UnsupportedVersion);
        }
        let domain = domain_asked_for(header, &settings.domains).ok_or(Condition::HostUnknown)?;
        if self.account.is_some() && self.domain != Some(domain) {
            return Err(Condition::NotAuthorized);
        }
        self.domain = Some(domain);
        let from = from?;
        if from.is_some() && self.account.is_some() && from != self.account {
            return Err(Condition::InvalidFrom);
        }
        Ok(())
    }

    /// An element before a resource is bound: for one of the features, or a mistake.
    pub(super) fn take_element(&mut self, settings: &Settings, element: &Element, out: &mut Vec<u8>) -> Step {
        if element.is("error", ns::STREAM) {
            return Step::Close(Some(StreamError::parse(element)));
        }
        // XEP-0388 section "During Authentication".
        if self.authentication.request.is_some() && !element.has_ns(ns::SASL2) {
            let text = "an authentication is under way";
            return Step::Fail(StreamError::new(Condition::PolicyViolation).with_text(text));
        }
        if let Some(feature) = FEATURES.iter().find(|feature| (feature.claims)(element)) {
            return (feature.take)(self, settings, element, out);
        }
        let is_stanza = element.has_ns(ns::CLIENT) && matches!(element.name(), "message" | "presence" | "iq");
        let condition = if is_stanza { Condition::NotAuthorized } else { Condition::UnsupportedStanzaType };
        Step::Fail(condition.into())
    }

    pub(super) fn handle_credentials(
        &mut self,
        settings: &Settings,
        found: Result<Keys, Failure>,
        out: &mut Vec<u8>,
    ) -> Step {
        super::authentication::take_keys(self, settings, found, out)
    }

    pub(super) fn handle_password(
        &mut self,
        settings: &Settings,
        is_right: Result<bool, Failure>,
        out: &mut Vec<u8>,
    ) -> Step {
        super::authentication::take_verdict(self, settings, is_right, out)
    }

    pub(super) fn handle_bound(
        &mut self,
        settings: &Settings,
        outcome: Result<FullJid, StanzaError>,
        out: &mut Vec<u8>,
    ) -> Step {
        super::binding::take_outcome(self, settings, outcome, out)
    }

    /// The initiator is who it says: a new stream follows (RFC 6120 section 6.4.6).
    pub(super) fn authenticated(&mut self, account: BareJid) -> Step {
        self.is_open = false;
        self.account = Some(account.clone());
        Step::Authenticated { account, restart: true }
    }
}

impl From<Event> for Step {
    fn from(event: Event) -> Self {
        Self::Tell(event)
    }
}
