//! The one test binary for the whole house: plays, and later everything else that needs a server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, reason = "tests")]
#![allow(unreachable_pub, reason = "modules of a test binary")]

mod certificates;
mod commands;
mod idle;
mod logins;
mod peers;
mod plays;
mod refusals;
mod simulation;
mod stage;
mod tidy;
