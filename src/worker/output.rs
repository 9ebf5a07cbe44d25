//! Drains what a script prints, always: a full pipe would stop the script. Lines beyond the limits are counted, not kept.

use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::time::Instant;

use super::scratch;

/// Bytes of a line that are kept.
const LINE_BYTES: usize = 8 * 1024;
const LINES_PER_SECOND: f64 = 200.0;
const LINE_BURST: f64 = 2000.0;
const BYTES_PER_SECOND: f64 = 1_048_576.0;
const BYTE_BURST: f64 = 4.0 * 1_048_576.0;
/// Drops are told at most this often.
const TELL: Duration = Duration::from_secs(10);

/// Something to write to the log.
#[derive(Debug, PartialEq, Eq)]
pub enum OutputEvent<'a> {
    Line(&'a str),
    /// So many more lines are over the limit; said at once, for the counters.
    Over(u64),
    /// So many lines were over the limit since this was said last, for the log; at most every ten seconds.
    Dropped(u64),
}

/// Reads until the end, calling `say` for each line within the limits.
pub async fn drain(mut pipe: impl AsyncRead + Unpin, mut say: impl FnMut(OutputEvent<'_>)) {
    let mut lines = OutputLimits::new(Instant::now());
    loop {
        let tells_at = lines.tells_at();
        let read = scratch::read(&mut pipe, |bytes| {
            lines.take(bytes, Instant::now(), &mut say);
            bytes.len()
        });
        let read = match tells_at {
            // A flood that was followed by silence is told too.
            Some(at) => tokio::time::timeout_at(at, read).await,
            None => Ok(read.await),
        };
        match read {
            Ok(Ok(1..)) => {}
            Ok(Ok(_) | Err(_)) => break,
            Err(_elapsed) => lines.tell(Instant::now(), &mut say),
        }
    }
    lines.end(Instant::now(), &mut say);
}

/// The limits, as a pure state over the bytes and the clock.
struct OutputLimits {
    line: Vec<u8>,
    cut: bool,
    line_credit: f64,
    byte_credit: f64,
    refilled: Instant,
    dropped: u64,
    told: Option<Instant>,
}

impl OutputLimits {
    fn new(now: Instant) -> Self {
        Self {
            line: Vec::new(),
            cut: false,
            line_credit: LINE_BURST,
            byte_credit: BYTE_BURST,
            refilled: now,
            dropped: 0,
            told: None,
        }
    }

    fn take(&mut self, bytes: &[u8], now: Instant, say: &mut impl FnMut(OutputEvent<'_>)) {
        self.refill(now);
        let before = self.dropped;
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.extend(&rest[..end]);
            self.finish(say);
            rest = &rest[end + 1..];
        }
        self.extend(rest);
        if self.dropped > before {
            say(OutputEvent::Over(self.dropped - before));
        }
        self.tell(now, say);
    }

    fn end(&mut self, now: Instant, say: &mut impl FnMut(OutputEvent<'_>)) {
        if !self.line.is_empty() {
            self.finish(say);
        }
        self.told = None;
        self.tell(now, say);
    }

    fn refill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = now;
        self.line_credit = (self.line_credit + seconds * LINES_PER_SECOND).min(LINE_BURST);
        self.byte_credit = (self.byte_credit + seconds * BYTES_PER_SECOND).min(BYTE_BURST);
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES - self.line.len();
        self.cut |= bytes.len() > room;
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn finish(&mut self, say: &mut impl FnMut(OutputEvent<'_>)) {
        let size = self.line.len() as f64 + 1.0;
        if self.line_credit < 1.0 || self.byte_credit < size {
            self.dropped += 1;
        } else {
            self.line_credit -= 1.0;
            self.byte_credit -= size;
            let text = String::from_utf8_lossy(&self.line);
            let text = text.strip_suffix('\r').unwrap_or(&text);
            if self.cut {
                say(OutputEvent::Line(&format!("{text} … (cut at {LINE_BYTES} bytes)")));
            } else {
                say(OutputEvent::Line(text));
            }
        }
        self.line.clear();
        self.cut = false;
    }

    /// When the drops that are not told yet may be.
    fn tells_at(&self) -> Option<Instant> {
        self.told.filter(|_| self.dropped > 0).map(|told| told + TELL)
    }

    fn tell(&mut self, now: Instant, say: &mut impl FnMut(OutputEvent<'_>)) {
        if self.dropped > 0 && self.told.is_none_or(|told| now.saturating_duration_since(told) >= TELL) {
            say(OutputEvent::Dropped(std::mem::take(&mut self.dropped)));
            self.told = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(parts: &[&[u8]]) -> (Vec<String>, u64) {
        let now = Instant::now();
        let mut lines = OutputLimits::new(now);
        let (mut kept, mut dropped, mut over) = (Vec::new(), 0, 0);
        let mut say = |said: OutputEvent<'_>| match said {
            OutputEvent::Line(text) => kept.push(text.to_owned()),
            OutputEvent::Over(count) => over += count,
            OutputEvent::Dropped(count) => dropped += count,
        };
        for part in parts {
            lines.take(part, now, &mut say);
        }
        lines.end(now, &mut say);
        assert_eq!(over, dropped, "every drop is counted once and told once");
        (kept, dropped)
    }

    #[test]
    fn lines_come_whole_however_they_arrive() {
        assert_eq!(said(&[b"a", b"b\nc\r\n\n", b"rest"]).0, ["ab", "c", "", "rest"]);
        assert_eq!(said(&[b"\xff\xfe\n"]).0, ["\u{fffd}\u{fffd}"]);
    }

    #[test]
    fn a_line_without_an_end_costs_no_more_than_its_limit() {
        let mut lines = OutputLimits::new(Instant::now());
        for _ in 0..100 {
            lines.take(&[b'x'; 64 * 1024], Instant::now(), &mut |_| {});
        }
        assert_eq!(lines.line.len(), LINE_BYTES);
        let (kept, dropped) = said(&[&[b'x'; 100_000], b"\n"]);
        assert!(kept[0].ends_with("(cut at 8192 bytes)") && dropped == 0);
    }

    #[test]
    fn a_flood_is_cut_to_the_burst_and_counted() {
        let flood = b"line\n".repeat(10_000);
        let (kept, dropped) = said(&[&flood]);
        assert_eq!((kept.len() as f64, dropped), (LINE_BURST, 8000));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_dropped_last_is_told_though_nothing_more_is_said() {
        let (reader, mut writer) = tokio::io::duplex(1 << 20);
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let draining = tokio::spawn(async move {
            drain(reader, |said| {
                if let OutputEvent::Dropped(count) = said {
                    told.send(count).unwrap();
                }
            })
            .await;
        });
        tokio::io::AsyncWriteExt::write_all(&mut writer, &b"line\n".repeat(100_000)).await.unwrap();
        let mut dropped = 0;
        while dropped < 98_000 {
            let told = tokio::time::timeout(2 * TELL, heard.recv()).await;
            dropped += told.expect("it is told in time").unwrap();
        }
        assert_eq!(dropped, 98_000);
        drop(writer);
        draining.await.unwrap();
    }

    #[test]
    fn credit_comes_back_with_time_and_drops_are_told_once_in_ten_seconds() {
        let start = Instant::now();
        let mut lines = OutputLimits::new(start);
        let mut tellings = 0;
        let mut kept = 0;
        for second in 0..20 {
            lines.take(&b"line\n".repeat(5000), start + Duration::from_secs(second), &mut |said| match said {
                OutputEvent::Line(_) => kept += 1,
                OutputEvent::Dropped(_) => tellings += 1,
                OutputEvent::Over(_) => {}
            });
        }
        assert_eq!((kept, tellings), (2000 + 19 * 200, 2));
    }
}
