//! The bytes of a segment: its header, its frames, and how the next good frame is found behind damage.
//!
//! All numbers are little endian.
//!
//! ```text
//! segment  magic [8] | version u16 | 0 u16 | crc32c u32 | first seq u64 | created, unix ms u64 | frames
//! frame    payload length u32 | crc32c u32 | seq u64 | points u32 | written, unix s u32 | payload
//! ```
//!
//! A frame's checksum covers everything behind it, a segment's covers the header but itself. The length is outside of it: a wrong
//! length makes the checksum wrong, and it must be bounded before it is believed in any case.

use std::io;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::disk::{DiskFile, read_up_to};

pub(super) const SEGMENT_HEADER: u64 = 32;
pub(super) const FRAME_HEADER: u64 = 24;
/// No record is longer; a length above it is damage and nothing is allocated for it.
pub(super) const MAX_RECORD: u64 = 64 << 20;

const MAGIC: &[u8; 8] = b"pythdlog";
const VERSION: u16 = 1;
const CHUNK: u64 = 1 << 20;
/// How far a number may be ahead of the expected one to be believed behind damage.
const FARTHEST_JUMP: u64 = 1 << 32;

/// What a segment's first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SegmentHeader {
    Good {
        first_seq: u64,
    },
    /// Written by a later version, whole.
    Newer {
        version: u16,
    },
    Damaged,
}

pub(super) fn encode_segment_header(first_seq: u64, created_ms: u64) -> [u8; SEGMENT_HEADER as usize] {
    let mut header = [0; SEGMENT_HEADER as usize];
    header[..8].copy_from_slice(MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&first_seq.to_le_bytes());
    header[24..].copy_from_slice(&created_ms.to_le_bytes());
    let crc = segment_crc(&header);
    header[12..16].copy_from_slice(&crc.to_le_bytes());
    header
}

pub(super) fn decode_segment_header(header: &[u8]) -> SegmentHeader {
    if header.len() < SEGMENT_HEADER as usize || &header[..8] != MAGIC || u32_at(header, 12) != segment_crc(header) {
        return SegmentHeader::Damaged;
    }
    match u16::from_le_bytes([header[8], header[9]]) {
        VERSION => SegmentHeader::Good { first_seq: u64_at(header, 16) },
        version => SegmentHeader::Newer { version },
    }
}

fn segment_crc(header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &header[16..SEGMENT_HEADER as usize])
}

/// One record where it lies.
#[derive(Debug, Clone)]
pub(super) struct RecordFrame {
    pub at: u64,
    pub seq: u64,
    pub points: u32,
    pub written_secs: u32,
    pub payload: Bytes,
}

impl RecordFrame {
    pub(super) fn end(&self) -> u64 {
        self.at + FRAME_HEADER + self.payload.len() as u64
    }
}

/// Puts one frame behind what is in the buffer.
pub(super) fn encode(into: &mut Vec<u8>, seq: u64, points: u32, written_secs: u32, payload: &[u8]) {
    let len = u32::try_from(payload.len()).expect("append refuses records above MAX_RECORD");
    let start = into.len();
    into.extend_from_slice(&len.to_le_bytes());
    into.extend_from_slice(&[0; 4]);
    into.extend_from_slice(&seq.to_le_bytes());
    into.extend_from_slice(&points.to_le_bytes());
    into.extend_from_slice(&written_secs.to_le_bytes());
    into.extend_from_slice(payload);
    let crc = crc32c::crc32c(&into[start + 8..]);
    into[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// Seconds since 1970, at the ends of the range for clocks that are far off.
pub(super) fn unix_secs(now: SystemTime) -> u32 {
    let secs = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    u32::try_from(secs).unwrap_or(u32::MAX)
}

/// A frame's header, not yet checked against its checksum.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameHeader {
    len: u64,
    crc: u32,
    pub seq: u64,
    pub points: u32,
    pub written_secs: u32,
}

impl FrameHeader {
    fn decode(bytes: &[u8]) -> FrameHeader {
        FrameHeader {
            len: u64::from(u32_at(bytes, 0)),
            crc: u32_at(bytes, 4),
            seq: u64_at(bytes, 8),
            points: u32_at(bytes, 16),
            written_secs: u32_at(bytes, 20),
        }
    }

    pub(super) fn frame_len(&self) -> u64 {
        FRAME_HEADER + self.len
    }

    fn fits(&self, room: u64) -> bool {
        self.len <= MAX_RECORD && self.frame_len() <= room
    }
}

/// Reads the header at a place where a frame is known to start; `None` behind the end of the file.
pub(super) fn peek(file: &dyn DiskFile, at: u64) -> io::Result<Option<FrameHeader>> {
    let mut header = [0; FRAME_HEADER as usize];
    let have = read_up_to(file, &mut header, at)?;
    Ok((have == header.len()).then(|| FrameHeader::decode(&header)))
}

/// Why a run of frames ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameStop {
    /// The wanted amount is there.
    Enough,
    /// `end` was reached.
    End,
    /// What lies at `Run::end` is no frame.
    Damage,
}

/// Good frames that follow each other.
#[derive(Debug)]
pub(super) struct FrameRun {
    pub frames: Vec<RecordFrame>,
    /// Where the first byte behind them lies.
    pub end: u64,
    pub stop: FrameStop,
}

/// Reads the frames between `at` and `end` until their payloads make `budget` bytes; the first one comes even when it is larger.
pub(super) fn read_run(file: &dyn DiskFile, at: u64, end: u64, budget: u64) -> io::Result<FrameRun> {
    let mut run = FrameRun { frames: Vec::new(), end: at, stop: FrameStop::End };
    let mut left = budget;
    let mut need = 0;
    while run.end < end {
        let want = CHUNK.min(budget.saturating_add(4096)).max(need).min(end - run.end);
        let chunk = read_chunk(file, run.end, want)?;
        need = match take_frames(&mut run, &chunk, end, &mut left) {
            FrameTaken::Stop(stop) => {
                run.stop = stop;
                return Ok(run);
            }
            // The file is shorter than it should be.
            FrameTaken::NeedsAtLeast(_) if (chunk.len() as u64) < want => {
                run.stop = FrameStop::Damage;
                return Ok(run);
            }
            FrameTaken::NeedsAtLeast(bytes) => bytes,
            FrameTaken::ChunkDone => 0,
        };
    }
    Ok(run)
}

enum FrameTaken {
    Stop(FrameStop),
    /// The chunk is too short for its first frame.
    NeedsAtLeast(u64),
    /// The frames in it are taken, the rest starts a next chunk.
    ChunkDone,
}

fn take_frames(run: &mut FrameRun, chunk: &Bytes, end: u64, left: &mut u64) -> FrameTaken {
    let mut pos = 0;
    loop {
        let rest = &chunk[pos..];
        let room = end - run.end;
        if room == 0 {
            return FrameTaken::Stop(FrameStop::End);
        }
        if room < FRAME_HEADER {
            return FrameTaken::Stop(FrameStop::Damage);
        }
        if (rest.len() as u64) < FRAME_HEADER {
            return if pos == 0 { FrameTaken::NeedsAtLeast(FRAME_HEADER) } else { FrameTaken::ChunkDone };
        }
        let header = FrameHeader::decode(rest);
        if !header.fits(room) {
            return FrameTaken::Stop(FrameStop::Damage);
        }
        if header.len > *left && !run.frames.is_empty() {
            return FrameTaken::Stop(FrameStop::Enough);
        }
        if (rest.len() as u64) < header.frame_len() {
            return if pos == 0 { FrameTaken::NeedsAtLeast(header.frame_len()) } else { FrameTaken::ChunkDone };
        }
        let frame_end = pos + header.frame_len() as usize;
        if crc32c::crc32c(&chunk[pos + 8..frame_end]) != header.crc {
            return FrameTaken::Stop(FrameStop::Damage);
        }
        run.frames.push(RecordFrame {
            at: run.end,
            seq: header.seq,
            points: header.points,
            written_secs: header.written_secs,
            payload: chunk.slice(pos + FRAME_HEADER as usize..frame_end),
        });
        *left = left.saturating_sub(header.len);
        run.end += header.frame_len();
        pos = frame_end;
    }
}

fn read_chunk(file: &dyn DiskFile, at: u64, len: u64) -> io::Result<Bytes> {
    let mut chunk = vec![0; len as usize];
    let have = read_up_to(file, &mut chunk, at)?;
    chunk.truncate(have);
    Ok(chunk.into())
}

/// Finds the first good frame at or behind `from` whose number is one of `seqs` (and not absurdly far ahead).
pub(super) fn find_next(file: &dyn DiskFile, from: u64, end: u64, seqs: Range<u64>) -> io::Result<Option<(u64, u64)>> {
    let believed = seqs.start..seqs.end.min(seqs.start.saturating_add(FARTHEST_JUMP));
    let mut base = from;
    while base + FRAME_HEADER <= end {
        let chunk = read_chunk(file, base, CHUNK.min(end - base))?;
        let starts = (chunk.len() as u64 + 1).saturating_sub(FRAME_HEADER);
        for pos in 0..starts {
            let at = base + pos;
            let header = FrameHeader::decode(&chunk[pos as usize..]);
            if believed.contains(&header.seq) && header.fits(end - at) && is_whole(file, at, &header)? {
                return Ok(Some((at, header.seq)));
            }
        }
        if starts == 0 {
            break;
        }
        base += starts;
    }
    Ok(None)
}

fn is_whole(file: &dyn DiskFile, at: u64, header: &FrameHeader) -> io::Result<bool> {
    let covered = header.frame_len() - 8;
    let bytes = read_chunk(file, at + 8, covered)?;
    Ok(bytes.len() as u64 == covered && crc32c::crc32c(&bytes) == header.crc)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
