//! The VictoriaMetrics sink against a real VictoriaMetrics.

mod support {
    pub mod pipe;
    pub mod server;
}

use std::collections::BTreeMap;
use std::path::Path;

use pythond::config::sinks::{HttpSettings, SinkKind, SinkSettings, VictoriametricsSink};
use pythond::point::Category;
use pythond::sinks::SinkState;
use support::pipe::{self, Pipe};
use support::server::Server;

fn server() -> Option<Server> {
    Server::start("victoria-metrics", "victoria-metrics", |dir: &Path, port| {
        let flags = [
            format!("-httpListenAddr=127.0.0.1:{port}"),
            format!("-storageDataPath={}/data", dir.display()),
            "-retentionPeriod=100y".to_owned(),
            "-memory.allowedBytes=64MB".to_owned(),
        ];
        flags.to_vec()
    })
}

fn settings(server: &Server, labels: &[(&str, &str)]) -> SinkSettings {
    let extra_labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let http = HttpSettings::default_of(&format!("http://{}", server.address()));
    pipe::settings(SinkKind::Victoriametrics(VictoriametricsSink { http, extra_labels }))
}

type Labels = BTreeMap<String, String>;

/// Every sample: its labels, value and time in milliseconds.
fn export(server: &Server) -> Vec<(Labels, f64, i64)> {
    assert_eq!(server.get("/internal/force_flush").0, 200);
    let (status, body) = server.get("/api/v1/export?match[]={__name__!=%22%22}");
    assert_eq!(status, 200, "{body}");
    let mut samples = Vec::new();
    for series in body.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()) {
        let labels: Labels = serde_json::from_value(series["metric"].clone()).unwrap();
        let (values, times) = (series["values"].as_array().unwrap(), series["timestamps"].as_array().unwrap());
        for (value, time) in values.iter().zip(times) {
            samples.push((labels.clone(), value.as_f64().unwrap(), time.as_i64().unwrap()));
        }
    }
    samples
}

fn named<'a>(samples: &'a [(Labels, f64, i64)], name: &str) -> Vec<&'a (Labels, f64, i64)> {
    samples.iter().filter(|(labels, ..)| labels["__name__"] == name).collect()
}

const NOW: i64 = 1_700_000_000_123;

#[tokio::test(flavor = "multi_thread")]
async fn numbers_and_booleans_arrive_and_strings_are_counted() {
    let Some(server) = server() else { return };
    let pipe = Pipe::new(settings(&server, &[("dc", "eu west,1=\"x\"")]));
    let line = format!(r#"disk,t=x f=1.5,i=-7i,u=9u,yes=true,no=false,s="12.5",text="C:\\x\\" {NOW}456789"#);
    pipe.put(Category::Metric, &[line.as_str()]).await;
    pipe.put(Category::Logging, &["log message=\"two\nlines v=3\",s=\"x\" 5"]).await;
    let report = pipe.drain().await;
    assert_eq!(report.dropped_fields.into_iter().collect::<Vec<_>>(), [("string", 4)]);
    let samples = export(&server);
    for (name, value) in [("disk_f", 1.5), ("disk_i", -7.0), ("disk_u", 9.0), ("disk_yes", 1.0), ("disk_no", 0.0)] {
        let found = named(&samples, name);
        assert_eq!(found.len(), 1, "{name}: {samples:?}");
        assert_eq!((found[0].1, found[0].2), (value, NOW), "{name}");
        assert_eq!((found[0].0["t"].as_str(), found[0].0["dc"].as_str()), ("x", "eu west,1=\"x\""), "{name}");
    }
    assert_eq!(samples.len(), 5, "{samples:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nasty_names_and_tags_come_back_as_they_were_sent() {
    let Some(server) = server() else { return };
    let nasty = [
        "a b",
        "a,b",
        "a=b",
        "C:\\dir",
        "a\\,b",
        "a\\ b",
        "a\\\\,b",
        "say \"hi\"",
        "#x",
        "é ключ 😀",
        "\"",
        "it's",
        "a\\nb",
        "{x=\"y\"}",
    ];
    let escaped = |text: &str| text.replace(',', "\\,").replace('=', "\\=").replace(' ', "\\ ");
    let pipe = Pipe::new(settings(&server, &[]));
    let lines: Vec<String> = (0..nasty.len())
        .map(|n| format!("m,n={n},tag={value},{value}=x v={n} {NOW}000000", value = escaped(nasty[n])))
        .collect();
    pipe.put(Category::Metric, &lines).await;
    let report = pipe.drain().await;
    assert_eq!((report.delivered, report.dead), (nasty.len() as u64, 0));
    let samples = export(&server);
    for (n, value) in nasty.iter().enumerate() {
        let found: Vec<_> = samples.iter().filter(|(labels, ..)| labels["n"] == n.to_string()).collect();
        assert_eq!(found.len(), 1, "{value:?}: {samples:?}");
        assert_eq!((found[0].0["tag"].as_str(), found[0].1), (*value, n as f64));
        assert_eq!(found[0].0.get(*value).map(String::as_str), Some("x"), "{value:?}: {:?}", found[0].0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_for_a_while_gets_everything() {
    let Some(mut server) = server() else { return };
    let pipe = Pipe::new(SinkSettings { max_batch: 400, ..settings(&server, &[]) });
    let line = |n: usize| format!("m v={n} {}000000", NOW + n as i64 * 1000);
    server.down();
    let pump = pipe.start();
    for n in 0..50 {
        pipe.put(Category::Metric, &[line(n)]).await;
    }
    pump.until_state(SinkState::Down).await;
    server.up();
    pump.until_empty().await;
    assert_eq!(pump.end().await.delivered, 50);
    let mut values: Vec<f64> = export(&server).iter().map(|(_, value, _)| *value).collect();
    values.sort_by(f64::total_cmp);
    assert_eq!(values, (0..50).map(f64::from).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_longer_than_the_server_takes_is_buried_and_costs_no_other() {
    let Some(server) = server() else { return };
    let pipe = Pipe::new(settings(&server, &[]));
    let long = format!("m {}=1 {NOW}000000", "x".repeat(300 << 10));
    let string = format!("m s=\"{}\",w=2 {NOW}000000", "x".repeat(300 << 10));
    pipe.put(Category::Metric, &[format!("m v=1 {NOW}000000"), long.clone(), string]).await;
    pipe.drain().await;
    assert_eq!(pipe.dead_points(), [long]);
    let samples = export(&server);
    assert_eq!((named(&samples, "m_v").len(), named(&samples, "m_w").len(), samples.len()), (1, 1, 2));
}
