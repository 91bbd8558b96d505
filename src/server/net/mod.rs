//! The door to the street: listeners, TLS, and the one loop every connection runs.

pub mod c2s;
pub mod certificate;
pub mod connection;
mod enter;
mod external;
pub mod listen;
mod negotiate;
pub mod restore;
pub mod resume;
pub mod seek;
pub mod streams;
pub mod tls;
pub mod trace;
pub mod trust;
