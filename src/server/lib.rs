//! The house itself: sockets, sessions, routing and the extensions. The only room with a clock and a door to the street.
#![forbid(unsafe_code)]

pub mod check;
pub mod components;
pub mod config;
pub mod control;
pub mod extension;
pub mod extensions;
pub mod fanout;
pub mod house;
pub mod net;
pub mod notify;
pub mod router;
pub mod runtime;
pub mod s2s;
pub mod session;
pub mod tables;
