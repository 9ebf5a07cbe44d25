//! A file as its disk tells it.

/// What a file or folder is on its disk: two that are equal are the same one, whatever their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    pub volume: u64,
    pub number: u64,
}

/// A file as its disk tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFacts {
    pub identity: FileIdentity,
    /// Bytes.
    pub length: u64,
}
