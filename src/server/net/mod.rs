//! The street side: listeners, TLS, and the loop that serves one connection.

pub mod certificate;
pub mod tls;
