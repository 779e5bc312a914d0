#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| evb_tests::targets::run("core_extender", octets));
