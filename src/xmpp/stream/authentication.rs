//! The SASL feature (RFC 6120 section 6) with XEP-0440: what is offered and how an exchange is carried.

use super::feature::{State, tls_state};
use super::negotiation::Negotiation;
use super::{Condition, Event, Settings, Step, StreamError};
use crate::sasl::scram::{ClientFirst, ServerExchange};
use crate::sasl::{ChannelBinding, Failure, Hash, Keys, Mechanism, decode_message, encode_message, plain};
use crate::{BareJid, Element, ns};

/// How far the authentication is.
#[derive(Debug, Default)]
pub(super) struct Authentication {
    failures: u8,
    progress: Progress,
}

#[derive(Debug, Default)]
enum Progress {
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
}

impl Authentication {
    pub(super) const fn is_waiting(&self) -> bool {
        matches!(self.progress, Progress::Keys { .. } | Progress::Password { .. })
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
fn bindings(negotiation: &Negotiation) -> impl Iterator<Item = ChannelBinding> + '_ {
    let facts = negotiation.tls.as_ref();
    ChannelBinding::ALL.into_iter().filter(move |kind| facts.is_some_and(|facts| facts.binding(*kind).is_some()))
}

/// What can be offered on this channel: PLAIN only under TLS, bound mechanisms only where there is something
/// to bind to.
fn offered<'a>(negotiation: &'a Negotiation, settings: &'a Settings) -> impl Iterator<Item = Mechanism> + 'a {
    let can_bind = bindings(negotiation).next().is_some();
    let is_secure = negotiation.tls.is_some();
    settings.mechanisms.iter().copied().filter(move |mechanism| match mechanism {
        Mechanism::Plain => is_secure,
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
    let progress = std::mem::take(&mut negotiation.authentication.progress);
    let text = element.text();
    let taken = match (element.name(), progress) {
        // Section 6.4.2: a new handshake replaces one that is under way.
        ("auth", _) => begin(negotiation, settings, element.attr("mechanism"), &text, out),
        ("response", Progress::Initial(mechanism)) => {
            decode_message(&text).and_then(|message| initial(negotiation, settings, mechanism, &message))
        }
        ("response", Progress::Challenged { exchange, account }) => {
            decode_message(&text).and_then(|message| finish(negotiation, *exchange, account, &message, out))
        }
        ("abort", _) => Err(Failure::Aborted),
        ("response", _) => Err(Failure::MalformedRequest),
        _ => return Step::Fail(Condition::UnsupportedStanzaType.into()),
    };
    taken.unwrap_or_else(|failure| fail(negotiation, settings, failure, out))
}

fn begin(
    negotiation: &mut Negotiation,
    settings: &Settings,
    mechanism: Option<&str>,
    text: &str,
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
    if text.is_empty() {
        // Section 6.3.10: an initial response is optional, and asked for where there is none.
        super::feature::empty(out, "challenge", ns::SASL);
        negotiation.authentication.progress = Progress::Initial(mechanism);
        return Ok(Step::Stay);
    }
    initial(negotiation, settings, mechanism, &decode_message(text)?)
}

fn initial(
    negotiation: &mut Negotiation,
    settings: &Settings,
    mechanism: Mechanism,
    message: &[u8],
) -> Result<Step, Failure> {
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

/// The account a simple user name means (section 6.3.7).
fn account(negotiation: &Negotiation, settings: &Settings, username: &str) -> Result<BareJid, Failure> {
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
    let (exchange, challenge) = ServerExchange::begin(hash, *first, keys, &nonce, channel.as_deref());
    carry(out, "challenge", &challenge);
    negotiation.authentication.progress = Progress::Challenged { exchange: Box::new(exchange), account };
    Step::Stay
}

fn finish(
    negotiation: &mut Negotiation,
    exchange: ServerExchange,
    account: BareJid,
    message: &[u8],
    out: &mut Vec<u8>,
) -> Result<Step, Failure> {
    let proven = exchange.finish(message)?;
    check_authzid(&account, proven.authzid.as_deref())?;
    Ok(succeed(negotiation, account, Some(&proven.message), out))
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
        Ok(true) => succeed(negotiation, account, None, out),
        Ok(false) => fail(negotiation, settings, Failure::NotAuthorized, out),
        Err(failure) => fail(negotiation, settings, failure, out),
    }
}

/// Section 6.4.6.
fn succeed(negotiation: &mut Negotiation, account: BareJid, message: Option<&str>, out: &mut Vec<u8>) -> Step {
    let claimed = negotiation.from.as_ref().filter(|_| negotiation.tls.is_some());
    if claimed.is_some_and(|claimed| *claimed != account) {
        let text = "the account is not the one the stream is from";
        return Step::Fail(StreamError::new(Condition::InvalidFrom).with_text(text));
    }
    match message {
        Some(message) => carry(out, "success", message),
        None => super::feature::empty(out, "success", ns::SASL),
    }
    negotiation.authenticated(account)
}

/// Section 6.4.5: a failure, and after too many of them the end.
fn fail(negotiation: &mut Negotiation, settings: &Settings, failure: Failure, out: &mut Vec<u8>) -> Step {
    let text = ["<failure xmlns='", ns::SASL, "'><", failure.name(), "/></failure>"].concat();
    out.extend_from_slice(text.as_bytes());
    let authentication = &mut negotiation.authentication;
    authentication.progress = Progress::Idle;
    authentication.failures = authentication.failures.saturating_add(1);
    if authentication.failures >= settings.authentications_max {
        let text = "too many failed authentications";
        return Step::Fail(StreamError::new(Condition::PolicyViolation).with_text(text));
    }
    Step::Stay
}

fn carry(out: &mut Vec<u8>, name: &str, message: &str) {
    let message = encode_message(message.as_bytes());
    let text = ["<", name, " xmlns='", ns::SASL, "'>", &message, "</", name, ">"].concat();
    out.extend_from_slice(text.as_bytes());
}
