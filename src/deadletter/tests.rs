//! Letters are whole, capped, counted, and never lost.

use std::path::Path;

use super::*;
use crate::point::Category;

fn dead(reason: &str, point: &str) -> Dead {
    Dead {
        category: Some(Category::Metric),
        source: "in/a.b".to_owned(),
        reason: reason.to_owned(),
        point: point.to_owned(),
    }
}

fn at(day: &str) -> Timestamp {
    format!("{day}T12:00:00Z").parse().unwrap()
}

fn letters(dir: &Path, who: &str) -> Vec<Letter> {
    files(dir, who).unwrap().iter().flat_map(|file| read(file).unwrap()).collect()
}

#[test]
fn a_letter_says_who_when_why_and_what() {
    let dir = tempfile::tempdir().unwrap();
    let box_ = DeadLetters::open(dir.path(), 1 << 20).unwrap();
    box_.put_at("main", &[dead("type \"x\"\nconflict", "m v=\"a\nb\" 1")], at("2026-11-20")).unwrap();
    let expected = Letter {
        time: "2026-11-20T12:00:00Z".to_owned(),
        who: "main".to_owned(),
        category: Some("metric".to_owned()),
        source: "in/a.b".to_owned(),
        reason: "type \"x\"\nconflict".to_owned(),
        point: "m v=\"a\nb\" 1".to_owned(),
    };
    assert_eq!(read(&dir.path().join("main/2026-11-20.jsonl")).unwrap(), [expected]);
}

#[test]
fn a_reason_is_cut_at_512_bytes_inside_no_character() {
    let dir = tempfile::tempdir().unwrap();
    let box_ = DeadLetters::open(dir.path(), 1 << 20).unwrap();
    box_.put("s", &[dead(&format!("a{}", "é".repeat(400)), "p")]).unwrap();
    assert_eq!(letters(dir.path(), "s")[0].reason, format!("a{}", "é".repeat(255)));
}

#[test]
fn names_that_would_leave_the_folder_are_made_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let box_ = DeadLetters::open(dir.path().join("dead"), 1 << 20).unwrap();
    for (who, folder) in [("../x", "_.._x"), ("", "_"), (".", "_."), ("a/b", "a_b"), ("größe", "größe")] {
        box_.put(who, &[dead("r", "p")]).unwrap();
        assert!(dir.path().join("dead").join(folder).is_dir(), "{who}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn the_cap_costs_the_oldest_file_and_counts_its_points() {
    let dir = tempfile::tempdir().unwrap();
    let box_ = DeadLetters::open(dir.path(), 4000).unwrap();
    for day in 1..=9 {
        let two = [dead("r", &"x".repeat(200)), dead("r", &"y".repeat(200))];
        box_.put_at("s", &two, at(&format!("2026-11-0{day}"))).unwrap();
    }
    let counts = box_.counts()["s"];
    assert!(counts.bytes <= 4000, "{counts:?}");
    assert_eq!(counts.points + counts.deleted_points, 18);
    assert!(counts.deleted_points >= 2);
    let left = letters(dir.path(), "s");
    assert_eq!(left.len() as u64, counts.points);
    assert_eq!(left.last().unwrap().time, "2026-11-09T12:00:00Z");
}

#[test]
fn letters_written_while_others_are_removed_are_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let box_ = DeadLetters::open(dir.path(), 1 << 20).unwrap();
    let day = "2026-11-20";
    let path = dir.path().join(format!("s/{day}.jsonl"));
    box_.put_at("s", &[dead("r", "old"), dead("r", "old"), dead("r", "stays")], at(day)).unwrap();
    let write = || {
        for n in 0..300 {
            box_.put_at("s", &[dead("r", &format!("new {n}")), dead("r", "old")], at(day)).unwrap();
        }
    };
    std::thread::scope(|scope| {
        let writer = scope.spawn(write);
        let mut ended = false;
        while !ended {
            // Once more after the last letter.
            ended = writer.is_finished();
            let text = std::fs::read(&path).unwrap();
            let old = text.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\"old\"}\n"));
            let old: Vec<&[u8]> = old.collect();
            remove(&path, old.into_iter()).unwrap();
        }
    });
    let points: Vec<String> = letters(dir.path(), "s").into_iter().map(|letter| letter.point).collect();
    let expected: Vec<String> = ["stays".to_owned()].into_iter().chain((0..300).map(|n| format!("new {n}"))).collect();
    assert_eq!(points, expected);
    let counts = box_.counts()["s"];
    assert_eq!((counts.points, counts.bytes), (301, std::fs::metadata(&path).unwrap().len()));
}

#[test]
fn a_file_whose_letters_are_all_removed_goes() {
    let dir = tempfile::tempdir().unwrap();
    let box_ = DeadLetters::open(dir.path(), 1 << 20).unwrap();
    box_.put_at("s", &[dead("r", "p")], at("2026-11-20")).unwrap();
    let path = files(dir.path(), "s").unwrap().remove(0);
    let text = std::fs::read(&path).unwrap();
    remove(&path, [&text[..]].into_iter()).unwrap();
    assert!(!path.exists());
    assert_eq!(box_.counts()["s"], LetterCounts::default());
    remove(&path, [&text[..]].into_iter()).unwrap();
}

#[test]
fn one_day_alone_keeps_its_newest_at_the_cap() {
    let dir = tempfile::tempdir().unwrap();
    let box_ = DeadLetters::open(dir.path(), 4000).unwrap();
    for n in 0..100 {
        box_.put_at("s", &[dead("r", &format!("{n}"))], at("2026-11-20")).unwrap();
    }
    let left = letters(dir.path(), "s");
    assert!(left.len() > 15, "{}", left.len());
    let numbers: Vec<u32> = left.iter().map(|letter| letter.point.parse().unwrap()).collect();
    assert_eq!(numbers, (100 - left.len() as u32..100).collect::<Vec<_>>());
    assert_eq!(box_.counts()["s"].deleted_points, 100 - left.len() as u64);
}

#[test]
fn counts_survive_a_restart_and_a_torn_line_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    DeadLetters::open(dir.path(), 1 << 20).unwrap().put_at("s", &[dead("r", "1")], at("2026-11-20")).unwrap();
    let path = dir.path().join("s/2026-11-20.jsonl");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole[..], &whole[..9000.min(whole.len() - 3)]].concat()).unwrap();
    let box_ = DeadLetters::open(dir.path(), 1 << 20).unwrap();
    assert_eq!(box_.counts()["s"].points, 1);
    box_.put_at("s", &[dead("r", "2")], at("2026-11-20")).unwrap();
    let points: Vec<String> = letters(dir.path(), "s").into_iter().map(|letter| letter.point).collect();
    assert_eq!(points, ["1", "2"]);
    assert_eq!(memchr::memchr_iter(b'\n', &std::fs::read(&path).unwrap()).count(), 2);
}

#[test]
fn a_put_that_cannot_be_written_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let box_ = DeadLetters::open(dir.path(), 1 << 20).unwrap();
    std::fs::write(dir.path().join("s"), "a file where the folder should be").unwrap();
    assert!(box_.put("s", &[dead("r", "p")]).is_err());
    std::fs::remove_file(dir.path().join("s")).unwrap();
    box_.put("s", &[dead("r", "p")]).unwrap();
    assert_eq!(box_.counts()["s"].points, 1);
}

#[test]
fn many_threads_put_whole_lines() {
    let dir = tempfile::tempdir().unwrap();
    let box_ = DeadLetters::open(dir.path(), 1 << 20).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..25).for_each(|n| box_.put("s", &[dead("r", &n.to_string())]).unwrap()));
        }
    });
    assert_eq!(letters(dir.path(), "s").len(), 100);
    assert_eq!(box_.counts()["s"].points, 100);
}
