//! Promise: what was refused can be seen with its reason, and sent again once the reason is gone.

#[path = "support/far_end.rs"]
mod far_end;
mod support;

use far_end::{FarEnd, Reply, Request};
use serde_json::{Value, json};
use support::{Agent, Root, wait_for, wait_until};

/// A far end that refuses every line of the measurement `poison`, on a runtime of its own.
struct Picky {
    _runtime: tokio::runtime::Runtime,
    far: FarEnd,
}

fn refuse_poison(request: &Request, _: usize) -> Reply {
    match request.lines().iter().find(|line| line.starts_with("poison")) {
        Some(line) => Reply::body(400, json!({"error": format!("unable to parse '{line}': no poison")}).to_string()),
        None => Reply::status(204),
    }
}

impl Picky {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let far = runtime.block_on(FarEnd::start(refuse_poison));
        Self { _runtime: runtime, far }
    }

    fn root(&self) -> Root {
        let root = Root::new();
        let url = self.far.url();
        root.conf("sink.conf", &format!("[sinks.influxdb.far]\nurl = \"{url}\"\ndatabase = \"d\"\ngzip = false\n"));
        root
    }

    fn took(&self, part: &str) -> usize {
        let lines = self.far.accepted().iter().flat_map(Request::lines).collect::<Vec<_>>();
        lines.iter().filter(|line| line.contains(part)).count()
    }
}

fn post(agent: &Agent, path: &str, points: &Value) -> u16 {
    agent.post_json(path, points).status
}

fn poison(from: u64, count: u64) -> Value {
    (from..from + count)
        .map(|n| json!({"measurement": "poison", "fields": {"n": n}, "time": 1_700_000_000_000_000_000 + n}))
        .collect()
}

/// How many letters the agent's status counts.
fn counted(agent: &Agent, who: &str) -> u64 {
    let status = agent.status();
    let all = status["dead_letters"].as_array().unwrap();
    all.iter().find(|one| one["who"] == who).map_or(0, |one| one["points"].as_u64().unwrap())
}

#[test]
fn refused_points_are_listed_and_shown_without_an_agent() {
    let picky = Picky::start();
    let root = picky.root();
    let agent = root.agent();
    assert_eq!(post(&agent, "/v1/write/metric?input=disks", &poison(0, 3)), 200);
    let event = json!([{"measurement": "e", "fields": {"df_status": "bad"}}]);
    assert_eq!(post(&agent, "/v1/write/keyevent?input=alarms", &event), 400);
    wait_until("the sink's letters", || root.dead("far").len() == 3);
    agent.stop();

    let (code, text, _) = root.run(&["deadletter", "list"]);
    assert_eq!(code, 0);
    let far = text.lines().find(|line| line.starts_with("far")).unwrap();
    assert!(far.contains("  3  ") && far.contains("no poison"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("ingest") && line.contains("1× `df_")), "{text}");

    let (_, text, _) = root.run(&["deadletter", "list", "--sink", "far", "--json"]);
    let groups: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&groups[0]["who"], &groups[0]["points"], &groups[1]), (&json!("far"), &json!(3), &Value::Null));
    assert_eq!(
        groups[0]["reasons"].as_array().unwrap().iter().filter_map(|one| one["points"].as_u64()).sum::<u64>(),
        3
    );

    let (code, text, _) = root.run(&["deadletter", "show"]);
    assert_eq!(code, 0);
    for part in ["input disks", "refused by far", "poison,host=testhost n=1.0 17", "refused by ingest", "`bad`"] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
    let (_, text, _) = root.run(&["deadletter", "show", "--sink", "far", "--limit", "1", "--json"]);
    let letter: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&letter["sink"], &letter["input"], &letter["category"]),
        (&json!("far"), &json!("disks"), &json!("metric"))
    );

    let (code, _, text) = root.run(&["deadletter", "show", "--sink", "near"]);
    assert_eq!(code, 2);
    assert!(text.contains("far, ingest"), "{text}");
    let (code, text, _) = Root::new().run(&["deadletter", "list"]);
    assert_eq!((code, text.as_str()), (0, "no dead letters: nothing was refused for good\n"));
}

#[test]
fn resent_points_arrive_and_their_letters_go() {
    let picky = Picky::start();
    let root = picky.root();
    let agent = root.agent();
    // More than one request, and two letters that are the same but for the time.
    assert_eq!(post(&agent, "/v1/write/metric?input=a", &poison(0, 30)), 200);
    assert_eq!(post(&agent, "/v1/write/logging?input=b/b.script", &poison(30, 5)), 200);
    wait_until("the sink's letters", || root.dead("far").len() == 35);
    picky.far.turn(|_, _| Reply::status(204));

    let (code, text, error) = root.run(&["deadletter", "resend", "--sink", "far"]);
    assert_eq!((code, text.as_str()), (0, "35 points sent again and removed\n"), "{error}");
    wait_until("all at the far end", || picky.took("poison") == 35);
    for n in [0, 17, 34] {
        assert_eq!(picky.took(&format!("{}", 1_700_000_000_000_000_000_u64 + n)), 1, "the time is the first one's");
    }
    assert_eq!((root.dead("far").len(), counted(&agent, "far")), (0, 0));
    let text = agent.get("/metrics").text();
    assert!(text.contains("input=\"b/b.script\""), "the sender keeps its name:\n{text}");

    // The agent goes on writing letters where some were removed.
    picky.far.turn(refuse_poison);
    assert_eq!(post(&agent, "/v1/write/metric?input=a", &poison(50, 2)), 200);
    wait_until("new letters", || root.dead("far").len() == 2);
    assert_eq!(counted(&agent, "far"), 2);
}

#[test]
fn what_is_refused_again_stays_and_is_not_written_twice() {
    let root = Root::new();
    let agent = root.agent();
    let event = |status: &str| json!({"measurement": "e", "fields": {"df_source": "system", "df_status": status, "df_event_id": "1", "df_title": "t", "df_date_range": 10}});
    assert_eq!(post(&agent, "/v1/write/keyevent", &json!([event("bad"), event("worse")])), 400);
    assert_eq!(post(&agent, "/v1/write/metric", &json!([{"measurement": "m", "fields": {}}])), 400);
    let before = root.dead("ingest");
    assert_eq!(before.len(), 3);

    let (code, text, _) = root.run(&["deadletter", "resend"]);
    assert_eq!(code, 6, "{text}");
    for part in ["0 points sent", "2 refused again", "`bad`", "1 are no whole line protocol"] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
    assert_eq!(root.dead("ingest"), before);
    agent.stop();

    // What the rules take now goes, the rest stays.
    root.conf("events.conf", "[events]\nextra_status = [\"bad\"]\n");
    let agent = root.agent();
    let (code, text, _) = root.run(&["deadletter", "resend", "--sink", "ingest"]);
    assert_eq!(code, 6);
    assert!(text.contains("1 points sent") && text.contains("1 refused again") && text.contains("worse"), "{text}");
    agent.wait_delivered();
    wait_until("the event", || root.points("keyevent").matches("df_status=\"bad\"").count() == 1);
    assert_eq!(root.dead("ingest"), before[1..]);
    assert_eq!(counted(&agent, "ingest"), 2);
}

#[test]
fn without_an_agent_a_resend_ends_with_7_and_keeps_everything() {
    let picky = Picky::start();
    let root = picky.root();
    let agent = root.agent();
    assert_eq!(post(&agent, "/v1/write/metric", &poison(0, 2)), 200);
    let before = wait_for("the letters", || {
        let letters = root.dead("far");
        if letters.len() == 2 { Ok(letters) } else { Err(format!("{letters:?}")) }
    });
    agent.kill();
    let (code, _, text) = root.run(&["deadletter", "resend"]);
    assert_eq!(code, 7);
    assert!(text.contains("no agent answers"), "{text}");
    assert_eq!(root.dead("far"), before);
}

/// An answer names the first hundred refused points only; the others must not be taken for kept.
#[test]
fn among_hundreds_that_are_refused_again_the_good_ones_are_found() {
    let root = Root::new();
    let agent = root.agent();
    let event = |n: u64| {
        let status = if n.is_multiple_of(50) { "mended" } else { "bad" };
        json!({"measurement": "e", "fields": {"df_source": "system", "df_status": status, "df_event_id": n.to_string(), "df_title": "t", "df_date_range": 10}})
    };
    assert_eq!(post(&agent, "/v1/write/keyevent", &(1..=500).map(event).collect()), 400);
    agent.stop();
    root.conf("events.conf", "[events]\nextra_status = [\"mended\"]\n");
    let agent = root.agent();
    let (code, text, _) = root.run(&["deadletter", "resend"]);
    assert_eq!(code, 6);
    assert!(text.contains("10 points sent") && text.contains("490 refused again"), "{text}");
    assert_eq!((root.dead("ingest").len(), counted(&agent, "ingest")), (490, 490));
    agent.wait_delivered();
    wait_until("the events", || root.points("keyevent").matches("df_status=\"mended\"").count() == 10);
}
