//! Reads one request body within its limits of size and time, and undoes its compression.

use std::io::Read;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::reply::No;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Deflate,
    Zstd,
}

impl Packing {
    /// Finds the packing of `Content-Encoding` or of the argument `encoding`.
    pub fn from_name(name: &str) -> Result<Self, No> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Plain),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            "zstd" => Ok(Self::Zstd),
            other => Err(No::bad(
                "datakit.decodeBodyFailed",
                format!("encoding is `{other}`; it must be one of gzip, deflate, zstd"),
            )),
        }
    }
}

/// Reads the whole body, at most `max` bytes, within `timeout`.
pub(super) async fn read(body: Body, max: u64, timeout: Duration) -> Result<Bytes, No> {
    match tokio::time::timeout(timeout, collect(body, max)).await {
        Ok(read) => read,
        Err(_) => Err(No::TimedOut(format!("timeout({}s): the body did not arrive in time", timeout.as_secs()))),
    }
}

async fn collect(mut body: Body, max: u64) -> Result<Bytes, No> {
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| No::bad("datakit.HTTPReadError", format!("the body could not be read: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if (first.len() + more.len() + data.len()) as u64 > max {
            return Err(too_large(max));
        }
        if first.is_empty() && more.is_empty() {
            first = data;
        } else {
            if more.is_empty() {
                more.extend_from_slice(&std::mem::take(&mut first));
            }
            more.extend_from_slice(&data);
        }
    }
    Ok(if more.is_empty() { first } else { more.freeze() })
}

/// Unpacks; the result is at most `max` bytes, so that a bomb costs no more than an honest body.
pub(super) fn unpack(body: Bytes, packing: Packing, max: u64) -> Result<Bytes, No> {
    let failed = |what: &str, error: std::io::Error| {
        No::bad("datakit.decodeBodyFailed", format!("the body is not valid {what}: {error}"))
    };
    match packing {
        Packing::Plain => Ok(body),
        Packing::Gzip => inflate(flate2::read::MultiGzDecoder::new(&body[..]), max, |error| failed("gzip", error)),
        Packing::Deflate => {
            inflate(flate2::read::ZlibDecoder::new(&body[..]), max, |error| failed("deflate (zlib)", error))
        }
        Packing::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(&body[..]).map_err(|error| failed("zstd", error))?;
            inflate(decoder, max, |error| failed("zstd", error))
        }
    }
}

fn inflate(decoder: impl Read, max: u64, failed: impl Fn(std::io::Error) -> No) -> Result<Bytes, No> {
    let mut out = Vec::new();
    decoder.take(max + 1).read_to_end(&mut out).map_err(failed)?;
    if out.len() as u64 > max {
        return Err(too_large(max));
    }
    Ok(out.into())
}

fn too_large(max: u64) -> No {
    No::TooLarge(format!("the body is larger than {max} bytes ([http_api] max_body); send fewer points at once"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(data: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn each_packing_comes_back() {
        let plain = b"m f=1 1\n".repeat(50);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
        zlib.write_all(&plain).unwrap();
        let zstd = zstd::encode_all(&plain[..], 1).unwrap();
        for (packed, packing) in [
            (gzip(&plain), Packing::Gzip),
            (zlib.finish().unwrap().into(), Packing::Deflate),
            (zstd.into(), Packing::Zstd),
        ] {
            assert_eq!(unpack(packed, packing, 1 << 20).unwrap(), plain, "{packing:?}");
        }
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let bomb = gzip(&vec![b' '; 4 << 20]);
        assert!(matches!(unpack(bomb, Packing::Gzip, 1 << 20), Err(No::TooLarge(_))));
    }

    #[test]
    fn what_is_not_packed_as_said_is_refused_not_taken_for_empty() {
        for packing in [Packing::Gzip, Packing::Deflate, Packing::Zstd] {
            assert!(matches!(
                unpack(Bytes::from_static(b"m f=1"), packing, 1 << 20),
                Err(No::Bad { error_code: "datakit.decodeBodyFailed", .. })
            ));
        }
        let cut = gzip(&b"m f=1 1\n".repeat(100));
        assert!(matches!(unpack(cut.slice(..cut.len() / 2), Packing::Gzip, 1 << 20), Err(No::Bad { .. })));
    }
}
