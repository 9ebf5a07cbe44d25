//! The `_datakit_pythond_*` log files: names, places, line prefix and rotation (100 000 bytes x 10) as DataKit's, with real content.
//!
//! One thread writes; callers hand lines over a bounded channel and never wait for a disk. Lines that find the channel full are counted,
//! and so are those that the disk does not take; the next line tries again. Nothing is held back: each entry is one append, so that a
//! file may be shared with scripts that run DataKit's own SDK, renamed by logrotate or removed at any time.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::counters::Counters;
use crate::platform;

/// As Python's `RotatingFileHandler(maxBytes=100000, backupCount=10)` in DataKit.
const MAX_BYTES: u64 = 100_000;
const BACKUPS: u32 = 10;
/// Entries that may wait for the disk.
const WAITING: usize = 1024;
/// What one entry may hold; the rest is cut, and the entry says how much.
const LONGEST_ENTRY: usize = 64 * 1024;
/// Input names come from requests too, so their files are limited; beyond, lines go to the cli log under the input's name.
const MOST_FILES: usize = 200;
/// A file name may have 255 bytes, of which DataKit's words and `.10` take 37.
const LONGEST_NAME: usize = 200;
/// How long `flush` waits for a disk that hangs.
const FLUSH: Duration = Duration::from_secs(2);
const CLI: &str = "_datakit_pythond_cli.log";

/// Hands lines to the log files; clones share the writer.
#[derive(Clone)]
pub struct ScriptLogs {
    orders: SyncSender<LogCommand>,
    counters: Counters,
}

enum LogCommand {
    Write {
        at: Timestamp,
        input: Option<String>,
        text: String,
    },
    /// Answered once all before it is written.
    Flush(SyncSender<()>),
}

impl ScriptLogs {
    /// Starts the writer thread; the files and their directory are made at the first line.
    pub fn open(dir: PathBuf, counters: Counters) -> Self {
        Self::open_for(dir, None, counters)
    }

    /// The same where a group may read the files besides their owner.
    pub fn open_for(dir: PathBuf, group: Option<u32>, counters: Counters) -> Self {
        let (orders, inbox) = sync_channel(WAITING);
        let writer = LogWriter { dir, group, files: BTreeMap::new(), counters: counters.clone() };
        let started = std::thread::Builder::new().name("script-logs".to_owned()).spawn(move || writer.run(&inbox));
        if let Err(error) = started {
            // Every line is counted as lost from now on, since nobody holds the other end.
            tracing::error!(target: "agent", "could not start the thread that writes the log files of the scripts: {error}");
        }
        Self { orders, counters }
    }

    /// Writes an entry to `_datakit_pythond_cli.log`: loads, errors with tracebacks, worker deaths. Newlines inside stay one entry.
    pub fn cli(&self, text: &str) {
        self.hand_over(None, text);
    }

    /// Writes an entry to `_datakit_pythond_framework_<input>_.log`: the script's prints, refused points with reasons.
    pub fn framework(&self, input: &str, text: &str) {
        self.hand_over(Some(input.to_owned()), text);
    }

    /// Waits until all that was handed over is written, for at most two seconds.
    pub fn flush(&self) {
        let deadline = Instant::now() + FLUSH;
        let (done, written) = sync_channel(1);
        let mut order = LogCommand::Flush(done);
        while let Err(TrySendError::Full(back)) = self.orders.try_send(order) {
            if Instant::now() >= deadline {
                return;
            }
            order = back;
            std::thread::sleep(Duration::from_millis(5));
        }
        // A disk that hangs must not hold up the stop of the agent; nobody there means nothing to wait for.
        let _ = written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }

    fn hand_over(&self, input: Option<String>, text: &str) {
        let order = LogCommand::Write { at: Timestamp::now(), input, text: shortened(text) };
        if self.orders.try_send(order).is_err() {
            self.counters.log_lines_lost.inc();
        }
    }
}

// --- what an entry looks like ---

/// Cuts a text that is too long, and says so in it.
fn shortened(text: &str) -> String {
    if text.len() <= LONGEST_ENTRY {
        return text.to_owned();
    }
    let start = start_of(text, LONGEST_ENTRY);
    format!("{start}\n... {} more bytes", text.len() - start.len())
}

/// One entry as it stands in the file. Further lines are indented, so that no script can forge an entry, and control characters other
/// than tabs are escaped, so that none can rewrite the terminal of the one who reads it.
fn entry(time: &str, text: &str) -> String {
    let mut out = format!("{time} ");
    for (index, line) in text.trim_end_matches(['\r', '\n']).split('\n').enumerate() {
        if index > 0 {
            out += "\n    ";
        }
        for c in line.strip_suffix('\r').unwrap_or(line).chars() {
            match c {
                '\t' => out.push(c),
                c if c.is_control() => out.extend(c.escape_default()),
                c => out.push(c),
            }
        }
    }
    out.push('\n');
    out
}

/// The file of an input; nothing in its name leads out of the directory.
fn framework_name(input: &str) -> String {
    let name: String = input.chars().map(|c| if c == '/' || c.is_control() { '_' } else { c }).collect();
    format!("_datakit_pythond_framework_{}_.log", start_of(&name, LONGEST_NAME))
}

/// The first characters that fit into so many bytes.
fn start_of(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

// --- the thread that writes ---

struct LogWriter {
    dir: PathBuf,
    group: Option<u32>,
    files: BTreeMap<String, LogFile>,
    counters: Counters,
}

impl LogWriter {
    fn run(mut self, inbox: &Receiver<LogCommand>) {
        for order in inbox {
            match order {
                LogCommand::Write { at, input, text } => self.write(at, input.as_deref(), &text),
                // Whoever asked may have stopped waiting.
                LogCommand::Flush(done) => drop(done.try_send(())),
            }
        }
    }

    fn write(&mut self, at: Timestamp, input: Option<&str>, text: &str) {
        let time = at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string();
        let name = input.map_or(CLI.to_owned(), framework_name);
        let is_one_too_many = !self.files.contains_key(&name) && self.files.len() >= MOST_FILES && name != CLI;
        let (name, entry) = match input {
            Some(input) if is_one_too_many => (CLI.to_owned(), entry(&time, &format!("[{input}] {text}"))),
            _ => (name, entry(&time, text)),
        };
        let path = self.dir.join(&name);
        if !self.files.entry(name).or_insert_with(|| LogFile::new(path, self.group)).append(&entry) {
            self.counters.log_lines_lost.inc();
        }
    }
}

/// One file with its older ones `.1` to `.10`.
struct LogFile {
    path: PathBuf,
    group: Option<u32>,
    open: Option<File>,
    /// Entries lost since the file could last be written; the first one is said, and the end.
    lost: u64,
    /// A failed write may have left half a line.
    torn: bool,
}

impl LogFile {
    fn new(path: PathBuf, group: Option<u32>) -> Self {
        Self { path, group, open: None, lost: 0, torn: false }
    }

    /// Appends an entry; false when it is lost.
    fn append(&mut self, entry: &str) -> bool {
        match self.try_append(entry) {
            Ok(()) => {
                if self.lost > 0 {
                    let (path, lost) = (self.path.display(), self.lost);
                    tracing::warn!(target: "agent", "{path} can be written again; {lost} entries are lost");
                }
                self.lost = 0;
                true
            }
            Err(error) => {
                if self.lost == 0 {
                    let path = self.path.display();
                    tracing::error!(target: "agent", "could not write {path}: {error}; its entries are lost until this is fixed");
                }
                self.open = None;
                self.lost += 1;
                false
            }
        }
    }

    fn try_append(&mut self, entry: &str) -> io::Result<()> {
        let size = self.current()?.metadata()?.len();
        // Python's rule: an entry that would reach the limit opens a new file, but an empty file takes any entry.
        if size > 0 && size + entry.len() as u64 >= MAX_BYTES {
            self.open = None;
            rotate(&self.path)?;
            self.torn = false;
        }
        let text = if self.torn { format!("\n{entry}") } else { entry.to_owned() };
        self.torn = true;
        self.current()?.write_all(text.as_bytes())?;
        self.torn = false;
        Ok(())
    }

    /// The file that has the name now: another one, or none, may stand there since the last entry.
    fn current(&mut self) -> io::Result<&mut File> {
        let file = match self.open.take() {
            Some(file) if is_at(&file, &self.path) => file,
            _ => open_for_append(&self.path, self.group)?,
        };
        Ok(self.open.insert(file))
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (platform::look_at(file), platform::look(path)) {
        (Ok(open), Ok(there)) => open.identity == there.identity,
        _ => false,
    }
}

fn open_for_append(path: &Path, group: Option<u32>) -> io::Result<File> {
    let open = || OpenOptions::new().append(true).create(true).open(path);
    let file = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(dir) = path.parent() {
                std::fs::create_dir_all(dir)?;
            }
            open()
        }
        other => other,
    }?;
    if let Err(error) = platform::keep_file_private(&file, group) {
        tracing::warn!(target: "agent", "cannot change the permissions of {}: {error}", path.display());
    }
    Ok(file)
}

/// Makes `.1` of the file, `.2` of `.1` and so on; the eleventh goes.
fn rotate(path: &Path) -> io::Result<()> {
    for number in (1..BACKUPS).rev() {
        rename_if_there(&backup(path, number), &backup(path, number + 1))?;
    }
    rename_if_there(path, &backup(path, 1))
}

fn backup(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Home {
        dir: tempfile::TempDir,
        counters: Counters,
        logs: ScriptLogs,
    }

    impl Home {
        fn new() -> Self {
            let (dir, counters) = (tempfile::tempdir().unwrap(), Counters::default());
            let logs = ScriptLogs::open(dir.path().join("home"), counters.clone());
            Self { dir, counters, logs }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join("home").join(name)
        }

        fn cli(&self, text: &str) {
            self.logs.cli(text);
            self.logs.flush();
        }

        /// A file without the 20 characters of the time in front of each entry.
        fn read(&self, name: &str) -> String {
            let text = std::fs::read_to_string(self.path(name)).unwrap();
            text.lines()
                .map(|line| if line.starts_with(' ') { line } else { &line[20..] })
                .map(|line| format!("{line}\n"))
                .collect()
        }

        fn names(&self) -> Vec<String> {
            let entries = std::fs::read_dir(self.path("")).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }

        fn lost(&self) -> u64 {
            self.counters.log_lines_lost.get()
        }
    }

    #[test]
    fn entries_have_the_local_time_in_front() {
        let home = Home::new();
        let before = jiff::Zoned::now().datetime();
        home.cli("mytest.a not found.");
        let text = std::fs::read_to_string(home.path(CLI)).unwrap();
        let (time, rest) = text.split_at(19);
        let written: jiff::civil::DateTime = time.replacen(' ', "T", 1).parse().unwrap();
        assert!(written >= before.with().subsec_nanosecond(0).build().unwrap(), "{time} is before {before}");
        assert!(written <= jiff::Zoned::now().datetime(), "{time} is to come");
        assert_eq!(rest, " mytest.a not found.\n");
    }

    #[test]
    fn each_input_has_its_file_and_no_name_leads_out() {
        let home = Home::new();
        home.logs.framework("a", "one");
        home.logs.framework("../b/c", "two");
        home.logs.framework("", "three");
        home.logs.framework(&"ü".repeat(300), "four");
        home.cli("five");
        let names = home.names();
        assert_eq!(
            names[..4],
            [
                "_datakit_pythond_cli.log",
                "_datakit_pythond_framework_.._b_c_.log",
                "_datakit_pythond_framework__.log",
                "_datakit_pythond_framework_a_.log"
            ]
        );
        assert_eq!(names.len(), 5);
        assert_eq!(home.read("_datakit_pythond_framework_a_.log"), "one\n");
        assert_eq!(home.lost(), 0);
    }

    #[test]
    fn no_script_can_forge_an_entry() {
        assert_eq!(
            entry("T", "Traceback:\n  File \"x\"\r\n2026-01-01 00:00:00 forged\n\n"),
            "T Traceback:\n      File \"x\"\n    2026-01-01 00:00:00 forged\n"
        );
        assert_eq!(entry("T", "a\tb\u{1b}[2Jc\rd\0e\u{9b}é"), "T a\tb\\u{1b}[2Jc\\rd\\u{0}e\\u{9b}é\n");
        assert_eq!(entry("T", ""), "T \n");
    }

    #[test]
    fn an_entry_that_is_too_long_says_what_is_cut() {
        let text = shortened(&"é".repeat(LONGEST_ENTRY));
        assert!(text.ends_with(&format!("é\n... {LONGEST_ENTRY} more bytes")), "{}", &text[text.len() - 40..]);
        assert_eq!(shortened("short"), "short");
    }

    #[test]
    fn files_rotate_as_in_python() {
        let home = Home::new();
        // 50 000 bytes each with time and newline: two of them reach the limit, so each file holds one.
        let text = |number: usize| format!("{number:0>49979}");
        for number in 1..=13 {
            home.cli(&text(number));
        }
        let mut expected = vec![CLI.to_owned()];
        expected.extend((1..=10).map(|number| format!("{CLI}.{number}")));
        expected.sort();
        assert_eq!(home.names(), expected);
        assert_eq!(home.read(CLI), text(13) + "\n");
        assert_eq!(home.read(&format!("{CLI}.1")), text(12) + "\n");
        assert_eq!(home.read(&format!("{CLI}.10")), text(3) + "\n");
        assert_eq!(home.lost(), 0);
    }

    #[test]
    fn a_file_is_filled_up_to_the_limit_but_never_reaches_it() {
        let home = Home::new();
        let rest = |bytes: usize| "x".repeat(bytes - 21);
        home.cli(&rest(50_000));
        home.cli(&rest(49_999));
        assert_eq!((home.names().len(), std::fs::metadata(home.path(CLI)).unwrap().len()), (1, 99_999));
        home.cli("more");
        assert_eq!((home.names().len(), home.read(CLI)), (2, "more\n".to_owned()));
    }

    #[test]
    fn what_others_append_counts_for_the_rotation() {
        let home = Home::new();
        home.cli("ours");
        OpenOptions::new().append(true).open(home.path(CLI)).unwrap().write_all(&[b'x'; 99_990]).unwrap();
        home.cli("next");
        assert_eq!(home.read(CLI), "next\n");
    }

    #[test]
    fn a_directory_removed_while_running_is_made_again() {
        let home = Home::new();
        home.cli("one");
        std::fs::remove_dir_all(home.path("")).unwrap();
        home.cli("two");
        assert_eq!(home.read(CLI), "two\n");
        assert_eq!(home.lost(), 0);
    }

    #[test]
    fn a_file_renamed_by_logrotate_is_opened_again() {
        let home = Home::new();
        home.cli("one");
        std::fs::rename(home.path(CLI), home.path("old")).unwrap();
        home.cli("two");
        assert_eq!((home.read("old"), home.read(CLI)), ("one\n".to_owned(), "two\n".to_owned()));
    }

    #[test]
    fn a_file_cut_by_copytruncate_goes_on_at_its_start() {
        let home = Home::new();
        home.cli("one");
        OpenOptions::new().write(true).open(home.path(CLI)).unwrap().set_len(0).unwrap();
        home.cli("two");
        assert_eq!(home.read(CLI), "two\n");
    }

    #[test]
    fn a_full_disk_costs_counted_entries_and_the_next_line_tries_again() {
        let home = Home::new();
        std::fs::create_dir(home.path("")).unwrap();
        std::os::unix::fs::symlink("/dev/full", home.path(CLI)).unwrap();
        home.cli("lost");
        home.cli("lost too");
        assert_eq!(home.lost(), 2);
        std::fs::remove_file(home.path(CLI)).unwrap();
        home.cli("kept");
        assert_eq!(home.lost(), 2);
        // The failed write may have left half a line, so the next entry starts a new one.
        assert!(std::fs::read_to_string(home.path(CLI)).unwrap().starts_with('\n'));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_tried_again() {
        let home = Home::new();
        std::fs::write(home.dir.path().join("home"), "a file where the directory should be").unwrap();
        home.cli("lost");
        assert_eq!(home.lost(), 1);
        std::fs::remove_file(home.dir.path().join("home")).unwrap();
        home.cli("kept");
        assert_eq!((home.lost(), home.read(CLI)), (1, "kept\n".to_owned()));
    }

    #[test]
    fn a_disk_that_hangs_holds_nobody_up() {
        let home = Home::new();
        std::fs::create_dir(home.path("")).unwrap();
        // A pipe that nobody reads hangs in `open`, as a dead network file system would.
        let pipe = home.path(CLI);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        for _ in 0..WAITING + 100 {
            home.logs.cli("line");
        }
        assert!((99..=100).contains(&home.lost()), "{}", home.lost());
        let reader = std::thread::spawn(move || std::fs::read(pipe).unwrap().len());
        home.logs.flush();
        drop(home);
        assert!(reader.join().unwrap() > WAITING * 20);
    }

    #[test]
    fn names_out_of_requests_do_not_fill_the_directory() {
        let home = Home::new();
        for number in 0..MOST_FILES + 2 {
            home.logs.framework(&number.to_string(), "line");
        }
        home.logs.flush();
        assert_eq!(home.names().len(), MOST_FILES + 1);
        assert_eq!(home.read(CLI), format!("[{}] line\n[{}] line\n", MOST_FILES, MOST_FILES + 1));
    }
}
