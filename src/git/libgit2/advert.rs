//! The list of refs with which a server begins, as packet lines: four hexadecimal digits for the length, then the bytes.

use std::io::{self, Read};

/// Bytes of a list that are read; that of a million refs fits.
pub const MOST: usize = 128 << 20;

/// Reads packets up to the flush that ends the list, or to the end.
///
/// # Errors
/// What the reader says; a list that is too long.
pub fn read(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut list = Vec::new();
    loop {
        let start = list.len();
        if from.by_ref().take(4).read_to_end(&mut list)? < 4 {
            return Ok(list);
        }
        let length = str::from_utf8(&list[start..]).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        match length {
            // What is no packet is for libgit2 to judge.
            None | Some(0) => return Ok(list),
            Some(length) => {
                let rest = length.saturating_sub(4);
                if from.by_ref().take(rest as u64).read_to_end(&mut list)? < rest {
                    return Ok(list);
                }
            }
        }
        if list.len() > MOST {
            return Err(io::Error::other("the server's list of refs is too long"));
        }
    }
}

/// Puts a `?` for each byte that is no UTF-8. git allows such names of refs and the binding to libgit2 panics at them; with a character
/// that no name may hold, libgit2 passes them over.
pub fn without_foreign_names(mut list: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while let Err(error) = str::from_utf8(&list[at..]) {
        at += error.valid_up_to();
        let bad = error.error_len().unwrap_or(list.len() - at);
        list[at..at + bad].fill(b'?');
        at += bad;
    }
    list
}

/// Says whether the repository's ids are SHA-256, which the store's are not.
pub fn is_sha256(list: &[u8]) -> bool {
    const FORMAT: &[u8] = b"object-format=sha256";
    list.windows(FORMAT.len()).any(|part| part == FORMAT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_ends_at_its_flush_and_the_rest_is_left() {
        let mut bytes = &b"0006a\n0007bc\n0000rest"[..];
        assert_eq!(read(&mut bytes).unwrap(), b"0006a\n0007bc\n0000");
        assert_eq!(bytes, b"rest");
        assert_eq!(read(&mut &b"0009ab"[..]).unwrap(), b"0009ab", "one that breaks off is handed on as it is");
        assert_eq!(read(&mut &b"<html>"[..]).unwrap(), b"<htm");
    }

    #[test]
    fn foreign_names_keep_their_length() {
        assert_eq!(without_foreign_names(b"a\xffb\xc3".to_vec()), b"a?b?");
        assert_eq!(without_foreign_names("ö".as_bytes().to_vec()), "ö".as_bytes());
    }
}
