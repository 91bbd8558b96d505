//! The language: XMPP from bytes to meaning and back.
//!
//! Read in this order: [`jid`] (who), [`xml`] (how it is written), [`stanza`] (what is said),
//! [`sasl`] and [`stream`] (how a conversation starts), [`form`] and [`paging`] (tools many protocols share).
//!
//! Nothing here knows a socket, a clock, a disk or a random number: those are handed in by the server,
//! so that every byte of a conversation can be replayed in a test.
#![forbid(unsafe_code)]

pub mod datetime;
pub mod form;
pub mod jid;
pub mod limits;
pub mod ns;
pub mod paging;
pub mod sasl;
pub mod stanza;
pub mod stream;
pub mod xml;

pub use jid::{BareJid, FullJid, Jid, JidError};
pub use stanza::{Stanza, StanzaError};
pub use xml::Element;

/// How long property tests go on: `count` cases, or as many as the environment variable `PROPTEST_CASES` says.
#[cfg(test)]
pub(crate) fn cases(count: u32) -> proptest::test_runner::Config {
    let default = proptest::test_runner::Config { failure_persistence: None, ..Default::default() };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { count };
    proptest::test_runner::Config { cases, ..default }
}
