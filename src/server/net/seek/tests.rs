//! Where other servers are found, from scripted names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
