//! Stream features as values (RFC 6120 section 4.3.2): when each is offered, how it is advertised, which
//! elements it claims, and what it does with them. A new feature is a new line here; its neighbours do not
//! change.

use super::negotiation::Negotiation;
use super::{Condition, Settings, Step, Tls, authentication, binding, management, sasl2};
use crate::{Element, ns};

/// Whether a feature is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not at this point of this stream.
    Prohibited,
    /// May be negotiated.
    Voluntary,
    /// Must be negotiated before anything else happens.
    Necessary,
}

/// One feature.
pub(super) struct Feature {
    /// Whether it is there.
    pub(super) state: fn(&Negotiation, &Settings) -> State,
    /// Appends its advertisement.
    pub(super) advertise: fn(&Negotiation, &Settings, &mut Vec<u8>),
    /// Whether an element is for this feature, be it there or not.
    pub(super) claims: fn(&Element) -> bool,
    /// Takes such an element.
    pub(super) take: fn(&mut Negotiation, &Settings, &Element, &mut Vec<u8>) -> Step,
}

/// Every feature, in the order of advertisement.
pub(super) static FEATURES: &[Feature] = &[
    Feature { state: tls_state, advertise: advertise_tls, claims: |element| element.has_ns(ns::TLS), take: take_tls },
    Feature {
        state: authentication::state,
        advertise: authentication::advertise,
        claims: |element| element.has_ns(ns::SASL),
        take: authentication::take,
    },
    Feature {
        state: sasl2::state,
        advertise: sasl2::advertise,
        claims: |element| element.has_ns(ns::SASL2),
        take: sasl2::take,
    },
    Feature {
        state: registration_state,
        advertise: advertise_registration,
        claims: |element| {
            let is_shown = || element.has_child("preauth", ns::PRE_AUTHENTICATED);
            element.is("iq", ns::CLIENT) && (element.has_child("query", ns::REGISTER) || is_shown())
        },
        take: take_registration,
    },
    Feature {
        state: binding::state,
        advertise: |_, _, out| empty(out, "bind", ns::BIND),
        claims: |element| element.is("iq", ns::CLIENT) && element.has_child("bind", ns::BIND),
        take: binding::take,
    },
    Feature {
        state: management::state,
        advertise: |_, _, out| empty(out, "sm", ns::ACKS),
        claims: |element| element.has_ns(ns::ACKS),
        take: management::take,
    },
    Feature {
        state: client_states_state,
        advertise: |_, _, out| empty(out, "csi", ns::CLIENT_STATES),
        claims: |element| element.has_ns(ns::CLIENT_STATES),
        take: take_client_state,
    },
    Feature { state: limits_state, advertise: advertise_limits, claims: |_| false, take: |_, _, _, _| Step::Stay },
    Feature { state: session_state, advertise: advertise_session, claims: |_| false, take: |_, _, _, _| Step::Stay },
    Feature { state: more_state, advertise: advertise_more, claims: |_| false, take: |_, _, _, _| Step::Stay },
];

/// Appends all that is to be negotiated now.
pub(super) fn advertise_all(negotiation: &mut Negotiation, settings: &Settings, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<stream:features>");
    let begin = out.len();
    for feature in FEATURES {
        if (feature.state)(negotiation, settings) != State::Prohibited {
            (feature.advertise)(negotiation, settings, out);
        }
    }
    if sasl2::state(negotiation, settings) != State::Prohibited {
        let mut version = Vec::new();
        sasl2::advertise_version(negotiation, out.get(begin..).unwrap_or_default(), &mut version);
        out.append(&mut version);
    }
    out.extend_from_slice(b"</stream:features>");
}

/// Appends an empty element.
pub(super) fn empty(out: &mut Vec<u8>, name: &str, ns: &str) {
    out.extend_from_slice(["<", name, " xmlns='", ns, "'/>"].concat().as_bytes());
}

/// STARTTLS (section 5): while the channel is in the clear and TLS is to be had.
pub(super) fn tls_state(negotiation: &Negotiation, settings: &Settings) -> State {
    match settings.tls {
        _ if negotiation.tls.is_some() || negotiation.account.is_some() => State::Prohibited,
        Tls::Required => State::Necessary,
        Tls::Optional => State::Voluntary,
        Tls::Unavailable => State::Prohibited,
    }
}

fn advertise_tls(negotiation: &Negotiation, settings: &Settings, out: &mut Vec<u8>) {
    if tls_state(negotiation, settings) == State::Necessary {
        let required = ["<starttls xmlns='", ns::TLS, "'><required/></starttls>"].concat();
        out.extend_from_slice(required.as_bytes());
    } else {
        empty(out, "starttls", ns::TLS);
    }
}

fn take_tls(negotiation: &mut Negotiation, settings: &Settings, element: &Element, out: &mut Vec<u8>) -> Step {
    // Section 5.3.4: not in the middle of an authentication either.
    let is_possible = tls_state(negotiation, settings) != State::Prohibited && !negotiation.authentication.is_begun();
    if element.name() == "starttls" && is_possible {
        return negotiation.begin_tls();
    }
    // Section 5.4.2.2.
    empty(out, "failure", ns::TLS);
    Step::Close(None)
}

/// In-band registration (XEP-0077 section 4): when permitted, and not before TLS where that is required.
fn registration_state(negotiation: &Negotiation, settings: &Settings) -> State {
    let is_offered =
        settings.registration && negotiation.account.is_none() && tls_state(negotiation, settings) != State::Necessary;
    if is_offered { State::Voluntary } else { State::Prohibited }
}

fn advertise_registration(_: &Negotiation, settings: &Settings, out: &mut Vec<u8>) {
    if settings.invitations {
        empty(out, "register", ns::PRE_AUTHENTICATED_FEATURE);
    }
    empty(out, "register", ns::REGISTER_FEATURE);
}

fn take_registration(negotiation: &mut Negotiation, settings: &Settings, _: &Element, _: &mut Vec<u8>) -> Step {
    if registration_state(negotiation, settings) == State::Prohibited {
        return Step::Fail(Condition::NotAuthorized.into());
    }
    match negotiation.registrations_left.checked_sub(1) {
        Some(left) => {
            negotiation.registrations_left = left;
            Step::Register
        }
        None => Step::Fail(Condition::PolicyViolation.into()),
    }
}

/// Client state indication (XEP-0352): offered beside resource binding.
fn client_states_state(negotiation: &Negotiation, settings: &Settings) -> State {
    if settings.client_states && negotiation.account.is_some() { State::Voluntary } else { State::Prohibited }
}

/// Every stream begins active, and there is no session yet that could be otherwise: what is said too early is nothing
/// to remember.
fn take_client_state(negotiation: &mut Negotiation, settings: &Settings, _: &Element, _: &mut Vec<u8>) -> Step {
    match client_states_state(negotiation, settings) {
        State::Prohibited => Step::Fail(Condition::UnsupportedStanzaType.into()),
        _ => Step::Stay,
    }
}

/// The bounds on what may be sent (XEP-0478): other ones before authentication.
fn limits_state(_: &Negotiation, settings: &Settings) -> State {
    if settings.tells_limits { State::Voluntary } else { State::Prohibited }
}

fn advertise_limits(negotiation: &Negotiation, settings: &Settings, out: &mut Vec<u8>) {
    let bytes = negotiation.limits(settings).stanza_bytes_max.to_string();
    let idle = settings.idle_seconds.filter(|_| negotiation.account.is_some());
    let idle = idle.map(|idle| format!("<idle-seconds>{idle}</idle-seconds>")).unwrap_or_default();
    let text = ["<limits xmlns='", ns::STREAM_LIMITS, "'><max-bytes>", &bytes, "</max-bytes>", &idle, "</limits>"];
    out.extend_from_slice(text.concat().as_bytes());
}

/// Offered beside resource binding.
fn session_state(negotiation: &Negotiation, _: &Settings) -> State {
    if negotiation.account.is_some() && !negotiation.is_bound { State::Voluntary } else { State::Prohibited }
}

fn more_state(negotiation: &Negotiation, _: &Settings) -> State {
    if negotiation.account.is_some() { State::Voluntary } else { State::Prohibited }
}

/// Session establishment (RFC 3921 section 3), marked as optional for those who know that it is.
fn advertise_session(_: &Negotiation, _: &Settings, out: &mut Vec<u8>) {
    let session = ["<session xmlns='", ns::SESSION, "'><optional/></session>"].concat();
    out.extend_from_slice(session.as_bytes());
}

fn advertise_more(_: &Negotiation, settings: &Settings, out: &mut Vec<u8>) {
    for feature in &settings.features {
        out.extend_from_slice(feature);
    }
}
