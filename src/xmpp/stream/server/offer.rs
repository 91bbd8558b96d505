//! What a responder offers: written on its side, read on the initiator's (RFC 6120 section 4.3.2).

use std::time::Duration;

use super::event::{Offered, PeerLimits};
use super::{Stream, empty};
use crate::stream::Tls;
use crate::{Element, ns};

impl Stream {
    /// Sends the features that are there at this point of the stream.
    pub(super) fn send_features(&mut self) {
        let settings = &*self.settings;
        let needs_tls = self.needs_tls();
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(b"<stream:features>");
        match settings.tls {
            _ if self.tls.is_some() || self.is_trusted() => {}
            Tls::Required => {
                out.extend_from_slice(["<starttls xmlns='", ns::TLS, "'><required/></starttls>"].concat().as_bytes());
            }
            Tls::Optional => empty(&mut out, "starttls", ns::TLS),
            Tls::Unavailable => {}
        }
        if !needs_tls {
            if self.permitted.external && !self.is_trusted() {
                let parts = ["<mechanisms xmlns='", ns::SASL, "'><mechanism>EXTERNAL</mechanism></mechanisms>"];
                out.extend_from_slice(parts.concat().as_bytes());
            }
            if self.permitted.dialback {
                let parts = ["<dialback xmlns='", ns::DIALBACK_FEATURE, "'><errors/></dialback>"];
                out.extend_from_slice(parts.concat().as_bytes());
            }
            if settings.bidi && !self.pairs.is_bidi && !self.is_trusted() {
                empty(&mut out, "bidi", ns::BIDI_FEATURE);
            }
            // No other features follow those that dialback answers, so what comes after it is offered with it.
            if settings.acks && (self.is_trusted() || self.permitted.dialback) {
                empty(&mut out, "sm", ns::ACKS);
            }
            self.write_limits(&mut out);
            for feature in &settings.features {
                out.extend_from_slice(feature);
            }
        }
        out.extend_from_slice(b"</stream:features>");
        self.line.out.append(&mut out);
    }

    /// What we bear, once the peer is no stranger (XEP-0478).
    pub(super) fn write_limits(&self, out: &mut Vec<u8>) {
        let bytes = self.settings.limits.stanza_bytes_max;
        let text = format!("<limits xmlns='{}'><max-bytes>{bytes}</max-bytes>", ns::STREAM_LIMITS);
        out.extend_from_slice(text.as_bytes());
        if let Some(idle) = self.settings.idle_time_max {
            out.extend_from_slice(format!("<idle-seconds>{}</idle-seconds>", idle.as_secs()).as_bytes());
        }
        out.extend_from_slice(b"</limits>");
    }
}

impl Offered {
    /// Reads `<stream:features/>`. What is not known is not offered; what is offered twice is offered.
    pub(super) fn parse(features: &Element) -> Self {
        let has = |name: &str, ns: &str| features.has_child(name, ns);
        let mechanisms = features.get_child("mechanisms", ns::SASL);
        let dialback = features.get_child("dialback", ns::DIALBACK_FEATURE);
        Self {
            tls: has("starttls", ns::TLS),
            external: mechanisms.is_some_and(|list| {
                list.children().any(|child| child.is("mechanism", ns::SASL) && child.text().trim() == "EXTERNAL")
            }),
            dialback: dialback.is_some(),
            dialback_errors: dialback.is_some_and(|dialback| dialback.has_child("errors", ns::DIALBACK_FEATURE)),
            bidi: has("bidi", ns::BIDI_FEATURE),
            acks: has("sm", ns::ACKS),
            limits: PeerLimits::parse(features),
        }
    }
}

impl PeerLimits {
    /// Reads the `<limits/>` in an element; what makes no sense is not said.
    pub(super) fn parse(parent: &Element) -> Self {
        let Some(limits) = parent.get_child("limits", ns::STREAM_LIMITS) else { return Self::default() };
        let number = |name: &str| limits.get_child(name, ns::STREAM_LIMITS)?.text().trim().parse::<u64>().ok();
        Self {
            stanza_bytes_max: number("max-bytes").and_then(|bytes| usize::try_from(bytes).ok()),
            idle_time_max: number("idle-seconds").map(Duration::from_secs),
        }
    }
}
