//! Any text: no panic; either settings or faults, and each fault can be shown.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pythond::config::{self, Surroundings};

static ROOT: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let root = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    std::fs::create_dir(root.path().join("conf.d")).unwrap();
    root
});

fuzz_target!(|text: &[u8]| {
    let root = ROOT.path();
    std::fs::write(root.join("conf.d/any.conf"), text).unwrap();
    let around = Surroundings {
        env: [("HOME".to_owned(), "/root".to_owned()), ("NAME".to_owned(), "a b".to_owned())].into(),
        hostname: "host".to_owned(),
    };
    let shown = match config::read(root, &around) {
        Ok(config) => config.warnings,
        Err(error) => {
            assert!(!error.faults.is_empty(), "a refusal without a fault");
            error.faults.into_iter().chain(error.warnings).collect()
        }
    };
    for diagnostic in shown {
        assert!(!diagnostic.render(root, true).is_empty());
    }
});
