#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pgvrrp_fuzz::clients::run(bytes));
