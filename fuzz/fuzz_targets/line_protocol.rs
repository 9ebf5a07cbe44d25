//! Any body: no panic; what is accepted has canonical lines.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pythond::point::line;
use pythond_fuzz::{is_canonical, ways};

fuzz_target!(|body: &[u8]| {
    for how in ways() {
        if let Ok(decoded) = line::decode(body, &how) {
            is_canonical(&decoded, &how);
        }
    }
});
