//! The `chirrup` command.
#![forbid(unsafe_code)]

fn main() {}
