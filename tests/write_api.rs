//! Promise: the write API answers as DataKit's clients expect, and every no says why.

mod support;

use std::io::Write;

use serde_json::json;
use support::{Agent, Root, http, wait_until};

fn agent() -> (Root, Agent) {
    let root = Root::new();
    let agent = root.agent();
    (root, agent)
}

const JSON: (&str, &str) = ("Content-Type", "application/json");

#[test]
fn each_category_takes_json_and_line_protocol() {
    let (root, agent) = agent();
    for category in
        ["metric", "network", "keyevent", "object", "custom_object", "logging", "tracing", "rum", "security"]
    {
        let mut fields = json!({"v": 1.5, "message": "m"});
        if category == "keyevent" {
            fields = json!({"df_source": "system", "df_status": "ok", "df_event_id": "e", "df_title": "t", "df_date_range": 0});
        }
        let answer =
            agent.post_json(&format!("/v1/write/{category}"), &json!([{"measurement": "j", "fields": fields}]));
        assert_eq!(
            (answer.status, answer.text().as_str(), answer.header("content-type")),
            (200, "", None),
            "{category}"
        );
        if category != "keyevent" {
            assert_eq!(
                agent.post(&format!("/v1/write/{category}"), &[], b"l f=1i 1700000000000000000\n").status,
                200,
                "{category}"
            );
        }
        wait_until(&format!("both points of {category}"), || {
            root.points(category).lines().count() == if category == "keyevent" { 1 } else { 2 }
        });
    }
    assert!(root.points("metric").contains("l,host=testhost f=1i 1700000000000000000\n"));
}

#[test]
fn a_body_in_another_form_than_its_type_says_is_told_what_would_be_right() {
    let (root, agent) = agent();
    let json = r#" [{"measurement":"m","tags":{"a":"b"},"fields":{"v":1}}]"#;
    let several = "[\n  {\"measurement\": \"m\",\n   \"fields\": {\"v\": 1}}\n]\n";
    let gzipped = {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(b"m f=1\n").unwrap();
        gzip.finish().unwrap()
    };
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let text = ("Content-Type", "text/plain");
    for (headers, body, code, hint) in [
        (
            vec![form],
            json.as_bytes(),
            "datakit.invalidLinePoint",
            "looks like JSON; send it with `Content-Type: application/json`",
        ),
        (
            vec![text],
            several.as_bytes(),
            "datakit.invalidLinePoint",
            "looks like JSON; send it with `Content-Type: application/json`",
        ),
        (
            vec![],
            br#"{"measurement":"m"}"#,
            "datakit.invalidLinePoint",
            "looks like JSON; send it with `Content-Type: application/json`",
        ),
        (
            vec![text],
            "\u{feff}[1]".as_bytes(),
            "datakit.invalidLinePoint",
            "looks like JSON; send it with `Content-Type: application/json`",
        ),
        (vec![text], &gzipped, "datakit.invalidLinePoint", "looks like gzip; send it with `Content-Encoding: gzip`"),
        (
            vec![JSON],
            b"m,a=b v=1\n",
            "datakit.invalidJSON",
            "looks like line protocol: send it with `Content-Type: text/plain`",
        ),
    ] {
        let answer = agent.post("/v1/write/metric", &headers, body);
        let said: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        let message = said["message"].as_str().unwrap();
        assert_eq!((answer.status, &said["error_code"]), (400, &code.into()), "{message}");
        assert!(message.contains(hint), "{message}");
    }
    // A measurement may begin so.
    assert_eq!(agent.post("/v1/write/metric", &[text], b"[x v=1\n{y v=1\n").status, 200);
    wait_until("both points", || root.points("metric").lines().count() == 2);
}

#[test]
fn what_was_changed_or_left_out_is_in_the_answer_the_status_and_the_framework_log() {
    let (root, agent) = agent();
    let body = json!([{
        "measurement": "m", "timestamp": 17, "time": -1,
        "tags": {"time": "a", "n": 5, "e": "", "c": "a\nb"},
        "fields": {"time": 5, "n": 6, "list": [1], "y": 1},
    }]);
    let told = || {
        let answer = agent.post_json("/v1/write/metric?input=mine", &body);
        assert_eq!((answer.status, answer.text().as_str()), (200, ""));
        let header = answer.header("x-pythond-repaired").unwrap().to_owned();
        let entries: Vec<serde_json::Value> = serde_json::from_str(&header).unwrap();
        entries
            .iter()
            .map(|entry| format!("{} {} {}", entry["code"], entry["kind"], entry["key"]).replace('"', ""))
            .collect::<Vec<_>>()
    };
    let once = told();
    for wanted in [
        "PD0412 unknown_key timestamp",
        "PD0407 time_replaced time",
        "PD0412 reserved_key tags.time",
        "PD0412 reserved_key fields.time",
        "PD0412 tag_and_field fields.time_",
        "PD0412 tag_and_field fields.n",
        "PD0408 tag_not_text tags.n",
        "PD0408 empty_tag tags.e",
        "PD0416 found_new_line_or_tail_escape tags.c",
        "PD0416 nested_value fields.list",
    ] {
        assert!(once.iter().any(|entry| entry == wanted), "{wanted} in {once:#?}");
    }
    assert_eq!(once.len(), 10, "{once:#?}");
    assert_eq!(told(), once);
    let status = agent.status();
    let shown = status["repaired"].as_array().unwrap();
    assert_eq!(shown.len(), 10, "{shown:#?}");
    assert!(shown.iter().all(|one| one["input"] == "mine" && one["times"] == 2), "{shown:#?}");
    let (_, out, _) = root.run(&["status"]);
    assert!(out.contains("points to mine: tag `time` became `time_`: "), "{out}");
    let log = root.log("_datakit_pythond_framework_mine_.log");
    assert_eq!(log.matches("tag value `a\\nb` of tag `c` became `a b`").count(), 1, "{log}");
    // Such a point has all that it needs, and nobody is told what is added to it.
    let answer = agent.post_json("/v1/write/logging", &json!([{"measurement": "m", "fields": {"message": "m"}}]));
    assert_eq!((answer.status, answer.header("x-pythond-repaired")), (200, None));
    let answer = agent.post_json(
        "/v1/write/metric",
        &json!([{"fields": {}}, {"measurement": "m", "tags": {"n": 1}, "fields": {"v": 1}}]),
    );
    assert_eq!(answer.status, 400);
    assert!(answer.header("x-pythond-repaired").unwrap().contains("tags.n"), "also where others were refused");
}

#[test]
fn every_no_has_datakits_code() {
    let (_root, agent) = agent();
    for (path, headers, body, status, code) in [
        ("/v1/write/metrics", vec![JSON], "[]", 400, "datakit.invalidCategory"),
        ("/v1/write/metric", vec![JSON], "", 400, "datakit.emptyBody"),
        ("/v1/write/metric", vec![], "", 400, "datakit.emptyBody"),
        ("/v1/write/metric", vec![JSON], "[]", 400, "datakit.noPoints"),
        ("/v1/write/metric", vec![JSON], "null", 400, "datakit.noPoints"),
        ("/v1/write/metric", vec![JSON], "{}", 400, "datakit.invalidJsonPoint"),
        ("/v1/write/metric", vec![JSON], "[null]", 400, "datakit.invalidJsonPoint"),
        ("/v1/write/metric", vec![JSON], "[{", 400, "datakit.invalidJSON"),
        ("/v1/write/metric", vec![], "no line", 400, "datakit.invalidLinePoint"),
        ("/v1/write/metric?precision=d", vec![], "m f=1", 400, "datakit.invalidPrecision"),
        ("/v1/write/metric?encoding=br", vec![], "m f=1", 400, "datakit.decodeBodyFailed"),
        ("/v1/write/metric", vec![("Content-Encoding", "gzip")], "m f=1", 400, "datakit.decodeBodyFailed"),
        (
            "/v1/write/metric",
            vec![("Content-Type", "application/protobuf; proto=com.guance.Point")],
            "x",
            400,
            "datakit.invalidProtobufPoint",
        ),
        (
            "/v1/write/logging?strict=1",
            vec![JSON],
            r#"[{"measurement":"m","fields":{"message":"m"}}]"#,
            400,
            "datakit.pointGotWarning",
        ),
        ("/v1/lasterror", vec![], "{}", 400, "datakit.invalidData"),
        ("/v1/lasterror", vec![], "nonsense", 400, "datakit.invalidJSON"),
        ("/v1/nothing", vec![], "", 404, "datakit.notFound"),
    ] {
        let answer = agent.post(path, &headers, body.as_bytes());
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        assert_eq!(answer.json()["error_code"], code, "{path} {body}: {}", answer.text());
        assert!(!answer.json()["message"].as_str().unwrap().is_empty());
    }
    assert_eq!(agent.get("/v1/write/metric").status, 405);
}

#[test]
fn one_bad_event_of_three_is_named_and_the_two_are_kept() {
    let (root, agent) = agent();
    let event = |status: &str, id: &str| json!({"measurement": "e", "fields": {"df_source": "system", "df_status": status, "df_event_id": id, "df_title": "t", "df_date_range": 10}});
    let answer = agent.post_json(
        "/v1/write/keyevent",
        &json!([event("ok", "first"), event("bad", "second"), event("info", "third")]),
    );
    assert_eq!(answer.status, 400);
    let said = answer.json();
    assert_eq!(said["accepted"], 2);
    let refused = said["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 1);
    assert_eq!((&refused[0]["index"], &refused[0]["field"]), (&json!(1), &json!("df_status")));
    let reason = refused[0]["reason"].as_str().unwrap();
    assert!(reason.contains("`bad`") && reason.contains("ok, info, warning, error, critical, nodata"), "{reason}");
    wait_until("the two at the sink", || root.points("keyevent").lines().count() == 2);
    assert!(root.points("keyevent").contains("\"first\"") && root.points("keyevent").contains("\"third\""));
    let dead = root.dead("ingest");
    assert_eq!(dead.len(), 1);
    assert!(dead[0]["point"].as_str().unwrap().contains("second"), "{dead:?}");
    assert_eq!(dead[0]["reason"], refused[0]["reason"]);
}

#[test]
fn events_are_only_warned_of_where_the_settings_say_so() {
    let root = Root::new();
    root.conf("events.conf", "[events]\non_invalid = \"warn\"\n");
    let agent = root.agent();
    let event = json!([{"measurement": "e", "fields": {"df_source": "system", "df_status": "bad", "df_event_id": "e", "df_title": "t", "df_date_range": 1}}]);
    assert_eq!(agent.post_json("/v1/write/keyevent", &event).status, 200);
    assert!(agent.get("/metrics").text().contains("invalid_event"));
}

#[test]
fn packed_bodies_are_taken() {
    let (root, agent) = agent();
    let plain = b"packed f=1 1700000000000000000\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    gzip.write_all(plain).unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
    zlib.write_all(plain).unwrap();
    for (encoding, body) in [
        ("gzip", gzip.finish().unwrap()),
        ("deflate", zlib.finish().unwrap()),
        ("zstd", zstd::encode_all(&plain[..], 1).unwrap()),
    ] {
        assert_eq!(agent.post("/v1/write/metric", &[("Content-Encoding", encoding)], &body).status, 200, "{encoding}");
        assert_eq!(
            agent.post(&format!("/v1/write/metric?encoding={encoding}"), &[], &body).status,
            200,
            "{encoding} as an argument"
        );
    }
    wait_until("six points", || root.points("metric").lines().count() == 6);
}

#[test]
fn arguments_do_what_datakit_says() {
    let (root, agent) = agent();
    let point = json!([{"measurement": "m", "tags": {"t": "v"}, "fields": {"f": 1}, "time": 1_700_000_000}]);
    let echo = agent.post_json("/v1/write/metric?echo=lp", &point);
    assert_eq!((echo.status, echo.text().as_str()), (200, "m,host=testhost,t=v f=1.0 1700000000000000000"));
    let echo = agent.post_json("/v1/write/metric?echo=json&precision=ms&ignore_global_tags=1", &point);
    let said = echo.json();
    assert_eq!(said[0]["tags"], json!({"t": "v"}));
    assert_eq!(said[0]["time"], json!(1_700_000_000_000_000_i64));
    assert_eq!(agent.post_json("/v1/write/metric?dry=1", &point).status, 200);
    agent.wait_delivered();
    wait_until("two points: dry kept nothing", || root.points("metric").lines().count() == 2);
}

#[test]
fn integers_are_kept_where_the_settings_say_so() {
    let root = Root::new();
    root.conf("ingest.conf", "[ingest]\nintegers = \"keep\"\n");
    let agent = root.agent();
    let echo = agent.post_json(
        "/v1/write/metric?echo=lp",
        &json!([{"measurement": "m", "fields": {"f": 1}, "time": 1_700_000_000}]),
    );
    assert_eq!(echo.text(), "m,host=testhost f=1i 1700000000000000000");
}

#[test]
fn foreign_pages_and_hosts_are_refused() {
    let (_root, agent) = agent();
    let point = b"m f=1\n";
    assert_eq!(agent.post("/v1/write/metric", &[("Origin", "http://evil.example")], point).status, 403);
    assert_eq!(agent.post("/v1/write/metric", &[("Host", "evil.example")], point).status, 403);
    assert_eq!(agent.get("/api/v1/status").status, 200);
    let rebound = http::tcp(&agent.address, "GET", "/api/v1/status", &[("Host", "evil.example")], b"").unwrap();
    assert_eq!((rebound.status, &rebound.json()["error_code"]), (403, &json!("pythond.foreignHost")));
}

#[test]
fn a_set_token_is_asked_for_and_the_workers_need_none() {
    let root = Root::new();
    root.conf("agent.conf", "[http_api]\nlisten = \"127.0.0.1:0\"\ntokens = [\"s3cret\"]\n");
    root.script("a/a.py", "from datakit_framework import DataKitFramework\nclass A(DataKitFramework):\n    def run(self):\n        self.feed_metric(measurement='a', fields={'v': 1})\n");
    root.input("a", &["a"], "");
    let agent = root.agent();
    assert_eq!(agent.post("/v1/write/metric", &[], b"m f=1\n").status, 403);
    assert_eq!(agent.post("/v1/write/metric", &[("Authorization", "Bearer wrong")], b"m f=1\n").status, 403);
    assert_eq!(agent.post("/v1/write/metric", &[("Authorization", "Bearer s3cret")], b"m f=1\n").status, 200);
    wait_until("the script's point", || root.points("metric").contains("a,"));
    assert!(!agent.console().contains("s3cret"));
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let root = Root::new();
    root.conf("agent.conf", "[http_api]\nlisten = \"127.0.0.1:0\"\nmax_body = \"64KiB\"\n");
    let agent = root.agent();
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
    bomb.write_all(&vec![b' '; 8 << 20]).unwrap();
    for (headers, body) in [(vec![], vec![b'x'; 100_000]), (vec![("Content-Encoding", "gzip")], bomb.finish().unwrap())]
    {
        let answer = agent.post("/v1/write/metric", &headers, &body);
        assert_eq!((answer.status, &answer.json()["error_code"]), (413, &json!("datakit.bodyTooLarge")));
    }
    assert_eq!(agent.post("/v1/write/metric", &[], b"m f=1\n").status, 200);
}

#[test]
fn the_small_endpoints_answer() {
    let (_root, agent) = agent();
    let ping = agent.get("/v1/ping").json();
    assert_eq!(ping["content"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(ping["content"]["host"], "testhost");
    assert!(agent.get("/v1/ntp").json()["timestamp_sec"].as_u64().unwrap() > 1_700_000_000);
    let said = agent.post_json("/v1/lasterror", &json!({"input": "mine", "err_content": "disk on fire"}));
    assert_eq!((said.status, said.text().as_str()), (200, ""));
    assert_eq!(agent.status()["last_errors"][0]["text"], "disk on fire");
    agent.post("/v1/write/metric?input=who", &[], b"m f=1\n");
    let metrics = agent.get("/metrics");
    assert!(
        metrics.text().contains(r#"pythond_points_accepted_total{category="metric",input="who"} 1"#),
        "{}",
        metrics.text()
    );
}

#[test]
fn one_connection_takes_many_requests_and_outlives_a_bad_one() {
    use std::io::Read;
    let (_root, agent) = agent();
    let mut stream = std::net::TcpStream::connect(&agent.address).unwrap();
    let request = |body: &str| {
        format!("POST /v1/write/metric HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    for (body, status) in [("m f=1\n", "200"), ("bad", "400"), ("m f=2\n", "200")] {
        stream.write_all(request(body).as_bytes()).unwrap();
        let mut answer = [0; 4096];
        let count = stream.read(&mut answer).unwrap();
        let text = String::from_utf8_lossy(&answer[..count]);
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{text}");
    }
}
