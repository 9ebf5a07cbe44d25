//! The `ssh` program as transport: its settings, agent, jump hosts, hardware keys and known hosts stay usable.

use std::io::{self, Cursor, Read, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use git2::Error;
use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream};

use super::super::fault::Asked;
use super::super::judge::{GitError, judge};
use super::super::program::{MESSAGES, RunningProgram, read_bounded};
use super::super::ssh;
use super::advert;
use super::session::{Halt, Session};

/// Pieces of the server's answer that may wait.
const WAITING: usize = 16;
const PIECE: usize = 64 << 10;
/// How often a wait looks whether it may go on.
const LOOK: Duration = Duration::from_millis(20);
/// What ssh gets to say why it ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How ssh is called for one repository.
pub struct Exec {
    session: Arc<Session>,
    words: Vec<String>,
}

impl Exec {
    pub fn new(asked: &Asked<'_>, session: &Arc<Session>) -> Self {
        Self { session: Arc::clone(session), words: ssh::upload_pack(asked.repos, asked.repo) }
    }

    /// Starts ssh and reads the list of refs.
    fn start(&self) -> Result<SshPipe, Halt> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let mut command = self.session.programs.program("ssh", &words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = RunningProgram::start(command)?;
        let child = running.child();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stderr = child.stderr.take().expect("its messages were asked for");
        let (ask, asked) = channel();
        let (answer, answers) = sync_channel(WAITING);
        // Threads, since a pipe cannot be waited for with an end in sight on every system. They end with the pipes.
        std::thread::spawn(move || write_all(stdin.expect("its input was asked for"), &asked));
        std::thread::spawn(move || read_all(stdout.expect("its output was asked for"), &answer));
        let said = std::thread::spawn(move || read_bounded(stderr, MESSAGES));
        let session = Arc::clone(&self.session);
        let mut pipe = SshPipe { ask, answers, piece: Cursor::default(), said: Some(said), session, _running: running };
        let list = advert::read(&mut pipe).map_err(|error| GitError::Other(error.to_string()))?;
        if advert::is_sha256(&list) {
            return Err(GitError::Other("mismatched algorithms: client sha1; server sha256".to_owned()).into());
        }
        pipe.piece = Cursor::new(advert::without_foreign_names(list));
        Ok(pipe)
    }
}

/// The transport as libgit2 wants it.
pub struct Pipes(pub Arc<Exec>);

impl SmartSubtransport for Pipes {
    fn action(&self, _url: &str, service: Service) -> Result<Box<dyn SmartSubtransportStream>, Error> {
        if service != Service::UploadPackLs {
            // One stream serves a whole pull, and nothing is ever pushed.
            return Err(Error::from_str("ssh is asked for the list of refs first"));
        }
        match self.0.start() {
            Ok(pipe) => Ok(Box::new(pipe)),
            Err(halt) => Err(Error::from_str(&self.0.session.failed(halt).to_string())),
        }
    }

    fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// An ssh with what goes to it and comes from it; ended when it is dropped.
struct SshPipe {
    ask: Sender<Vec<u8>>,
    answers: Receiver<io::Result<Vec<u8>>>,
    piece: Cursor<Vec<u8>>,
    said: Option<JoinHandle<io::Result<Vec<u8>>>>,
    session: Arc<Session>,
    _running: RunningProgram,
}

impl SshPipe {
    /// The next piece of the answer; nothing at its end.
    fn next(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.answers.recv_timeout(LOOK) {
                Ok(piece) => {
                    return piece.map_err(|error| self.session.failed(GitError::Unreachable(error.to_string())));
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.session.programs.go_on().map_err(|not_run| self.session.failed(not_run))?;
                }
                Err(RecvTimeoutError::Disconnected) => return self.broke_off(),
            }
        }
    }

    /// The server ended the connection, which it never does first when all is well: what ssh said of it is the reason.
    fn broke_off(&mut self) -> io::Result<Vec<u8>> {
        let Some(said) = self.said.take() else { return Ok(Vec::new()) };
        let until = Instant::now() + LAST_WORDS;
        while !said.is_finished() && Instant::now() < until {
            self.session.programs.go_on().map_err(|not_run| self.session.failed(not_run))?;
            std::thread::sleep(LOOK);
        }
        let said =
            if said.is_finished() { said.join().ok().and_then(Result::ok).unwrap_or_default() } else { Vec::new() };
        let said = self.session.programs.without_secrets(&String::from_utf8_lossy(&said));
        let trouble = match said.trim() {
            "" => GitError::Unreachable("the connection was closed before the repository was handed out".to_owned()),
            // What git itself says then.
            said => judge(&format!("{said}\nfatal: Could not read from remote repository.")),
        };
        Err(self.session.failed(trouble))
    }
}

impl Read for SshPipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.position() == self.piece.get_ref().len() as u64 {
            self.piece = Cursor::new(self.next()?);
        }
        self.piece.read(buffer)
    }
}

impl Write for SshPipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A thread that has gone met a closed pipe; the reading end says why.
        let _ = self.ask.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(mut to: impl Write, asked: &Receiver<Vec<u8>>) {
    for bytes in asked {
        if to.write_all(&bytes).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

fn read_all(mut from: impl Read, answer: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut piece = vec![0; PIECE];
        let got = match from.read(&mut piece) {
            Ok(0) => return,
            Ok(got) => Ok(got),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let is_last = got.is_err();
        let sent = answer.send(got.map(|got| {
            piece.truncate(got);
            piece
        }));
        if sent.is_err() || is_last {
            return;
        }
    }
}
