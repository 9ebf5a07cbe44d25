//! TLS of whoever speaks with a server: the cryptography is that of `ring`, for all of them.

use std::sync::Once;

/// Gives rustls its cryptography, which it takes from the process; the first one installed stays.
pub fn install_ring() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
