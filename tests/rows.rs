//! Promise: a worker's counters become rates in the agent, whatever becomes of the worker; nobody else can send rows.

mod support;

use serde_json::{Value, json};
use support::{Agent, Root, http, wait_for};

/// Sends a counter that gains 1000 a second, and notes its process, its token and each answer; its second run ends in a crash.
const COUNTER: &str = "import gc, json, os, pathlib, time
from datakit_framework import DataKitFramework
from pythond import client
from pythond.rows import Reading, Row, encode

HERE = pathlib.Path(__file__).with_suffix('.answers')

class Counter(DataKitFramework):
    interval = 0.2

    def run(self):
        agent = next(thing for thing in gc.get_objects() if isinstance(thing, client.Agent))
        now = time.time_ns()
        row = Row('net', {'device': 'eth0'}, [Reading('in', now // 1_000_000, 'counter')], now)
        deadline = time.monotonic() + 10
        reply = agent.request('POST', '/v1/rows', 'application/json', encode('net', 60.0, [row]), deadline)
        said = {'pid': os.getpid(), 'token': agent._head.split()[1], 'status': reply.status, 'text': reply.text}
        with HERE.open('a') as answers:
            answers.write(json.dumps(said) + '\\n')
        if sum(1 for _ in HERE.open()) == 2:
            os._exit(9)
";

fn counting() -> Root {
    let root = Root::new();
    root.script("net/net.py", COUNTER);
    root.input("net", &["net"], "tags = { team = \"web\" }");
    root
}

/// The first so many answers that the worker got.
fn answers(root: &Root, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} answers"), || {
        let text = std::fs::read_to_string(root.path().join("python.d/net/net.answers")).unwrap_or_default();
        let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
        let answers: Vec<Value> = complete.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if answers.len() < count { Err(text) } else { Ok(answers) }
    })
}

fn counts(answer: &Value) -> Value {
    assert_eq!(answer["status"], 200, "{answer}");
    serde_json::from_str(answer["text"].as_str().unwrap()).unwrap()
}

fn metric(agent: &Agent, name: &str) -> u64 {
    let text = agent.get("/metrics").text();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

const ONE_RATE: fn() -> Value = || json!({"accepted": 1, "no_value": 0, "resets": 0});
const NO_RATE: fn() -> Value = || json!({"accepted": 0, "no_value": 1, "resets": 0});

#[test]
fn a_rate_survives_the_end_of_its_worker_and_costs_one_step_at_that_of_the_agent() {
    let root = counting();
    let agent = root.agent();
    let before = answers(&root, 5);
    assert_ne!(before[1]["pid"], before[2]["pid"], "the worker has crashed between");
    assert_eq!(counts(&before[0]), NO_RATE());
    assert!(before[1..5].iter().all(|answer| counts(answer) == ONE_RATE()), "{before:?}");
    assert!(metric(&agent, "pythond_rows_total") >= 5);
    assert_eq!(metric(&agent, "pythond_readings_without_value_total{reason=\"first\"}"), 1);
    assert_eq!(metric(&agent, "pythond_series "), 1);
    assert!(agent.script("net.net")["points_accepted"].as_u64().unwrap() >= 4);
    assert_eq!(agent.stop().0, 0);

    let points = root.points("metric");
    for line in points.lines() {
        let (series, rest) = line.split_once(" in=").unwrap();
        assert_eq!(series, "net,device=eth0,host=testhost,team=web");
        let rate: f64 = rest.split(' ').next().unwrap().parse().unwrap();
        // Times and values are of the same reading, so that only the cut to milliseconds differs.
        assert!((990.0..1010.0).contains(&rate), "{line}");
    }
    let known = answers(&root, 5).len();
    let _agent = root.agent();
    let after = answers(&root, known + 2);
    assert_eq!(counts(&after[known]), NO_RATE());
    assert_eq!(counts(&after[known + 1]), ONE_RATE());
}

#[test]
fn rows_are_taken_from_workers_over_their_socket_and_from_nobody_else() {
    let root = counting();
    let agent = root.agent();
    // Those of the worker after the crash.
    let token = answers(&root, 3)[2]["token"].as_str().unwrap().to_owned();
    let header = [("X-Pythond-Worker", token.as_str())];
    let body = json!({"job": "other", "interval": 1, "rows": [{"m": "other", "r": [["x", 1]]}]}).to_string();
    let unix =
        |headers: &[(&str, &str)]| http::unix(&root.socket(), "POST", "/v1/rows", headers, body.as_bytes()).unwrap();
    assert_eq!((unix(&header).status, unix(&header).json()), (200, ONE_RATE()));
    assert_eq!((unix(&[]).status, unix(&[]).json()["error_code"].clone()), (403, json!("pythond.noWorker")));
    let over_tcp = agent.post("/v1/rows", &header, body.as_bytes());
    assert_eq!((over_tcp.status, over_tcp.json()["error_code"].clone()), (404, json!("datakit.notFound")));
    assert!(!over_tcp.text().contains("/v1/rows, "), "what is not there is not offered: {}", over_tcp.text());
}

const MODULE: &str = "from bases.FrameworkServices.SimpleService import SimpleService
class Service(SimpleService):
    def __init__(self, configuration=None, name=None):
        SimpleService.__init__(self, configuration=configuration, name=name)
        self.order = ['v']
        self.definitions = {'v': {'options': [None, 't', 'u', 'f', 'many', 'line'], 'lines': [['v']]}}
    def check(self):
        return True
    def get_data(self):
        return {'v': 1}
";
const JOBS: usize = 30;

/// Units of the module `many`, all in one process.
fn of_many(agent: &Agent) -> Vec<Value> {
    let units = agent.status()["units"].as_array().unwrap().clone();
    units.into_iter().filter(|unit| unit["id"].as_str().unwrap().starts_with("netdata.many:")).collect()
}

/// Waits until each unit has made so many runs more than `before` in one process, and returns them.
fn run_on(agent: &Agent, before: &[Value], more: u64) -> Vec<Value> {
    let runs = |unit: &Value| unit["runs_ok"].as_u64().unwrap();
    wait_for("runs of all units", || {
        let units = of_many(agent);
        let has_run = |unit: &Value| {
            let known = before.iter().find(|known| known["id"] == unit["id"]).map_or(0, runs);
            runs(unit) >= known + more && unit["state"] == "ok" && unit["pid"] == units[0]["pid"]
        };
        if units.len() == JOBS && units.iter().all(has_run) { Ok(units.clone()) } else { Err(format!("{units:?}")) }
    })
}

/// The times of all points of a job.
fn times_of(root: &Root, job: &str) -> std::collections::BTreeSet<String> {
    let points = root.points("metric");
    let own = points.lines().filter(|line| line.starts_with("many,") && line.contains(&format!(",job={job},")));
    own.map(|line| line.rsplit_once(' ').unwrap().1.to_owned()).collect()
}

#[test]
fn what_jobs_of_one_process_are_told_to_have_reported_is_on_disk_though_all_are_killed() {
    let root = Root::new();
    root.script("units/many.chart.py", MODULE);
    let conf = root.path().join("etc/python.d");
    std::fs::create_dir_all(&conf).unwrap();
    let jobs: String = (0..JOBS).map(|number| format!("job{number:02}:\n  update_every: 1\n")).collect();
    std::fs::write(conf.join("many.conf"), jobs).unwrap();
    root.conf(
        "input.conf",
        &format!(
            "[[inputs.netdata]]\ncmd = \"python3\"\nisolation = \"module\"\ndirs = [\"units\"]\nconf = [\"{}\"]\n",
            root.path().join("etc").display()
        ),
    );
    let agent = root.agent();
    let first = run_on(&agent, &[], 3);
    let pid = i32::try_from(first[0]["pid"].as_i64().unwrap()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    let told = run_on(&agent, &first, 3);
    assert_ne!(told[0]["pid"], first[0]["pid"]);
    agent.kill();
    let agent = root.agent();
    run_on(&agent, &[], 1);
    assert_eq!(agent.stop().0, 0);
    for unit in told {
        let job = unit["id"].as_str().unwrap().strip_prefix("netdata.many:").unwrap().to_owned();
        let points: u64 = unit["jobs"].as_array().unwrap().iter().map(|job| job["points"].as_u64().unwrap()).sum();
        let kept = times_of(&root, &job).len() as u64;
        assert!(points >= 6 && kept > points, "{job}: {points} points were told before the end, {kept} are there");
    }
}
