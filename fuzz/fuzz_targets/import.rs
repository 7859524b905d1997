#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pgvrrp_fuzz::import::run(bytes));
