//! The `chirrup` command: reads its arguments and hands over to `commands`.
//!
//! Exit codes: 0 done; 1 not done, and standard error says why; 2 the command line is wrong.
#![forbid(unsafe_code)]

mod commands;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    commands::run()
}
