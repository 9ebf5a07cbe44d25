//! Any body of rows: no panic; every row is taken or refused; what it gives, twice in a row and with a new time, has canonical lines.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use pythond::point::{Category, Decoded, Decoding, Point};
use pythond::series::{LastValues, Moment, Transaction, groups, json};
use pythond_fuzz::is_canonical;

const NOW_NS: i64 = 1_700_000_000_000_000_000;
const HOW: Decoding =
    Decoding { category: Category::Metric, precision: None, now_ns: NOW_NS, integers_as_floats: false };
const SERIES: usize = 8;

/// The bodies of several jobs: each lies in the whole, behind the one before.
fn are_apart(body: &[u8]) {
    let mut end = 0;
    for group in groups::groups(body).unwrap_or_default() {
        assert!(end < group.place.start && group.place.end <= body.len(), "in their order");
        end = group.place.end;
        assert!(!body[group.place].trim_ascii().is_empty(), "there is a value");
    }
}

fuzz_target!(|body: &[u8]| {
    are_apart(body);
    let told = json::job(body);
    let mut last = LastValues::default();
    for pass in 0..2_i64 {
        let Ok(read) = json::decode(body) else { return };
        if std::str::from_utf8(body).is_ok() {
            assert_eq!(told.as_deref(), Some(read.job.as_ref()), "the job is found before the body is read");
        }
        let mut indexes: Vec<usize> = read.rows.iter().map(|(index, _)| *index).collect();
        indexes.extend(read.refused.iter().map(|refusal| refusal.index));
        indexes.sort_unstable();
        assert!(indexes.iter().copied().eq(0..indexes.len()), "each index once: {indexes:?}");
        assert_eq!(json::texts(body).len(), indexes.len(), "each has a text");

        let (now, mut transaction, mut decoded) =
            (Duration::from_secs(pass as u64), Transaction::default(), Decoded::default());
        let job = last.job("unit", &read.job);
        for (index, row) in read.rows {
            let interval_s = row.interval_s.map_or(read.interval_s, f64::from);
            let moment = Moment { time_ns: row.time_ns.unwrap_or(NOW_NS + pass), interval_s };
            let key = job.row(&row.measurement, &row.tags);
            let readings = row.readings.len();
            let fields = transaction.fields(row.readings, &key, moment, &|series| last.get(series, now));
            assert!(fields.len() <= 2 * readings);
            let point =
                Point::new(row.measurement, row.tags, fields, moment.time_ns, HOW.category, &mut decoded.warnings);
            decoded.points.extend(point.ok().map(|point| (index, point)));
        }
        is_canonical(&decoded, &HOW);
        let mut changes = transaction.into_changes();
        while changes.len() > 0 {
            last.commit(&mut changes, now, SERIES);
            assert!(last.len() <= SERIES);
        }
    }
});
