//! What to do when the log is as large as it may be: decided here, done by the committer.

/// Sizes that follow from `max_size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub segment: u64,
    pub record: u64,
}

/// 64 MiB segments, 16 MiB under a small cap, and never so large that fewer than four fit.
pub(super) fn sizes(max_size: u64) -> Sizes {
    let usual = if max_size < 256 << 20 { 16 << 20 } else { 64 << 20 };
    let quarter = max_size / 4;
    let overhead = super::frame::SEGMENT_HEADER + super::frame::FRAME_HEADER;
    Sizes { segment: quarter.min(usual), record: quarter.saturating_sub(overhead).min(super::frame::MAX_RECORD) }
}

/// Records up to this size are small.
pub(super) const SMALL_RECORD: u64 = 256 << 10;

/// What a record needs: itself, and for a larger one as much again as is kept for the small ones. So whoever sends much is the first to
/// be refused, and the short reports of others still find room.
pub(super) fn need(frame_len: u64, max_size: u64) -> u64 {
    let kept_for_small = if frame_len > SMALL_RECORD { max_size / 32 } else { 0 };
    frame_len + kept_for_small
}

/// Who holds a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Required,
    Optional,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CapRoom {
    Enough,
    /// The oldest segment must go; whoever holds it is moved over it.
    TakeOldest,
    Full,
}

/// Says how to get room for `need` bytes. `holders` are those of the oldest segment; `None` when there is no segment that may go.
pub(super) fn room(used: u64, need: u64, max: u64, holders: Option<&[Holder]>, drop_oldest: bool) -> CapRoom {
    if used.saturating_add(need) <= max {
        return CapRoom::Enough;
    }
    match holders {
        None => CapRoom::Full,
        Some(holders) if drop_oldest || !holders.contains(&Holder::Required) => CapRoom::TakeOldest,
        Some(_) => CapRoom::Full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_four_segments_fit_and_a_record_fits_a_quarter() {
        for max in [0, 100, 4096, 1 << 20, 100 << 20, 256 << 20, 10 << 30] {
            let sizes = sizes(max);
            assert!(sizes.segment * 4 <= max, "{max}");
            assert!(sizes.record <= max / 4, "{max}");
        }
        assert_eq!(sizes(2 << 30).segment, 64 << 20);
        assert_eq!(sizes(200 << 20).segment, 16 << 20);
    }

    #[test]
    fn only_a_required_holder_makes_the_log_full() {
        assert_eq!(room(90, 10, 100, Some(&[Holder::Required]), false), CapRoom::Enough);
        assert_eq!(room(91, 10, 100, Some(&[]), false), CapRoom::TakeOldest);
        assert_eq!(room(91, 10, 100, Some(&[Holder::Optional]), false), CapRoom::TakeOldest);
        assert_eq!(room(91, 10, 100, Some(&[Holder::Optional, Holder::Required]), false), CapRoom::Full);
        assert_eq!(room(91, 10, 100, Some(&[Holder::Required]), true), CapRoom::TakeOldest);
        assert_eq!(room(91, 10, 100, None, true), CapRoom::Full);
    }
}
