//! What is said to a zygote and what it says: JSON messages over one SEQPACKET socket, a fork's descriptors beside its request.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage};
use serde::Deserialize;
use tokio::net::UnixDatagram;

use super::kind::is_only_at_exec;
use crate::dialect::Dialect;
use crate::worker::launch::Launch;
use crate::worker::lock::Lock;
use crate::worker::process::TheirEnds;
use crate::worker::sys;

/// What a message to or from a zygote may have; the same number stands in `zygote.py`.
pub(super) const MESSAGE_BYTES: usize = 64 * 1024;

/// What a zygote says.
#[derive(Debug, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub(super) enum Reply {
    Ready { exe: PathBuf, packages: Vec<String>, dropped: Vec<(String, String)> },
    Refused { why: String },
    Forked { id: u64, pid: u32 },
    Failed { id: i64, errno: i32, why: String },
}

/// What a zygote is asked for.
pub(super) struct ForkRequest<'a> {
    pub id: u64,
    pub launch: &'a Launch,
    pub text: Vec<u8>,
}

impl<'a> ForkRequest<'a> {
    /// # Errors
    /// Why this worker cannot come from a zygote.
    pub fn new(launch: &'a Launch, id: u64) -> Result<Self, String> {
        let env: Vec<_> = launch.envs.iter().filter(|(name, _)| !is_only_at_exec(name)).collect();
        let text = serde_json::json!({
            "t": "fork", "id": id, "env": env, "token": launch.token,
        });
        let text = serde_json::to_vec(&text).expect("texts and numbers always serialise");
        if text.len() > MESSAGE_BYTES {
            return Err(format!("its `envs` are too long for a request to a zygote: {} bytes", text.len()));
        }
        Ok(Self { id, launch, text })
    }
}

/// The scripts in pieces that fit, then the order to boot.
pub(super) fn boot_messages(scripts: &[PathBuf], roots: &[PathBuf], dialect: Dialect) -> Vec<Vec<u8>> {
    let named =
        |paths: &[PathBuf]| paths.iter().filter_map(|path| path.to_str().map(str::to_owned)).collect::<Vec<_>>();
    // A path has at most 4096 bytes, which JSON can make six times as long.
    let piece = |scripts: &[String], roots: &[String]| serde_json::json!({ "t": "scripts", "scripts": scripts, "roots": roots });
    let mut messages: Vec<serde_json::Value> = Vec::new();
    messages.extend(pieces(&named(scripts)).into_iter().map(|some| piece(some, &[])));
    messages.extend(pieces(&named(roots)).into_iter().map(|some| piece(&[], some)));
    messages.push(
        serde_json::json!({ "t": "boot", "v": 1, "agent": std::process::id(), "dialect": dialect.facts().folder }),
    );
    messages.iter().map(|message| serde_json::to_vec(message).expect("texts always serialise")).collect()
}

/// Cuts a list into parts that are at most half a message long each.
fn pieces(all: &[String]) -> Vec<&[String]> {
    let (mut parts, mut start, mut length) = (Vec::new(), 0, 0);
    for (index, one) in all.iter().enumerate() {
        // Every byte may become an escape of six.
        let more = one.len() * 6 + 4;
        if length + more > MESSAGE_BYTES / 2 && index > start {
            parts.push(&all[start..index]);
            (start, length) = (index, 0);
        }
        length += more;
    }
    parts.push(&all[start..]);
    parts
}

pub(super) fn send_with(
    socket: &UnixDatagram,
    request: &[u8],
    theirs: &TheirEnds,
    lock: Option<&Lock>,
) -> io::Result<()> {
    let mut fds = vec![theirs.control.as_fd(), theirs.stdout.as_fd(), theirs.stderr.as_fd(), theirs.trace.as_fd()];
    fds.extend(lock.map(Lock::as_fd));
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("no room for the descriptors"));
    }
    rustix::net::sendmsg(socket, &[io::IoSlice::new(request)], &mut ancillary, sys::AT_ONCE)?;
    Ok(())
}
