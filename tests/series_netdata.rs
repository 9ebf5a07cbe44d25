//! Promise: rates and shares are those that the real netdata stored for the same rows, but for the differences that are wanted.
//!
//! The case lies beside the project: `rows.json` and `emitted.jsonl` are what netdata was fed at which times, `<chart>.csv` is what it stored,
//! a value for each second. Without it the tests say that they were skipped.

#[path = "support/machine.rs"]
mod machine;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pythond::point::Value;
use pythond::series::{LastValues, Moment, NoValue, Number, Options, RowKind, RowValue, Transaction, Wrap};

/// What ours gave for a dimension: seconds since 1970 and value, by row.
type Given = Vec<(f64, f64)>;

struct Case {
    dir: PathBuf,
    charts: BTreeMap<String, serde_json::Value>,
    times: Vec<f64>,
}

impl Case {
    fn open() -> Option<Self> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases/netdata/algorithms");
        let dir = machine::case("netdata/algorithms", dir)?;
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
        let rows: serde_json::Value = serde_json::from_str(&read("rows.json")).unwrap();
        let charts = serde_json::from_value(rows["charts"].clone()).unwrap();
        let emitted = read("emitted.jsonl");
        let times = emitted.lines().map(|line| serde_json::from_str::<(f64, usize)>(line).unwrap().0).collect();
        Some(Self { dir, charts, times })
    }

    /// What netdata stored for a dimension: the second, and the value if there is one.
    fn stored(&self, chart: &str, dimension: &str) -> Vec<(f64, Option<f64>)> {
        let text = std::fs::read_to_string(self.dir.join(format!("{chart}.csv"))).unwrap();
        let mut lines = text.lines();
        let column = lines.next().unwrap().split(',').position(|name| name == dimension).unwrap();
        let one = |line: &str| {
            let cells: Vec<&str> = line.split(',').collect();
            let time: jiff::civil::DateTime = cells[0].replace(' ', "T").parse().unwrap();
            let second = time.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second();
            (second as f64, cells[column].parse().ok())
        };
        lines.map(one).collect()
    }

    /// Counts a chart out, row by row; by dimension, and how many steps were resets.
    fn count(&self, chart: &str) -> (BTreeMap<String, Given>, u64) {
        let chart = &self.charts[chart];
        let (mut last, mut given, mut resets) = (LastValues::default(), BTreeMap::<String, Given>::new(), 0);
        for (row, time) in chart["rows"].as_array().unwrap().iter().zip(&self.times) {
            let key = last.job("unit", "job").row("chart", &[]);
            let moment = Moment { time_ns: (time * 1e9) as i64, interval_s: 1.0 };
            let mut transaction = Transaction::default();
            let readings = readings(&chart["dims"], row);
            for (field, value) in transaction.fields(readings, &key, moment, &|key| last.get(key, Duration::ZERO)) {
                let Value::Float(value) = value else { panic!("{field} is no float") };
                given.entry(field.into_owned()).or_default().push((*time, value));
            }
            resets += transaction.counts.of(NoValue::Reset);
            last.commit(&mut transaction.into_changes(), Duration::ZERO, 1000);
        }
        (given, resets)
    }

    /// Holds the sum of rates over time against netdata's, up to the last second that it stored.
    fn sums_agree(&self, chart: &str, dimension: &str) {
        let stored = self.stored(chart, dimension);
        let until = stored.last().unwrap().0;
        let given = &self.count(chart).0[dimension];
        let mut ours = 0.0;
        let mut rates = Vec::new();
        for (time, rate) in given {
            // From the row before, whether that gave a value or not.
            let before = *self.times[..]
                .iter()
                .rfind(|before| **before < *time && self.has(chart, dimension, **before))
                .unwrap();
            ours += rate * (time.min(until) - before).max(0.0);
            rates.push((before, *time, *rate));
        }
        // A second that netdata did not store, as within a gap, had our rate.
        let at =
            |second: f64| rates.iter().find(|(from, to, _)| (*from..*to).contains(&second)).map_or(0.0, |rate| rate.2);
        let seconds = (stored[0].0 as u64..=until as u64).map(|second| second as f64);
        let theirs: f64 = seconds
            .map(|second| {
                let known = stored.iter().find(|(time, _)| *time == second).and_then(|(_, value)| *value);
                known.unwrap_or_else(|| at(second - 0.5))
            })
            .sum();
        let differ = (ours - theirs).abs() / theirs.abs();
        assert!(differ < 0.005, "{chart}.{dimension}: ours {ours}, netdata's {theirs}");
    }

    fn has(&self, chart: &str, dimension: &str, time: f64) -> bool {
        let place = self.times.iter().position(|other| *other == time).unwrap();
        !self.charts[chart]["rows"][place][dimension].is_null()
    }

    /// Holds values against those that netdata stored for the second in which their row came.
    fn values_agree(&self, chart: &str, dimension: &str) {
        let given = &self.count(chart).0[dimension];
        let stored = self.stored(chart, dimension);
        assert!(stored.len() > 20);
        for (second, value) in stored {
            let ours = given.iter().find(|(time, _)| time.floor() == second).unwrap_or_else(|| panic!("{second}"));
            assert!((ours.1 - value.unwrap()).abs() < 1e-9, "{chart}.{dimension} at {second}: ours {}", ours.1);
        }
    }
}

fn readings(dimensions: &serde_json::Value, row: &serde_json::Value) -> Vec<RowValue<'static>> {
    let one = |dimension: &serde_json::Value| {
        let value = &row[dimension[0].as_str()?];
        let number = value.as_u64().map(Number::Unsigned).or(value.as_i64().map(Number::Negative))?;
        let (kind, wrap) = match dimension[2].as_str()? {
            "incremental" => (RowKind::Counter, Wrap::Auto),
            "percentage-of-absolute-row" => (RowKind::RowPercent, Wrap::Never),
            "percentage-of-incremental-row" => (RowKind::RowPercentInc, Wrap::Never),
            _ => (RowKind::Gauge, Wrap::Never),
        };
        let scale = dimension[3].as_f64()? / dimension[4].as_f64()?;
        let options = Some(Box::new(Options { kind, wrap, scale, ..Options::PLAIN }));
        Some(RowValue { field: dimension[1].as_str()?.to_owned().into(), value: number, options })
    };
    dimensions.as_array().unwrap().iter().filter_map(one).collect()
}

#[test]
fn sums_of_rates_agree() {
    let Some(case) = Case::open() else { return };
    for (chart, dimension) in [
        ("inc", "x"),
        ("inc", "y"),
        ("jump", "x"),
        ("reset", "x"),
        ("reset_big", "x"),
        ("wrap32", "x"),
        ("big", "x"),
        ("gap", "x"),
        ("sparse", "y"),
    ] {
        case.sums_agree(chart, dimension);
    }
}

#[test]
fn values_and_shares_are_the_same() {
    let Some(case) = Case::open() else { return };
    for (chart, dimensions) in [
        ("abs", &["a", "b", "c"][..]),
        ("pabs", &["u", "f"]),
        ("pabs_mixed", &["u", "f"]),
        ("pinc", &["u", "f"]),
        ("pinc_dec", &["u", "f"]),
    ] {
        for dimension in dimensions {
            case.values_agree(chart, dimension);
        }
    }
}

#[test]
fn the_wanted_differences_are_these() {
    let Some(case) = Case::open() else { return };
    // A reset gives no value, where netdata shows 0; a wrap is no reset, and counts the step to 0.
    for (chart, resets) in [("reset", 1), ("reset_big", 1), ("wrap32", 0), ("inc", 0)] {
        let (given, counted) = case.count(chart);
        assert_eq!((given["x"].len(), counted), (29 - resets as usize, resets), "{chart}");
    }
    let gained = |chart: &str| {
        let given = &case.count(chart).0["x"];
        given
            .iter()
            .map(|(time, rate)| {
                let before = case.times.iter().rfind(|before| **before < *time).unwrap();
                rate * (time - before)
            })
            .sum::<f64>()
    };
    assert!((gained("wrap32") - 2900.0).abs() < 1e-3, "netdata counts 2899: {}", gained("wrap32"));
    // A dimension that reports every third row is divided by the three seconds: 100, where netdata shows 209.9.
    let sparse = &case.count("sparse").0["x"];
    assert_eq!(sparse.len(), 9);
    assert!(sparse.iter().all(|(_, rate)| (rate - 100.0).abs() < 0.5), "{sparse:?}");
    // One rate over the whole gap, where netdata shows two seconds of it and stores nothing for the others.
    let gap = &case.count("gap").0["x"];
    let over_the_gap = gap.windows(2).find(|two| two[1].0 - two[0].0 > 2.0).expect("there is a gap");
    assert!((over_the_gap[1].1 - 100.0).abs() < 0.5);
}
