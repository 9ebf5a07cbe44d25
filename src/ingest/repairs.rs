//! What was changed or left out of the points of a request: in the answer for whoever sent them, and of senders that are no workers also
//! in the status. A worker tells the agent itself which line of which script it was (`sdk-python/pythond/host.py`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use axum::http::HeaderValue;
use serde::Serialize;

use crate::code::Code;
use crate::point::{Repair, Warnings};

/// A JSON array of `{"code", "kind", "key", "what"}`.
pub const HEADER: &str = "x-pythond-repaired";

/// Bytes of the header for a worker, whose lines of a head may be long, and for others.
const ROOM_OF_WORKERS: usize = 32 * 1024;
const ROOM: usize = 4 * 1024;
const KEPT: usize = 200;

#[derive(Serialize)]
struct RepairEntry<'a> {
    code: Code,
    kind: &'a str,
    key: &'a str,
    what: &'a str,
}

/// The header of an answer; `None` where nothing was changed.
pub(super) fn header(warnings: &Warnings, to_worker: bool) -> Option<HeaderValue> {
    let room = if to_worker { ROOM_OF_WORKERS } else { ROOM };
    let mut text = String::from("[");
    for repair in warnings.repairs() {
        let Repair { kind, key, what } = repair;
        let entry = RepairEntry { code: repair.code(), kind, key, what };
        let one = in_ascii(&serde_json::to_string(&entry).expect("text always serialises"));
        if text.len() + one.len() + 2 > room {
            break;
        }
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&one);
    }
    text.push(']');
    if text == "[]" { None } else { HeaderValue::from_str(&text).ok() }
}

/// JSON that holds no other bytes than those that a header may hold.
fn in_ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_ascii() && letter != '\x7f' {
            text.push(letter);
        } else {
            let mut units = [0; 2];
            text.extend(letter.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    text
}

/// What was changed in points that no worker has sent; the oldest make room.
#[derive(Debug, Clone, Default)]
pub struct Repairs(Arc<Mutex<VecDeque<SeenRepairs>>>);

#[derive(Debug, Clone)]
pub struct SeenRepairs {
    pub input: String,
    pub repair: Repair,
    pub at: SystemTime,
    /// In how many requests.
    pub times: u64,
}

impl Repairs {
    /// The newest first.
    pub fn list(&self) -> Vec<SeenRepairs> {
        self.locked().iter().rev().cloned().collect()
    }

    /// Forgets all; they come back in their order.
    pub fn take(&self) -> Vec<Repair> {
        std::mem::take(&mut *self.locked()).into_iter().map(|seen| seen.repair).collect()
    }

    /// Remembers repairs; those come back that were not known.
    pub(super) fn note<'w>(&self, input: &str, repairs: &'w [Repair]) -> Vec<&'w Repair> {
        let mut known = self.locked();
        repairs.iter().filter(|repair| Self::is_new(&mut known, input, repair)).collect()
    }

    fn is_new(known: &mut VecDeque<SeenRepairs>, input: &str, repair: &Repair) -> bool {
        let is_same = |seen: &&mut SeenRepairs| {
            seen.input == input && (seen.repair.kind, &seen.repair.key) == (repair.kind, &repair.key)
        };
        if let Some(seen) = known.iter_mut().find(is_same) {
            seen.times += 1;
            seen.at = SystemTime::now();
            return false;
        }
        if known.len() == KEPT {
            known.pop_front();
        }
        known.push_back(SeenRepairs {
            input: input.to_owned(),
            repair: repair.clone(),
            at: SystemTime::now(),
            times: 1,
        });
        true
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<SeenRepairs>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(keys: impl IntoIterator<Item = String>) -> Warnings {
        let mut warnings = Warnings::default();
        for key in keys {
            warnings.add("reserved_key", &key, &format!("tag `{key}` became `ü_`"));
        }
        warnings
    }

    #[test]
    fn the_header_is_ascii_and_reads_back() {
        assert_eq!(header(&Warnings::default(), true), None);
        let told = header(&warnings(["tags.ü🦀\u{7f}".to_owned()]), true).unwrap();
        let json: serde_json::Value = serde_json::from_str(told.to_str().unwrap()).unwrap();
        assert_eq!(json[0]["code"], "PD0412");
        assert_eq!(json[0]["key"], "tags.ü🦀\u{7f}");
        assert!(json[0]["what"].as_str().unwrap().ends_with("became `ü_`"));
    }

    #[test]
    fn a_stranger_gets_a_short_header_and_a_worker_all() {
        let many = warnings((0..100).map(|number| format!("tags.{number}")));
        let count = |to_worker| {
            let told = header(&many, to_worker).unwrap();
            assert!(told.len() <= if to_worker { ROOM_OF_WORKERS } else { ROOM });
            serde_json::from_str::<Vec<serde_json::Value>>(told.to_str().unwrap()).unwrap().len()
        };
        assert_eq!(count(true), 100);
        assert!((10..100).contains(&count(false)));
    }

    #[test]
    fn each_is_new_once_for_an_input_and_key_and_the_oldest_make_room() {
        let repairs = Repairs::default();
        let one = warnings(["tags.a".to_owned(), "tags.b".to_owned()]);
        assert_eq!(repairs.note("x", one.repairs()).len(), 2);
        assert_eq!(repairs.note("x", one.repairs()).len(), 0);
        assert_eq!(repairs.note("y", one.repairs()).len(), 2);
        assert_eq!(repairs.list().iter().map(|seen| seen.times).collect::<Vec<_>>(), [1, 1, 2, 2]);
        for number in 0..KEPT {
            repairs.note(&number.to_string(), &one.repairs()[..1]);
        }
        assert_eq!(repairs.list().len(), KEPT);
    }
}
