//! What a component's stream is told when it is accepted.

use std::time::Duration;

use crate::limits::Limits;
use crate::sasl::plain::Password;

/// A component that may connect.
#[derive(Clone, Debug)]
pub struct Component {
    /// Its domain, prepared.
    pub domain: Box<str>,
    /// The secret it shares with us. Never printed.
    pub secret: Password,
}

/// What all streams of a listener for components have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may connect.
    pub components: Vec<Component>,
    /// Bounds on XML before the handshake.
    pub limits_unauthenticated: Limits,
    /// Bounds on XML afterwards.
    pub limits: Limits,
    /// Bytes that may be sent before the handshake is done, in all.
    pub unauthenticated_bytes_max: usize,
    /// Time from the first byte to the handshake. Time is the caller's; see `Stream::poll_timeout`.
    pub negotiation_time_max: Duration,
}

impl Settings {
    /// Settings with the usual bounds.
    #[must_use]
    pub fn new(components: Vec<Component>) -> Self {
        Self {
            components,
            limits_unauthenticated: Limits::unauthenticated(),
            limits: Limits::server(),
            unauthenticated_bytes_max: 16 * 1024,
            negotiation_time_max: Duration::from_secs(30),
        }
    }
}
