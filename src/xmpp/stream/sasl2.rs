//! The SASL2 feature (XEP-0388): what is offered, what a client asks for beside being let in, and how it is told what
//! came of it. With it: Bind 2 (XEP-0386), tokens (XEP-0484), upgrade tasks (XEP-0480) and pipelining (XEP-0509).
//!
//! The exchanges themselves are those of `authentication`. There is no stream restart: behind `<success/>` come the
//! features of the stream that goes on. It is spoken under TLS only.

use super::authentication::{self, Progress, bindings, offered};
use super::entry::{Bind2, Entered, Proof, TAG_BYTES_MAX, UserAgent, Wishes};
use super::feature::{self, State};
use super::management::{self, Resume};
use super::negotiation::Negotiation;
use super::{Bound, Condition, Event, ResumeFailed, Settings, Step, StreamError};
use crate::sasl::scram::{ITERATIONS_DEFAULT, SALT_BYTES};
use crate::sasl::token::{Shown, TokenMechanism};
use crate::sasl::{Failure, Hash, Keys, decode_message, encode_message};
use crate::stanza;
use crate::xml::{escape_text, write_attr};
use crate::{BareJid, Element, FullJid, ns};

/// What came with `<authenticate/>`.
#[derive(Debug)]
pub(super) struct Request {
    proof: Proof,
    agent: UserAgent,
    resume: Option<Result<Resume, stanza::Condition>>,
    bind: Option<Bind2>,
    token: Option<TokenMechanism>,
    count: Option<u32>,
    upgrades: Vec<Hash>,
    /// What the mechanism has to say when it succeeds, for `<success/>` or the first `<continue/>`.
    pub(super) additional: Option<Vec<u8>>,
}

/// Offered before authentication, under TLS, if there is a mechanism.
pub(super) fn state(negotiation: &Negotiation, settings: &Settings) -> State {
    let is_possible = settings.sasl2.is_some() && negotiation.account.is_none() && negotiation.tls.is_some();
    if is_possible && offered(negotiation, settings).next().is_some() { State::Necessary } else { State::Prohibited }
}

fn tokens<'a>(negotiation: &'a Negotiation, settings: &'a Settings) -> impl Iterator<Item = TokenMechanism> + 'a {
    let tokens = settings.sasl2.iter().flat_map(|sasl2| &sasl2.tokens).copied();
    tokens.filter(|mechanism| {
        mechanism.binding().is_none_or(|kind| bindings(negotiation).any(|available| available == kind))
    })
}

pub(super) fn advertise(negotiation: &Negotiation, settings: &Settings, out: &mut Vec<u8>) {
    let Some(sasl2) = &settings.sasl2 else { return };
    let mut text = format!("<authentication xmlns='{}'>", ns::SASL2);
    for mechanism in offered(negotiation, settings) {
        text.extend(["<mechanism>", mechanism.name(), "</mechanism>"]);
    }
    text.extend(["<inline><bind xmlns='", ns::BIND2, "'><inline>"]);
    let mut own = Vec::new();
    if settings.client_states {
        own.push(ns::CLIENT_STATES);
    }
    if settings.acks {
        own.push(ns::ACKS);
    }
    for var in sasl2.bind_features.iter().map(|var| &**var).chain(own) {
        text.extend(["<feature var='", var, "'/>"]);
    }
    text.push_str("</inline></bind>");
    if settings.acks {
        text.extend(["<sm xmlns='", ns::ACKS, "'/>"]);
    }
    if tokens(negotiation, settings).next().is_some() {
        text.extend(["<fast xmlns='", ns::FAST, "'>"]);
        for mechanism in tokens(negotiation, settings) {
            text.extend(["<mechanism>", mechanism.name(), "</mechanism>"]);
        }
        text.push_str("</fast>");
    }
    text.push_str("</inline>");
    for hash in &sasl2.upgrades {
        text.extend(["<upgrade xmlns='", ns::SASL_UPGRADE, "'>", task_name(*hash), "</upgrade>"]);
    }
    text.push_str("</authentication>");
    out.extend_from_slice(text.as_bytes());
}

/// Says which features these are, so that a client that knows them need not wait for them (XEP-0509). `features` is what
/// has been advertised.
pub(super) fn advertise_version(negotiation: &mut Negotiation, features: &[u8], out: &mut Vec<u8>) {
    let digest = Hash::Sha256.digest(features);
    let version = encode_message(digest.get(..18).unwrap_or(&digest));
    out.extend_from_slice(["<config-version xmlns='", ns::PIPELINING, "' scheme='opaque'"].concat().as_bytes());
    write_attr(out, "value", &version);
    out.extend_from_slice(b"/>");
    negotiation.config_version = Some(version.into());
}

/// Takes an element of the SASL2 namespace.
pub(super) fn take(negotiation: &mut Negotiation, settings: &Settings, element: &Element, out: &mut Vec<u8>) -> Step {
    if negotiation.account.is_some() {
        return Step::Fail(StreamError::new(Condition::NotAuthorized).with_text("already authenticated"));
    }
    if settings.sasl2.is_none() {
        return Step::Fail(Condition::UnsupportedStanzaType.into());
    }
    let is_begun = negotiation.authentication.request.is_some();
    if !is_begun && element.name() != "authenticate" {
        // Of an attempt that has failed already, or of none.
        let taken = if matches!(element.name(), "response" | "abort") {
            Failure::MalformedRequest
        } else {
            return Step::Fail(Condition::UnsupportedStanzaType.into());
        };
        negotiation.authentication.is_sasl2 = true;
        return authentication::fail(negotiation, settings, taken, out);
    }
    let taken = match element.name() {
        "authenticate" if negotiation.authentication.is_begun() => {
            let text = "an authentication is under way";
            return Step::Fail(StreamError::new(Condition::PolicyViolation).with_text(text));
        }
        "authenticate" => {
            negotiation.authentication.is_sasl2 = true;
            if !is_of_this_version(negotiation, element) {
                return refuse_version(negotiation, out);
            }
            begin(negotiation, settings, element, out)
        }
        "response" => authentication::respond(negotiation, settings, element.text().trim(), out),
        "next" => next(negotiation, settings, element, out),
        "task-data" => task_data(negotiation, element),
        "abort" => Err(Failure::Aborted),
        _ => return Step::Fail(Condition::UnsupportedStanzaType.into()),
    };
    taken.unwrap_or_else(|failure| authentication::fail(negotiation, settings, failure, out))
}

/// XEP-0509 section "Usage": whoever did not wait for the features must have known them.
fn is_of_this_version(negotiation: &Negotiation, element: &Element) -> bool {
    let version = element.get_child("config-version", ns::PIPELINING).and_then(|version| version.attr("value"));
    version.is_none_or(|version| negotiation.config_version.as_deref() == Some(version))
}

/// Not a failed login, so it is not counted as one; the unauthenticated bytes are what bounds it.
fn refuse_version(negotiation: &mut Negotiation, out: &mut Vec<u8>) -> Step {
    negotiation.authentication.give_up();
    let failure = [
        "<failure xmlns='",
        ns::SASL2,
        "'><aborted xmlns='",
        ns::SASL,
        "'/><config-version-mismatch xmlns='",
        ns::PIPELINING,
        "'/></failure>",
    ];
    out.extend_from_slice(failure.concat().as_bytes());
    Step::Stay
}

fn begin(
    negotiation: &mut Negotiation,
    settings: &Settings,
    element: &Element,
    out: &mut Vec<u8>,
) -> Result<Step, Failure> {
    if state(negotiation, settings) == State::Prohibited {
        return Err(Failure::EncryptionRequired);
    }
    let name = element.attr("mechanism").ok_or(Failure::InvalidMechanism)?;
    let response = element.get_child("initial-response", ns::SASL2).map(Element::text);
    let response = response.as_deref().map(str::trim);
    let fast = element.get_child("fast", ns::FAST);
    let is_set =
        |name: &str| fast.and_then(|fast| fast.attr(name)).is_some_and(|value| value == "true" || value == "1");
    let token: Option<TokenMechanism> = name.parse().ok();
    let proof = match token {
        Some(mechanism) => Proof::Token { mechanism, invalidate: is_set("invalidate") },
        None => Proof::Mechanism(name.parse().map_err(|_| Failure::InvalidMechanism)?),
    };
    let agent = match element.get_child("user-agent", ns::SASL2) {
        Some(agent) => UserAgent::parse(agent).ok_or(Failure::MalformedRequest)?,
        None => UserAgent::default(),
    };
    let count = match fast.and_then(|fast| fast.attr("count")) {
        Some(count) => Some(count.parse().map_err(|_| Failure::MalformedRequest)?),
        None => None,
    };
    let wanted = element.get_child("request-token", ns::FAST).and_then(|wanted| wanted.attr("mechanism")?.parse().ok());
    let upgrades = &settings.sasl2.as_ref().ok_or(Failure::InvalidMechanism)?.upgrades;
    let is_wanted = |hash: &&Hash| {
        let mut asked = element.children().filter(|child| child.is("upgrade", ns::SASL_UPGRADE));
        asked.any(|child| child.text().trim() == task_name(**hash))
    };
    let request = Request {
        proof,
        resume: element.get_child("resume", ns::ACKS).filter(|_| settings.acks).map(Resume::of),
        bind: element.get_child("bind", ns::BIND2).map(|bind| read_bind(bind, settings)),
        // Tokens are for a client that can be told from others.
        token: wanted
            .filter(|wanted| agent.id.is_some() && tokens(negotiation, settings).any(|token| token == *wanted)),
        upgrades: if proof.is_password() { upgrades.iter().filter(is_wanted).copied().collect() } else { Vec::new() },
        agent,
        count,
        additional: None,
    };
    negotiation.authentication.request = Some(Box::new(request));
    match token {
        Some(mechanism) => {
            let is_offered = tokens(negotiation, settings).any(|offered| offered == mechanism);
            if !is_offered || fast.is_none() {
                return Err(Failure::InvalidMechanism);
            }
            let message = decode_message(response.ok_or(Failure::MalformedRequest)?)?;
            show(negotiation, settings, mechanism, &message)
        }
        None => authentication::begin(negotiation, settings, Some(name), response, out),
    }
}

fn read_bind(bind: &Element, settings: &Settings) -> Bind2 {
    let mut wishes = Bind2::default();
    for child in bind.children() {
        let ns = child.ns();
        match (child.name(), &*ns) {
            ("tag", ns::BIND2) => {
                let tag = child.text();
                let tag = Some(tag.trim()).filter(|tag| !tag.is_empty() && tag.len() <= TAG_BYTES_MAX);
                wishes.tag = tag.map(Box::from);
            }
            ("enable", ns::ACKS) if settings.acks => wishes.acks = Some(management::read_enable(child)),
            (name @ ("active" | "inactive"), ns::CLIENT_STATES) => wishes.is_active = Some(name == "active"),
            (_, ns::BIND2 | ns::ACKS) => {}
            _ => wishes.features.push(child.clone()),
        }
    }
    wishes
}

/// A token is shown.
fn show(
    negotiation: &mut Negotiation,
    settings: &Settings,
    mechanism: TokenMechanism,
    message: &[u8],
) -> Result<Step, Failure> {
    let channel = match mechanism.binding() {
        Some(kind) => {
            negotiation.tls.as_ref().and_then(|facts| facts.binding(kind)).ok_or(Failure::InvalidMechanism)?
        }
        None => &[],
    };
    let shown = Shown::parse(mechanism, message, channel)?;
    let account = authentication::account(negotiation, settings, &shown.authcid)?;
    let request = negotiation.authentication.request.as_ref().ok_or(Failure::MalformedRequest)?;
    let Proof::Token { invalidate, .. } = request.proof else { return Err(Failure::MalformedRequest) };
    let client = request.agent.id.clone().ok_or(Failure::MalformedRequest)?;
    let event = Event::CheckToken {
        account: account.clone(),
        client,
        shown: Box::new(shown),
        count: request.count,
        invalidate,
    };
    negotiation.authentication.progress = Progress::Token { account };
    Ok(event.into())
}

/// The token has been looked up.
pub(super) fn take_token(
    negotiation: &mut Negotiation,
    settings: &Settings,
    answer: Result<Vec<u8>, Failure>,
    out: &mut Vec<u8>,
) -> Step {
    let Progress::Token { account } = std::mem::take(&mut negotiation.authentication.progress) else {
        return Step::Stay;
    };
    match answer {
        Ok(answer) => proven(negotiation, settings, account, Some(answer), out),
        Err(failure) => authentication::fail(negotiation, settings, failure, out),
    }
}

/// The client has proven who it is; what it asked for beside comes next.
pub(super) fn proven(
    negotiation: &mut Negotiation,
    settings: &Settings,
    account: BareJid,
    additional: Option<Vec<u8>>,
    out: &mut Vec<u8>,
) -> Step {
    // Section "Initiation".
    if negotiation.from.as_ref().is_some_and(|claimed| *claimed != account) {
        return authentication::fail(negotiation, settings, Failure::InvalidAuthzid, out);
    }
    let Some(request) = &mut negotiation.authentication.request else { return Step::Stay };
    request.additional = additional;
    go_on(negotiation, account)
}

/// The next upgrade that was asked for, or else the end.
fn go_on(negotiation: &mut Negotiation, account: BareJid) -> Step {
    let authentication = &mut negotiation.authentication;
    let Some(request) = &mut authentication.request else { return Step::Stay };
    if let Some(hash) = request.upgrades.pop() {
        authentication.progress = Progress::Upgrade { account: account.clone(), hash, is_stored: false };
        return Event::WantsUpgrade { account, hash }.into();
    }
    // An offer that breaks the grammar is answered, and what was asked for besides is done.
    let resume = request.resume.as_ref().and_then(|resume| resume.as_ref().ok());
    let wishes = Wishes {
        account: account.clone(),
        proof: request.proof,
        agent: request.agent.clone(),
        resume: resume.map(|resume| (resume.previd.clone(), resume.h)),
        bind: request.bind.take(),
        token: request.token,
    };
    authentication.progress =
        Progress::Entering { account, is_active: wishes.bind.as_ref().and_then(|bind| bind.is_active) };
    Event::Enter(Box::new(wishes)).into()
}

fn task_name(hash: Hash) -> &'static str {
    match hash {
        Hash::Sha1 => "UPGR-SCRAM-SHA-1",
        Hash::Sha256 => "UPGR-SCRAM-SHA-256",
        Hash::Sha512 => "UPGR-SCRAM-SHA-512",
    }
}

/// Whether keys are wanted, or they have been stored, or neither could be.
pub(super) fn take_upgrade(
    negotiation: &mut Negotiation,
    settings: &Settings,
    outcome: Result<bool, Failure>,
    out: &mut Vec<u8>,
) -> Step {
    let progress = std::mem::take(&mut negotiation.authentication.progress);
    let Progress::Upgrade { account, hash, is_stored } = progress else {
        negotiation.authentication.progress = progress;
        return Step::Stay;
    };
    match outcome {
        Ok(true) if !is_stored => {
            out.extend_from_slice(["<continue xmlns='", ns::SASL2, "'>"].concat().as_bytes());
            write_additional(negotiation, out);
            let task = ["<tasks><task>", task_name(hash), "</task></tasks></continue>"];
            out.extend_from_slice(task.concat().as_bytes());
            negotiation.authentication.progress = Progress::Task { account, hash, salt: None };
            Step::Stay
        }
        Ok(_) => go_on(negotiation, account),
        Err(failure) => authentication::fail(negotiation, settings, failure, out),
    }
}

/// The client takes up the task (XEP-0480 section 3).
fn next(negotiation: &mut Negotiation, _: &Settings, element: &Element, out: &mut Vec<u8>) -> Result<Step, Failure> {
    let progress = std::mem::take(&mut negotiation.authentication.progress);
    let Progress::Task { account, hash, salt: None } = progress else { return Err(Failure::MalformedRequest) };
    if element.attr("task") != Some(task_name(hash)) {
        return Err(Failure::InvalidMechanism);
    }
    let salt: Vec<u8> = negotiation.next_nonce().into_bytes().into_iter().take(SALT_BYTES).collect();
    let text = [
        "<task-data xmlns='",
        ns::SASL2,
        "'><salt xmlns='",
        ns::SCRAM_UPGRADE,
        "' iterations='",
        &ITERATIONS_DEFAULT.to_string(),
        "'>",
        &encode_message(&salt),
        "</salt></task-data>",
    ];
    out.extend_from_slice(text.concat().as_bytes());
    negotiation.authentication.progress = Progress::Task { account, hash, salt: Some(salt) };
    Ok(Step::Stay)
}

fn task_data(negotiation: &mut Negotiation, element: &Element) -> Result<Step, Failure> {
    let progress = std::mem::take(&mut negotiation.authentication.progress);
    let Progress::Task { account, hash, salt: Some(salt) } = progress else { return Err(Failure::MalformedRequest) };
    let salted = element.get_child("hash", ns::SCRAM_UPGRADE).ok_or(Failure::MalformedRequest)?.text();
    let salted = decode_message(salted.trim())?;
    let keys = Keys::of_salted(hash, &salted, &salt, ITERATIONS_DEFAULT).ok_or(Failure::MalformedRequest)?;
    negotiation.authentication.progress = Progress::Upgrade { account: account.clone(), hash, is_stored: true };
    Ok(Event::Upgrade { account, hash, keys: Box::new(keys) }.into())
}

fn write_additional(negotiation: &mut Negotiation, out: &mut Vec<u8>) {
    let request = negotiation.authentication.request.as_mut();
    if let Some(additional) = request.and_then(|request| request.additional.take()) {
        let text = ["<additional-data>", &encode_message(&additional), "</additional-data>"];
        out.extend_from_slice(text.concat().as_bytes());
    }
}

/// All that was asked for has been done, or refused.
pub(super) fn take_entered(
    negotiation: &mut Negotiation,
    settings: &Settings,
    outcome: Result<Entered, Failure>,
    out: &mut Vec<u8>,
) -> Step {
    let progress = std::mem::take(&mut negotiation.authentication.progress);
    let Progress::Entering { account, is_active } = progress else {
        negotiation.authentication.progress = progress;
        return Step::Stay;
    };
    let entered = match outcome {
        Ok(entered) => entered,
        Err(failure) => return authentication::fail(negotiation, settings, failure, out),
    };
    if let Some(Err(ResumeFailed::Impossible(error))) = entered.resumed {
        return Step::Fail(error);
    }
    out.extend_from_slice(["<success xmlns='", ns::SASL2, "'>"].concat().as_bytes());
    write_additional(negotiation, out);
    let Some(request) = negotiation.authentication.request.take() else { return Step::Stay };
    let (resumed, failed) = match entered.resumed {
        Some(Ok(resumed)) => (Some(resumed), None),
        Some(Err(ResumeFailed::Failed { h, error })) => (None, Some((h, error.condition))),
        _ => (None, request.resume.as_ref().and_then(|resume| Some((None, *resume.as_ref().err()?)))),
    };
    let bound = entered.bound.filter(|_| resumed.is_none());
    let jid = match (&resumed, &bound) {
        (Some(resumed), _) => Some(&resumed.jid),
        (None, Some(Ok(bound))) => Some(&bound.jid),
        _ => None,
    };
    out.extend_from_slice(b"<authorization-identifier>");
    escape_text(out, jid.map_or(account.as_str(), FullJid::as_str));
    out.extend_from_slice(b"</authorization-identifier>");
    match (&resumed, &request.resume, failed) {
        (Some(resumed), Some(Ok(asked)), _) => management::render_resumed(out, resumed.acks.h(), &asked.previd),
        (_, _, Some((h, condition))) => management::render_failed(out, h, condition),
        _ => {}
    }
    match &bound {
        Some(Ok(bound)) => render_bound(out, bound),
        Some(Err(error)) => {
            // The specification has no words for it; these are those of its first drafts.
            let condition = error.condition.name();
            let text = ["<failed xmlns='", ns::BIND2, "'><", condition, " xmlns='", ns::STANZA_ERRORS, "'/></failed>"];
            out.extend_from_slice(text.concat().as_bytes());
        }
        None => {}
    }
    if let Some(token) = &entered.token {
        out.extend_from_slice(["<token xmlns='", ns::FAST, "'"].concat().as_bytes());
        write_attr(out, "expiry", &token.expiry);
        write_attr(out, "token", &token.secret);
        out.extend_from_slice(b"/>");
    }
    out.extend_from_slice(b"</success>");
    negotiation.account = Some(account.clone());
    negotiation.is_bound = jid.is_some();
    negotiation.is_managed = resumed.is_some() || matches!(&bound, Some(Ok(bound)) if bound.acks.is_some());
    // Section "Success": what is left to negotiate follows at once.
    feature::advertise_all(negotiation, settings, out);
    match (resumed, bound) {
        (Some(resumed), _) => Step::Resumed(resumed),
        (None, Some(Ok(bound))) => Step::Entered { jid: bound.jid, acks: bound.acks.is_some(), is_active },
        _ => Step::Authenticated { account, restart: false },
    }
}

fn render_bound(out: &mut Vec<u8>, bound: &Bound) {
    out.extend_from_slice(["<bound xmlns='", ns::BIND2, "'>"].concat().as_bytes());
    if let Some(enabled) = &bound.acks {
        management::render_enabled(out, enabled);
    }
    for inside in &bound.inside {
        out.extend_from_slice(inside);
    }
    out.extend_from_slice(b"</bound>");
}
