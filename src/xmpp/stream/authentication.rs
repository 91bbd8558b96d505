//! The SASL feature (RFC 6120 section 6) with XEP-0440: what is offered and how an exchange is carried, by this profile
//! or by that of XEP-0388 (`sasl2`). With XEP-0474 and XEP-0515 in SCRAM.

use super::feature::{State, tls_state};
use super::negotiation::Negotiation;
use super::sasl2::{self, Request};
use super::{Condition, Event, Settings, Step, StreamError};
use crate::sasl::scram::{ClientFirst, ServerExchange};
use crate::sasl::{ChannelBinding, Failure, Hash, Keys, Mechanism, decode_message, downgrade, encode_message, plain};
use crate::{BareJid, Element, Jid, ns};

/// How far the authentication is.
#[derive(Debug, Default)]
pub(super) struct Authentication {
    failures: u8,
    pub(super) progress: Progress,
    /// Whether the last attempt was made by SASL2, and so is to be answered by it.
    pub(super) is_sasl2: bool,
    /// What an attempt by SASL2 that is under way asks for.
    pub(super) request: Option<Box<Request>>,
}

#[derive(Debug, Default)]
pub(super) enum Progress {
    #[default]
    Idle,
    /// The initial response is still to come.
    Initial(Mechanism),
    /// The keys are being looked up.
    Keys { hash: Hash, first: Box<ClientFirst>, channel: Option<Vec<u8>>, account: BareJid },
    /// The password is being checked.
    Password { account: BareJid },
    /// The challenge is out.
    Challenged { exchange: Box<ServerExchange>, account: BareJid },
    /// The certificate is being looked at.
    Certificate,
    /// The token is being checked.
    Token { account: BareJid },
    /// Whether keys are wanted is being found out, or they are being stored.
    Upgrade { account: BareJid, hash: Hash, is_stored: bool },
    /// The client is to send keys; the salt for them is out, or not yet.
    Task { account: BareJid, hash: Hash, salt: Option<Vec<u8>> },
    /// It has proven who it is, and what it asks for beside is being done.
    Entering { account: BareJid, is_active: Option<bool> },
}

impl Authentication {
    pub(super) const fn is_waiting(&self) -> bool {
        matches!(
            self.progress,
            Progress::Keys { .. }
                | Progress::Password { .. }
                | Progress::Certificate
                | Progress::Token { .. }
                | Progress::Upgrade { .. }
                | Progress::Entering { .. }
        )
    }

    /// Forgets the attempt that is under way.
    pub(super) fn give_up(&mut self) {
        self.progress = Progress::Idle;
        self.request = None;
    }

    const fn ns(&self) -> &'static str {
        if self.is_sasl2 { ns::SASL2 } else { ns::SASL }
    }

    pub(super) const fn is_begun(&self) -> bool {
        !matches!(self.progress, Progress::Idle)
    }
}

/// SASL is necessary until it is done, and there is none before a TLS that is required.
pub(super) fn state(negotiation: &Negotiation, settings: &Settings) -> State {
    let is_done = negotiation.account.is_some();
    if is_done || tls_state(negotiation, settings) == State::Necessary { State::Prohibited } else { State::Necessary }
}

/// The channel-binding types the channel has data for.
pub(super) fn bindings(negotiation: &Negotiation) -> impl Iterator<Item = ChannelBinding> + '_ {
    let facts = negotiation.tls.as_ref();
    ChannelBinding::ALL.into_iter().filter(move |kind| facts.is_some_and(|facts| facts.binding(*kind).is_some()))
}

/// What can be offered on this channel: PLAIN only under TLS, bound mechanisms only where there is something
/// to bind to, EXTERNAL only to those who have shown a certificate.
pub(super) fn offered<'a>(
    negotiation: &'a Negotiation,
    settings: &'a Settings,
) -> impl Iterator<Item = Mechanism> + 'a {
    let can_bind = bindings(negotiation).next().is_some();
    let is_secure = negotiation.tls.is_some();
    settings.mechanisms.iter().copied().filter(move |mechanism| match mechanism {
        Mechanism::Plain => is_secure,
        Mechanism::External => negotiation.tls.as_ref().is_some_and(|facts| facts.client_certificate.is_some()),
        mechanism => !mechanism.is_bound() || can_bind,
    })
}

fn offers_bound(negotiation: &Negotiation, settings: &Settings) -> bool {
    offered(negotiation, settings).any(Mechanism::is_bound)
}

pub(super) fn advertise(negotiation: &Negotiation, settings: &Settings, out: &mut Vec<u8>) {
    // A list must not be empty (section 6.4.1).
    if offered(negotiation, settings).next().is_none() {
        return;
    }
    let mut text = format!("<mechanisms xmlns='{}'>", ns::SASL);
    for mechanism in offered(negotiation, settings) {
        text.extend(["<mechanism>", mechanism.name(), "</mechanism>"]);
    }
    text.push_str("</mechanisms>");
    if offers_bound(negotiation, settings) {
        text.extend(["<sasl-channel-binding xmlns='", ns::SASL_CB, "'>"]);
        for kind in bindings(negotiation) {
            text.extend(["<channel-binding type='", kind.name(), "'/>"]);
        }
        text.push_str("</sasl-channel-binding>");
    }
    out.extend_from_slice(text.as_bytes());
}

/// Takes an element of the SASL namespace.
pub(super) fn take(negotiation: &mut Negotiation, settings: &Settings, element: &Element, out: &mut Vec<u8>) -> Step {
    if negotiation.account.is_some() {
        return Step::Fail(StreamError::new(Condition::NotAuthorized).with_text("already authenticated"));
    }
    if negotiation.authentication.request.is_some() {
        let text = "an authentication is under way";
        return Step::Fail(StreamError::new(Condition::PolicyViolation).with_text(text));
    }
    negotiation.authentication.is_sasl2 = false;
    let text = element.text();
    let taken = match element.name() {
        // Section 6.4.2: a new handshake replaces one that is under way.
        "auth" => {
            let response = Some(&*text).filter(|text| !text.is_empty());
            begin(negotiation, settings, element.attr("mechanism"), response, out)
        }
        "response" => respond(negotiation, settings, &text, out),
        "abort" => Err(Failure::Aborted),
        _ => return Step::Fail(Condition::UnsupportedStanzaType.into()),
    };
    taken.unwrap_or_else(|failure| fail(negotiation, settings, failure, out))
}

/// A response to a challenge.
pub(super) fn respond(
    negotiation: &mut Negotiation,
    settings: &Settings,
    text: &str,
    out: &mut Vec<u8>,
) -> Result<Step, Failure> {
    match std::mem::take(&mut negotiation.authentication.progress) {
        Progress::Initial(mechanism) => {
            decode_message(text).and_then(|message| initial(negotiation, settings, mechanism, &message))
        }
        Progress::Challenged { exchange, account } => {
            decode_message(text).and_then(|message| finish(negotiation, settings, *exchange, account, &message, out))
        }
        _ => Err(Failure::MalformedRequest),
    }
}

pub(super) fn begin(
    negotiation: &mut Negotiation,
    settings: &Settings,
    mechanism: Option<&str>,
    response: Option<&str>,
    out: &mut Vec<u8>,
) -> Result<Step, Failure> {
    if state(negotiation, settings) == State::Prohibited {
        return Err(Failure::EncryptionRequired);
    }
    let mechanism: Mechanism = mechanism.and_then(|name| name.parse().ok()).ok_or(Failure::InvalidMechanism)?;
    if !offered(negotiation, settings).any(|offered| offered == mechanism) {
        let would_be_offered = mechanism == Mechanism::Plain && settings.mechanisms.contains(&mechanism);
        return Err(if would_be_offered { Failure::EncryptionRequired } else { Failure::InvalidMechanism });
    }
    let Some(response) = response else {
        // Section 6.3.10: an initial response is optional, and asked for where there is none.
        super::feature::empty(out, "challenge", negotiation.authentication.ns());
        negotiation.authentication.progress = Progress::Initial(mechanism);
        return Ok(Step::Stay);
    };
    initial(negotiation, settings, mechanism, &decode_message(response)?)
}

fn initial(
    negotiation: &mut Negotiation,
    settings: &Settings,
    mechanism: Mechanism,
    message: &[u8],
) -> Result<Step, Failure> {
    if mechanism == Mechanism::External {
        return certificate(negotiation, settings, message);
    }
    let Some(hash) = mechanism.hash() else {
        let message = plain::Message::parse(message)?;
        let account = account(negotiation, settings, &message.authcid)?;
        check_authzid(&account, message.authzid.as_deref())?;
        let (localpart, domain) = parts(&account);
        negotiation.authentication.progress = Progress::Password { account };
        return Ok(Event::CheckPassword { localpart, domain, password: message.password }.into());
    };
    let first = Box::new(ClientFirst::parse(message)?);
    let channel = match first.binding(mechanism, offers_bound(negotiation, settings))? {
        Some(kind) => {
            let data = negotiation.tls.as_ref().and_then(|facts| facts.binding(kind));
            Some(data.ok_or(Failure::MalformedRequest)?.to_vec())
        }
        None => None,
    };
    let account = account(negotiation, settings, &first.username)?;
    let (localpart, domain) = parts(&account);
    negotiation.authentication.progress = Progress::Keys { hash, first, channel, account };
    Ok(Event::NeedCredentials { localpart, domain, mechanism }.into())
}

/// The certificate shown in TLS is to say who it is; the message, who to act as, if that is said (XEP-0178 section 2).
fn certificate(negotiation: &mut Negotiation, settings: &Settings, message: &[u8]) -> Result<Step, Failure> {
    let authzid = std::str::from_utf8(message).map_err(|_| Failure::MalformedRequest)?;
    let authzid = match authzid {
        "" => None,
        authzid => Some(Jid::new(authzid).map_err(|_| Failure::InvalidAuthzid)?),
    };
    let domain = negotiation.domain(settings).into();
    let from = negotiation.from.clone();
    negotiation.authentication.progress = Progress::Certificate;
    Ok(Event::CheckCertificate { domain, authzid, from }.into())
}

/// The certificate has been looked at.
pub(super) fn take_certificate(
    negotiation: &mut Negotiation,
    settings: &Settings,
    found: Result<BareJid, Failure>,
    out: &mut Vec<u8>,
) -> Step {
    let progress = std::mem::take(&mut negotiation.authentication.progress);
    if !matches!(progress, Progress::Certificate) {
        negotiation.authentication.progress = progress;
        return Step::Stay;
    }
    match found {
        Ok(account) => succeed(negotiation, settings, account, None, out),
        Err(failure) => fail(negotiation, settings, failure, out),
    }
}

/// The account a simple user name means (section 6.3.7).
pub(super) fn account(negotiation: &Negotiation, settings: &Settings, username: &str) -> Result<BareJid, Failure> {
    BareJid::from_parts(Some(username), negotiation.domain(settings)).map_err(|_| Failure::NotAuthorized)
}

fn parts(account: &BareJid) -> (Box<str>, Box<str>) {
    (account.localpart().unwrap_or_default().into(), account.domain().into())
}

/// Section 6.3.8: an authorization identity is a bare JID; nobody may act as somebody else.
fn check_authzid(account: &BareJid, authzid: Option<&str>) -> Result<(), Failure> {
    let is_permitted = authzid.is_none_or(|authzid| BareJid::new(authzid).is_ok_and(|authzid| authzid == *account));
    if is_permitted { Ok(()) } else { Err(Failure::InvalidAuthzid) }
}

/// The keys have been looked up, or could not be.
pub(super) fn take_keys(
    negotiation: &mut Negotiation,
    settings: &Settings,
    found: Result<Keys, Failure>,
    out: &mut Vec<u8>,
) -> Step {
    let Progress::Keys { hash, first, channel, account } = std::mem::take(&mut negotiation.authentication.progress)
    else {
        return Step::Stay;
    };
    let keys = match found {
        Ok(keys) => keys,
        Err(failure) => return fail(negotiation, settings, failure, out),
    };
    let nonce = negotiation.next_nonce();
    let extensions = protection(negotiation, settings, hash);
    let (exchange, challenge) = ServerExchange::begin_with(hash, *first, keys, &nonce, channel.as_deref(), &extensions);
    carry(out, "challenge", negotiation.authentication.ns(), challenge.as_bytes());
    negotiation.authentication.progress = Progress::Challenged { exchange: Box::new(exchange), account };
    Step::Stay
}

/// What was offered, for the client to compare with what it has seen (XEP-0474, XEP-0515).
fn protection(negotiation: &Negotiation, settings: &Settings, hash: Hash) -> String {
    let mechanisms: Vec<&str> = offered(negotiation, settings).map(Mechanism::name).collect();
    let kinds: Vec<&str> = bindings(negotiation).map(ChannelBinding::name).collect();
    let kinds = offers_bound(negotiation, settings).then_some(&*kinds);
    let tls = negotiation.tls.as_ref().map(|facts| facts.version);
    downgrade::extensions(&downgrade::hash(hash, &mechanisms, kinds), tls)
}

fn finish(
    negotiation: &mut Negotiation,
    settings: &Settings,
    exchange: ServerExchange,
    account: BareJid,
    message: &[u8],
    out: &mut Vec<u8>,
) -> Result<Step, Failure> {
    let proven = exchange.finish(message)?;
    check_authzid(&account, proven.authzid.as_deref())?;
    Ok(succeed(negotiation, settings, account, Some(&proven.message), out))
}

/// The password has been checked, or could not be.
pub(super) fn take_verdict(
    negotiation: &mut Negotiation,
    settings: &Settings,
    is_right: Result<bool, Failure>,
    out: &mut Vec<u8>,
) -> Step {
    let Progress::Password { account } = std::mem::take(&mut negotiation.authentication.progress) else {
        return Step::Stay;
    };
    match is_right {
        Ok(true) => succeed(negotiation, settings, account, None, out),
        Ok(false) => fail(negotiation, settings, Failure::NotAuthorized, out),
        Err(failure) => fail(negotiation, settings, failure, out),
    }
}

/// Section 6.4.6.
fn succeed(
    negotiation: &mut Negotiation,
    settings: &Settings,
    account: BareJid,
    message: Option<&str>,
    out: &mut Vec<u8>,
) -> Step {
    if negotiation.authentication.request.is_some() {
        let message = message.map(|message| message.as_bytes().to_vec());
        return sasl2::proven(negotiation, settings, account, message, out);
    }
    let claimed = negotiation.from.as_ref().filter(|_| negotiation.tls.is_some());
    if claimed.is_some_and(|claimed| *claimed != account) {
        let text = "the account is not the one the stream is from";
        return Step::Fail(StreamError::new(Condition::InvalidFrom).with_text(text));
    }
    match message {
        Some(message) => carry(out, "success", ns::SASL, message.as_bytes()),
        None => super::feature::empty(out, "success", ns::SASL),
    }
    negotiation.authenticated(account)
}

/// Section 6.4.5: a failure, and after too many of them the end.
pub(super) fn fail(negotiation: &mut Negotiation, settings: &Settings, failure: Failure, out: &mut Vec<u8>) -> Step {
    let authentication = &mut negotiation.authentication;
    let condition = match authentication.is_sasl2 {
        true => ["<", failure.name(), " xmlns='", ns::SASL, "'/>"].concat(),
        false => ["<", failure.name(), "/>"].concat(),
    };
    let text = ["<failure xmlns='", authentication.ns(), "'>", &condition, "</failure>"].concat();
    out.extend_from_slice(text.as_bytes());
    authentication.give_up();
    authentication.failures = authentication.failures.saturating_add(1);
    if authentication.failures >= settings.authentications_max {
        let text = "too many failed authentications";
        return Step::Fail(StreamError::new(Condition::PolicyViolation).with_text(text));
    }
    Step::Stay
}

fn carry(out: &mut Vec<u8>, name: &str, ns: &str, message: &[u8]) {
    let message = encode_message(message);
    let text = ["<", name, " xmlns='", ns, "'>", &message, "</", name, ">"].concat();
    out.extend_from_slice(text.as_bytes());
}
