//! A virtual machine that lives in memory: a kernel, an archive of files as its root, and two serial lines on which it tells.
//!
//! The processor is emulated (TCG), for KVM is not to be had on every machine: a guest is about twenty times slower than its host.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::machine::{find, part_of_a_vm};

const MEMORY_MIB: u32 = 1024;
const PYTHON: &str = "/usr/bin/python3";
/// Large parts of Python's library that no collector needs.
const LEFT_OUT: [&str; 7] = ["config-", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tkinter"];

/// What a guest is made of.
pub struct Kit {
    qemu: PathBuf,
    kernel: PathBuf,
    busybox: PathBuf,
}

/// The files of a guest's root.
#[derive(Default)]
pub struct Image(BTreeMap<String, Entry>);

struct Entry {
    /// Kind and rights, as in `stat`.
    mode: u32,
    mtime: i64,
    content: Vec<u8>,
}

/// A guest that has ended.
pub struct Told {
    /// How the emulator ended; `None` if it took too long and was killed.
    pub ended: Option<ExitStatus>,
    /// The kernel, and whatever nobody caught.
    pub console: String,
    /// What `/init` wrote to `/dev/ttyS1`.
    pub facts: String,
}

impl Kit {
    /// `None` where something is missing, unless `PYTHOND_REQUIRE_VM=1`.
    pub fn find() -> Option<Self> {
        let is_there = |path: &str| Path::new(path).exists().then_some(());
        part_of_a_vm("processor of this kind (x86_64)", cfg!(target_arch = "x86_64").then_some(()))?;
        part_of_a_vm("/usr/bin/python3 (Debian package python3)", is_there(PYTHON))?;
        Some(Self {
            qemu: part_of_a_vm("qemu-system-x86_64 (Debian package qemu-system-x86)", find("qemu-system-x86_64"))?,
            kernel: part_of_a_vm("kernel that can be read (PYTHOND_TEST_KERNEL, or /boot/vmlinuz-*)", kernel())?,
            busybox: part_of_a_vm("busybox (Debian package busybox-static)", find("busybox"))?,
        })
    }

    /// An image with Busybox and Debian's Python.
    pub fn image(&self) -> Image {
        let mut image = Image::default();
        image.programs(&[(&self.busybox, "/bin/busybox"), (Path::new(PYTHON), PYTHON)]);
        image.python_library();
        for dir in ["/dev", "/proc", "/sys", "/tmp"] {
            image.dir(dir);
        }
        image
    }

    /// Boots an image and waits until it has switched itself off. Blocks for `bound` at most.
    pub fn boot(&self, image: &Image, bound: Duration) -> Told {
        let dir = tempfile::tempdir().unwrap();
        let [archive, console, facts] = ["archive", "console", "facts"].map(|name| dir.path().join(name));
        std::fs::write(&archive, image.archive()).unwrap();
        let emulator = Command::new(&self.qemu)
            .args(["-accel", "tcg", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
            .args(["-m", &MEMORY_MIB.to_string(), "-append", "console=ttyS0 quiet panic=-1"])
            .args([Path::new("-kernel"), &self.kernel, Path::new("-initrd"), &archive])
            .args(["-serial", &format!("file:{}", console.display()), "-serial", &format!("file:{}", facts.display())])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let ended = Emulator(emulator).wait(bound);
        // A line of a terminal ends with both.
        let text = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).replace('\r', "");
        Told { ended, console: text(console), facts: text(facts) }
    }
}

/// The kernel that is asked for, or the newest of this machine that this user may read.
fn kernel() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("PYTHOND_TEST_KERNEL") {
        return Some(path.into());
    }
    let found = std::fs::read_dir("/boot").ok()?.flatten().map(|entry| entry.path());
    let is_kernel = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("vmlinuz-");
    let readable = found.filter(is_kernel).filter_map(|path| Some((std::fs::File::open(&path).ok()?, path)));
    readable.max_by_key(|(file, _)| file.metadata().unwrap().mtime()).map(|(_, path)| path)
}

/// Killed when it is dropped.
struct Emulator(Child);

impl Emulator {
    fn wait(mut self, bound: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + bound;
        while Instant::now() < until {
            if let Some(status) = self.0.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        None
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Image {
    pub fn file(&mut self, at: &str, text: &str) {
        self.add(at, Entry { mode: 0o100_644, mtime: 0, content: text.into() });
    }

    pub fn script(&mut self, at: &str, text: &str) {
        self.add(at, Entry { mode: 0o100_755, mtime: 0, content: text.into() });
    }

    /// Programs of this machine (from, to), with the libraries that they need.
    pub fn programs(&mut self, programs: &[(&Path, &str)]) {
        for (from, to) in programs {
            self.copy(from, to);
        }
        self.libraries_of(&programs.iter().map(|(from, _)| from.to_path_buf()).collect::<Vec<_>>());
    }

    /// The same without what only a debugger reads, which is most of a debug build; whole where there is no `strip`.
    pub fn stripped_program(&mut self, from: &Path, to: &str) {
        let dir = tempfile::tempdir().unwrap();
        let stripped = dir.path().join("program");
        let done =
            Command::new("strip").arg("-o").args([&stripped, from]).status().is_ok_and(|status| status.success());
        self.programs(&[(if done { &stripped } else { from }, to)]);
    }

    fn python_library(&mut self) {
        let ask = "import sysconfig; print(sysconfig.get_path('stdlib'))";
        let output = Command::new(PYTHON).args(["-I", "-c", ask]).output().unwrap();
        let library = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
        let mut modules = Vec::new();
        self.tree(&library, &mut modules);
        self.libraries_of(&modules);
    }

    /// Copies a folder; `modules` gets the shared libraries in it.
    fn tree(&mut self, dir: &Path, modules: &mut Vec<PathBuf>) {
        for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_file() {
                self.copy(&path, path.to_str().unwrap());
                modules.extend(name.ends_with(".so").then(|| path.clone()));
            } else if path.is_dir() && !LEFT_OUT.iter().any(|out| name.starts_with(out)) {
                self.tree(&path, modules);
            }
        }
    }

    fn libraries_of(&mut self, files: &[PathBuf]) {
        // It fails for a static program and tells of the others all the same.
        let output = Command::new("ldd").args(files).output().unwrap();
        for path in libraries(&String::from_utf8_lossy(&output.stdout)) {
            self.copy(Path::new(path), path);
        }
    }

    /// With its rights and its time, by which Python judges what it has compiled. A link becomes what it leads to.
    fn copy(&mut self, from: &Path, to: &str) {
        let meta = std::fs::metadata(from).unwrap();
        self.add(to, Entry { mode: meta.mode(), mtime: meta.mtime(), content: std::fs::read(from).unwrap() });
    }

    fn dir(&mut self, at: &str) {
        self.add(at, Entry { mode: 0o040_755, mtime: 0, content: Vec::new() });
    }

    fn add(&mut self, at: &str, entry: Entry) {
        if let Some((parent, _)) = at.rsplit_once('/').filter(|(parent, _)| !parent.is_empty())
            && !self.0.contains_key(parent)
        {
            self.dir(parent);
        }
        self.0.insert(at.to_owned(), entry);
    }

    /// As `cpio --format=newc` writes it (Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`). A folder comes before what
    /// is in it, for it sorts before it.
    fn archive(&self) -> Vec<u8> {
        let end = Entry { mode: 0, mtime: 0, content: Vec::new() };
        let entries = self.0.iter().map(|(path, entry)| (path.trim_start_matches('/'), entry));
        let mut archive = Vec::new();
        for (number, (path, entry)) in entries.chain([("TRAILER!!!", &end)]).enumerate() {
            let (links, size, name) = (1, entry.content.len(), path.len() + 1);
            let fields = [number, entry.mode as usize, 0, 0, links, entry.mtime as usize, size, 0, 0, 0, 0, name, 0];
            archive.extend(b"070701");
            archive.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
            archive.extend(path.bytes().chain([0]));
            archive.resize(archive.len().next_multiple_of(4), 0);
            archive.extend(&entry.content);
            archive.resize(archive.len().next_multiple_of(4), 0);
        }
        archive
    }
}

/// The paths in what `ldd` prints; `/a/b:` only heads what follows.
fn libraries(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':'))
}
