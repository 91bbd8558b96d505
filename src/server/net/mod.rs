//! The door to the street: listeners, TLS, and the one loop every connection runs.

pub mod certificate;
pub mod listen;
pub mod tls;
