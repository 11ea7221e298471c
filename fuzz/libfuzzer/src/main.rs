//! One program for all targets; `FUZZ_TARGET` names the one to run. libFuzzer brings its own main and its own options.
#![no_main]

use std::sync::LazyLock;

static CHECK: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    match fuzz::target(&name) {
        Some(target) => target.check,
        None => panic!("FUZZ_TARGET names no target: {name:?}"),
    }
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| (*CHECK)(input));
