//! The runtime of the commands that only wait for one thing.

/// A runtime of one thread.
pub(super) fn small_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs only an epoll descriptor")
}
