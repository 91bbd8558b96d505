//! The target `sasl`; see `conversation.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chirrup_fuzz::sasl(data));
