//! Hands what the fuzzer makes up to the stream target of the library beside this file; see fuzz/README.md for how to run it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chirrup_fuzz::stream(data));
