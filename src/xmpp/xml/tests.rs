//! The reader against tables of the rules, against rxml (`oracle`), and against itself in pieces.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod framing;
pub(crate) mod generated;
mod oracle;
mod rules;
