//! A body on its way in: paid for, read, and taken apart off the connection's thread where it is large.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;

use super::body::{self, Packing};
use super::budget::HeldBytes;
use super::endpoint::WriteEndpoint;
use super::reply::No;

/// Bodies above this are unpacked and parsed off the connection's thread.
const INLINE_BYTES: usize = 64 * 1024;

/// A body as it was sent, paid for until this is dropped.
#[derive(Debug)]
pub(super) struct Intake {
    bytes: Bytes,
    packing: Packing,
    held: HeldBytes,
}

impl Intake {
    /// Pays for a body of `size` bytes as sent (`None`: unknown) and reads it.
    pub async fn read(
        ingest: &WriteEndpoint,
        script: Option<&str>,
        packing: Packing,
        size: Option<u64>,
        body: Body,
    ) -> Result<Self, No> {
        let to_pay = match packing {
            Packing::Plain => size,
            // A large packed body may unpack to the largest; a small one pays for that when it is there.
            _ => size.filter(|size| *size <= INLINE_BYTES as u64),
        };
        let settings = ingest.settings();
        let mut held = ingest.budget.pay(script, to_pay).await?;
        let bytes = body::read(body, settings.max_body, settings.timeout).await?;
        if packing != Packing::Plain {
            held = ingest.budget.pay_for_unpacking(script, held).await?;
        }
        Ok(Self { bytes, packing, held })
    }

    /// What is left to pay for once the body itself is no longer needed.
    pub fn into_held(self) -> HeldBytes {
        self.held
    }

    /// Has the unpacked body taken apart, and gives it back with what came of it.
    pub async fn take_apart<T: Send + 'static>(
        self,
        ingest: &WriteEndpoint,
        work: impl FnOnce(&[u8]) -> Result<T, No> + Send + 'static,
    ) -> Result<(T, Self), No> {
        let max = ingest.settings().max_body;
        let is_small = self.packing == Packing::Plain && self.bytes.len() <= INLINE_BYTES;
        let run = move || {
            let unpacked = self.unpack(max)?;
            Ok((work(&unpacked.bytes)?, unpacked))
        };
        if is_small {
            return run();
        }
        // A body taken apart is several times as large: as many at once as there are processors, and the memory stays bounded.
        let turn = Arc::clone(&ingest.large).acquire_owned().await.expect("nobody closes it");
        let parsed = tokio::task::spawn_blocking(move || {
            let taken = run();
            // Also when the client has gone meanwhile.
            drop(turn);
            taken
        });
        parsed.await.map_err(|_| {
            No::bad("datakit.invalidData", "the body could not be read: the parser failed; please report this body")
        })?
    }
    /// Unpacks the body; afterwards it is paid for what it is.
    fn unpack(mut self, max: u64) -> Result<Self, No> {
        let bytes = body::unpack(self.bytes, self.packing, max)?;
        self.held.shrink(bytes.len() as u64);
        Ok(Self { bytes, packing: Packing::Plain, held: self.held })
    }
}
