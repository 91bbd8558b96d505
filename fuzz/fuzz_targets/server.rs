//! The target `server`; see `server.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chirrup_fuzz::server(data));
