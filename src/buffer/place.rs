//! A cursor's file: one line of text, replaced by rename, that says how far a sink is.

use std::io;
use std::path::Path;

use super::disk::{Disk, DiskFile, read_up_to, write_all_at};
use super::record::Position;

const LONGEST: usize = 512;
/// Larger numbers are taken for damage: no log gets there.
pub(super) const LARGEST_SEQ: u64 = u64::MAX / 2;
const TEMPORARY: &str = "%tmp.";

/// What is kept of a cursor across a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct CursorPlace {
    pub position: Position,
    pub skipped_points: u64,
}

/// The file name for a cursor; different names never share one.
pub(super) fn file_name(cursor: &str) -> String {
    let mut name = String::with_capacity(cursor.len());
    for (i, byte) in cursor.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => name.push(byte.into()),
            b'.' if i > 0 => name.push('.'),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name
}

/// The name for which [`file_name`] gave this one.
pub(super) fn cursor_name(file_name: &str) -> String {
    let mut name = Vec::with_capacity(file_name.len());
    let mut rest = file_name.as_bytes();
    while let [first, more @ ..] = rest {
        let escaped = more.first_chunk::<2>().filter(|_| *first == b'%');
        let byte = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        name.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &more[2..] } else { more };
    }
    String::from_utf8_lossy(&name).into_owned()
}

pub(super) fn is_temporary(file_name: &str) -> bool {
    file_name.starts_with(TEMPORARY)
}

fn encode(place: &CursorPlace) -> String {
    let CursorPlace { position, skipped_points } = place;
    let body = format!("v1 seq={} lines={} skipped_points={skipped_points}", position.seq, position.lines);
    format!("{body} crc32c={:08x}\n", crc32c::crc32c(body.as_bytes()))
}

fn decode(bytes: &[u8]) -> Option<CursorPlace> {
    let (body, crc) = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.rsplit_once(" crc32c=")?;
    if u32::from_str_radix(crc, 16).ok()? != crc32c::crc32c(body.as_bytes()) {
        return None;
    }
    let mut words = body.strip_prefix("v1 ")?.split(' ');
    let mut number = |key: &str| words.next()?.strip_prefix(key)?.parse::<u64>().ok();
    let (seq, lines, skipped_points) = (number("seq=")?, number("lines=")?, number("skipped_points=")?);
    let position = Position { seq, lines: u32::try_from(lines).ok()? };
    (seq <= LARGEST_SEQ).then_some(CursorPlace { position, skipped_points })
}

/// Reads a cursor's file; `None` when it makes no sense.
pub(super) fn load(disk: &dyn Disk, path: &Path) -> io::Result<Option<CursorPlace>> {
    let mut bytes = [0; LONGEST];
    let have = read_up_to(disk.open(path)?.as_ref(), &mut bytes, 0)?;
    Ok(decode(&bytes[..have]))
}

/// Puts a new file in the old one's place. It survives the process, not yet a power cut.
pub(super) fn save(disk: &dyn Disk, dir: &Path, file_name: &str, place: &CursorPlace) -> io::Result<()> {
    let temporary = dir.join(format!("{TEMPORARY}{file_name}"));
    write_new(disk, &temporary, place)?;
    disk.rename(&temporary, &dir.join(file_name))
}

/// As [`save`], and durable.
pub(super) fn save_durably(disk: &dyn Disk, dir: &Path, file_name: &str, place: &CursorPlace) -> io::Result<()> {
    let temporary = dir.join(format!("{TEMPORARY}{file_name}"));
    write_new(disk, &temporary, place)?.sync()?;
    disk.rename(&temporary, &dir.join(file_name))?;
    disk.sync_dir(dir)
}

fn write_new(disk: &dyn Disk, path: &Path, place: &CursorPlace) -> io::Result<Box<dyn DiskFile>> {
    let file = match disk.create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            disk.unlink(path)?;
            disk.create(path)?
        }
        made => made?,
    };
    write_all_at(file.as_ref(), encode(place).as_bytes(), 0)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_back_from_its_file_name() {
        for name in ["main", ".hidden", "a/b", "größe 1%41", "%", ""] {
            assert_eq!(cursor_name(&file_name(name)), name);
        }
    }
}
