//! The service manager is told that the agent lives, and how things are.

use std::time::Duration;

use crate::telemetry::systemd::ServiceManager;

/// Between two lines for `systemctl status`.
const TELL_STATUS: Duration = Duration::from_secs(10);

/// Tells the service manager that the agent lives, while the loop over the scripts ticks, and how things are.
pub(super) async fn keep_in_touch(manager: ServiceManager, pulse: impl Fn() -> u64, status: impl AsyncFn() -> String) {
    if !manager.is_there() {
        return;
    }
    let pause = manager.watchdog.map_or(TELL_STATUS, |watchdog| (watchdog / 3).min(TELL_STATUS));
    let (mut last, mut told) = (pulse(), None::<tokio::time::Instant>);
    loop {
        tokio::time::sleep(pause).await;
        let now = pulse();
        if std::mem::replace(&mut last, now) != now {
            manager.alive();
        } else {
            tracing::error!(target: "agent", "the supervisor's loop stands still; the service manager's watchdog is not fed");
            continue;
        }
        if told.is_none_or(|told| told.elapsed() >= TELL_STATUS) {
            told = Some(tokio::time::Instant::now());
            // It looks at the disk, which may hang; the watchdog is not about that.
            if let Ok(text) = tokio::time::timeout(pause / 2, status()).await {
                manager.status(&text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn manager_and_its_ear() -> (ServiceManager, UnixDatagram) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let listening = UnixDatagram::bind(&path).unwrap();
        listening.set_nonblocking(true).unwrap();
        (ServiceManager::connect(path.as_os_str(), Some(Duration::from_secs(30))).unwrap(), listening)
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_held_off_only_while_the_loop_ticks() {
        let (manager, listening) = manager_and_its_ear();
        let heard = || {
            let mut buffer = [0; 256];
            std::iter::from_fn(|| listening.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec()))
                .filter(|word| word == b"WATCHDOG=1")
                .count()
        };
        let pulse = Arc::new(AtomicU64::new(0));
        let ticks = Arc::clone(&pulse);
        let touch =
            tokio::spawn(keep_in_touch(manager, move || ticks.load(Ordering::Relaxed), async || "well".to_owned()));
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            pulse.fetch_add(1, Ordering::Relaxed);
        }
        assert_eq!(heard(), 5, "three times in each 30 s, the sixth is due now");
        tokio::time::sleep(Duration::from_secs(15)).await;
        heard();
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert_eq!(heard(), 0, "the loop stands still");
        pulse.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(heard(), 1);
        touch.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_that_cannot_be_had_holds_the_watchdog_off_all_the_same() {
        let (manager, listening) = manager_and_its_ear();
        let pulse = AtomicU64::new(0);
        let touch = tokio::spawn(keep_in_touch(
            manager,
            move || pulse.fetch_add(1, Ordering::Relaxed),
            async || std::future::pending().await,
        ));
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(30)).await;
            let words = std::iter::from_fn(|| listening.recv(&mut [0; 256]).ok()).count();
            assert!(words >= 2, "{words} words in 30 s");
        }
        touch.abort();
    }
}
