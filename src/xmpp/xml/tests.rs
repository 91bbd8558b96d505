//! The reader against the rules, and against rxml.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
