//! The durable log between ingest and sinks: one shared segmented append log, one cursor per sink.
//!
//! # Why a log of our own
//!
//! Every point that a script was told is kept must survive `kill -9`, a full disk and a flipped byte, and reach several sinks at
//! their own pace. Of the embedded stores that were tried none stays usable at a full disk and notices a flipped byte; none offers an
//! append log with several cursors. A plain log does both with little code, because it never changes what it has written.
//!
//! # Layout
//!
//! ```text
//! <dir>/lock                              flock against a second process
//! <dir>/log/00000000000000000001.log      segments, named by the number of their first record
//! <dir>/cursors/<sink>                    one line of text: how far the sink is
//! <dir>/set_aside/…                       what was found damaged, never deleted by us
//! ```
//!
//! A record is one frame (see [`frame`]) and has a number, its *seq*. Numbers only grow, also across the loss of all segments, so the
//! order never depends on a clock. A cursor names a record, never a file: files come and go under it. A segment ends where the next
//! begins: frames in it with numbers of the next segment are left-overs that count for nothing.
//!
//! # Writing
//!
//! `append` puts the record into a bounded queue; one committer thread takes all that waits (4 MiB at most), writes it at once, syncs
//! once and then wakes the waiters. Nothing is visible to a cursor before that.
//!
//! - A write that fails (no space, read-only, I/O error) is undone by truncating, the waiters get [`AppendError::Disk`], the next
//!   append tries again. When even the truncation fails the file is left as it is and a new segment begun.
//! - A sync that fails is never repeated: the kernel may have dropped the pages and report success the next time. What is not known
//!   to be durable is written once more into a new segment; when that fails too the log is poisoned. It then takes nothing but tries
//!   a new segment again with an append every few seconds.
//! - A sync of a file that has grown makes the file system write its new size as well, in most cases by a commit of its journal. So the
//!   segment is filled with zeros some way ahead, and most commits write over them. The zeros are cut off when the segment ends; after
//!   a crash the recovery does it.
//! - Who shared the last commit has the answer now and will soon come again: the committer waits for them, at most half as long as that
//!   commit took, so that one sync serves all instead of one the first and one the rest.
//! - A new segment's name is made durable before its first record is acknowledged, and the old segment is synced before that.
//!
//! # Reading and letting go
//!
//! A cursor reads from its confirmed place on; what is confirmed is written to its file by rename and synced within a second, so that
//! after a power cut a sink sees some records again and misses none. A segment goes once every registered cursor has passed it. At
//! the cap (`max_size`) the oldest segment is taken from the cursors that are not required, or from all with `drop_oldest_at_cap`;
//! else appends are refused, those of large records a little before the others. What a cursor was moved over is counted. Cursor files whose sink has not registered hold segments during
//! the first minute only (the sinks of a starting agent register one after the other), then never.
//!
//! # Recovery
//!
//! Every frame is read once at the start. Damage is copied to `set_aside/` with a reason before anything is cut; behind a damaged
//! range the next good frame is searched and the gap counted. Files that are no segments of ours (empty, zeros, other magic, later
//! version) are renamed into `set_aside/`. A segment with bytes that could neither be read nor copied goes there instead of being
//! deleted when its time has come.
//!
//! # Files
//!
//! `log` is the face of the log; `shared` is what it, the committer and the cursors hold together, with the one lock around `state`.
//! The committer (`commit`) writes with `writer` and asks `cap` for room, `cursor` reads, `recover` finds what an earlier process left.
//! `segment` is what is known of a segment and `frame` its bytes, `place` is a cursor's file, `paths` says where all of it lies, `disk`
//! stands between the log and the file system.
//!
//! No file here uses one that uses it; `tests/floors.rs` holds this.

mod cap;
mod commit;
mod cursor;
pub mod disk;
mod error;
mod frame;
mod log;
mod paths;
mod place;
mod record;
mod recover;
mod segment;
mod settings;
mod shared;
mod state;
mod stats;
mod writer;

pub use cursor::Cursor;
pub use error::{AppendError, OpenError, ReadError};
pub use log::Log;
pub use record::{LoggedRecord, Lost, Position};
pub use recover::Recovered;
pub use settings::BufferSettings;
pub use stats::{CursorStats, RemovedCursor, Stats};
