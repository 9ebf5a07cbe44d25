//! Any body: no panic; what is accepted has canonical lines, and every point is either accepted or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pythond::point::{Point, json};
use pythond_fuzz::{in_nanoseconds, is_canonical, ways};

fuzz_target!(|body: &[u8]| {
    for how in ways() {
        let Ok(decoded) = json::decode(body, &how) else { continue };
        is_canonical(&decoded, &how);
        let mut indexes: Vec<usize> = decoded.points.iter().map(|(index, _)| *index).collect();
        indexes.extend(decoded.refused.iter().map(|refusal| refusal.index));
        indexes.sort_unstable();
        assert!(indexes.iter().copied().eq(0..indexes.len()), "each index once: {indexes:?}");
        let points: Vec<Point> = decoded.points.into_iter().map(|(_, point)| point).collect();
        if !points.is_empty() {
            let echo = json::encode(&points);
            let again = json::decode(&echo, &in_nanoseconds(&how)).expect("the echo is a body");
            assert!(again.refused.is_empty(), "refused: {:?}", again.refused);
        }
    }
});
