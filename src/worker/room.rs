//! How many workers the limit on open files leaves room for. Each costs the agent descriptors; one that is started beyond that takes them
//! from the buffer, the sinks and the commands, and then nobody can report any more.

use crate::platform;

/// Buffer, sinks, logs, the runtime, and the connections of commands.
const OWN_FILES: usize = 40;
/// Control socket, pidfd, pipes, a connection, and what starting it takes for a moment.
const FILES_OF_A_WORKER: usize = 8;

/// The room under a limit on open files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileRoom {
    open_files: usize,
}

impl FileRoom {
    /// Under the limit of this process.
    pub fn of_this_process() -> Self {
        Self::under(platform::open_files())
    }

    pub fn under(open_files: usize) -> Self {
        Self { open_files }
    }

    /// How many workers may have a process at a time.
    pub fn workers(self) -> usize {
        (self.open_files.saturating_sub(OWN_FILES) / FILES_OF_A_WORKER).max(1)
    }

    /// What is left for connections when so many workers run.
    pub fn beside(self, workers: usize) -> usize {
        self.open_files.saturating_sub(OWN_FILES + FILES_OF_A_WORKER * workers)
    }

    /// Why one of so many workers has no process.
    pub fn why_not(self, workers: usize) -> String {
        let needed = OWN_FILES + FILES_OF_A_WORKER * workers;
        format!(
            "no room: {workers} workers need about {needed} open files, the limit is {}; raise it (LimitNOFILE= of the service, `ulimit -n`)",
            self.open_files
        )
    }

    pub fn open_files(self) -> usize {
        self.open_files
    }
}

#[cfg(test)]
mod tests {
    use super::FileRoom;

    #[test]
    fn the_agents_own_files_come_first() {
        let room = FileRoom::under;
        assert_eq!([64, 40, 0, 96, 1024, 65_536].map(|limit| room(limit).workers()), [3, 1, 1, 7, 123, 8187]);
        assert_eq!((room(64).beside(3), room(1024).beside(100), room(64).beside(30)), (0, 184, 0));
        assert!(room(64).why_not(30).starts_with("no room: 30 workers need about 280 open files, the limit is 64;"));
    }
}
