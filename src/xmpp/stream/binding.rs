//! The resource binding feature (RFC 6120 section 7).

use super::feature::State;
use super::negotiation::Negotiation;
use super::{Condition, Event, Settings, Step, StreamError};
use crate::stanza::StanzaError;
use crate::xml::{escape_text, write_attr};
use crate::{Element, FullJid, ns};

/// How far the binding is.
#[derive(Debug, Default)]
pub(super) struct Binding {
    failures: u8,
    /// The identifier of the request that waits for its answer.
    request: Option<Box<str>>,
}

impl Binding {
    pub(super) const fn is_waiting(&self) -> bool {
        self.request.is_some()
    }
}

/// Necessary after authentication, and prohibited before.
pub(super) fn state(negotiation: &Negotiation, _: &Settings) -> State {
    if negotiation.account.is_some() && !negotiation.is_bound { State::Necessary } else { State::Prohibited }
}

/// Takes an IQ with a `<bind/>` in it.
pub(super) fn take(negotiation: &mut Negotiation, settings: &Settings, element: &Element, out: &mut Vec<u8>) -> Step {
    let Some(account) = &negotiation.account else { return Step::Fail(Condition::NotAuthorized.into()) };
    let id = element.attr("id").unwrap_or_default();
    let bind = element.get_child("bind", ns::BIND);
    let (Some("set"), Some(bind), false, 1) = (element.attr("type"), bind, id.is_empty(), element.children().count())
    else {
        return refuse(negotiation, settings, id, &StanzaError::bad_request(), out);
    };
    // An empty resource is none (section 7.7.2.1 lets us make do with what cannot be used).
    let wanted = bind.get_child("resource", ns::BIND).map(Element::text).filter(|wanted| !wanted.is_empty());
    let resource = match wanted.map(|wanted| account.with_resource(&wanted)).transpose() {
        Ok(resource) => resource.map(|jid| jid.resource().to_owned()),
        Err(_) => return refuse(negotiation, settings, id, &StanzaError::bad_request(), out),
    };
    negotiation.binding.request = Some(id.into());
    Event::Bind { resource }.into()
}

/// The resource has been chosen, or refused.
pub(super) fn take_outcome(
    negotiation: &mut Negotiation,
    settings: &Settings,
    outcome: Result<FullJid, StanzaError>,
    out: &mut Vec<u8>,
) -> Step {
    let Some(id) = negotiation.binding.request.take() else { return Step::Stay };
    match outcome {
        Ok(jid) => {
            out.extend_from_slice(b"<iq type='result'");
            write_attr(out, "id", &id);
            out.extend_from_slice(["><bind xmlns='", ns::BIND, "'><jid>"].concat().as_bytes());
            escape_text(out, jid.as_str());
            out.extend_from_slice(b"</jid></bind></iq>");
            Step::Bound(jid)
        }
        Err(error) => refuse(negotiation, settings, &id, &error, out),
    }
}

fn refuse(
    negotiation: &mut Negotiation,
    settings: &Settings,
    id: &str,
    error: &StanzaError,
    out: &mut Vec<u8>,
) -> Step {
    out.extend_from_slice(b"<iq type='error'");
    if !id.is_empty() {
        write_attr(out, "id", id);
    }
    out.push(b'>');
    error.render_into(out);
    out.extend_from_slice(b"</iq>");
    // Section 7.7.3.
    let binding = &mut negotiation.binding;
    binding.failures = binding.failures.saturating_add(1);
    if binding.failures >= settings.bindings_max {
        let text = "too many failed attempts to bind a resource";
        return Step::Fail(StreamError::new(Condition::PolicyViolation).with_text(text));
    }
    Step::Stay
}
