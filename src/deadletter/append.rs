//! Lines at the end of a file: all of them or none, and never behind half a line.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::platform;

pub(super) fn append(dir: &Path, name: &str, lines: &[u8], is_new: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(dir.join(name))?;
    if is_new {
        // Before the lines, so that a failure leaves none of them.
        platform::sync_folder(dir)?;
    }
    let start = whole_lines(&mut file)?;
    file.seek(SeekFrom::Start(start))?;
    let written = file.write_all(lines).and_then(|()| file.sync_data());
    if written.is_err() {
        // Best effort: the sender writes them once more, and half a line is cut off before that.
        let _ = file.set_len(start);
    }
    written
}

/// Cuts off what a crash left of a line (the put that wrote it never returned) and tells the length.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut end = length;
    let mut block = [0; 4096];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        match memchr::memrchr(b'\n', part) {
            Some(at) => {
                end = start + at as u64 + 1;
                break;
            }
            None => end = start,
        }
    }
    if end < length {
        file.set_len(end)?;
    }
    Ok(end)
}
