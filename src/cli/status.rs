//! `pythond status`: asks the agent over its Unix socket and says for each script what happened and what comes next.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;

use super::table::{ago, bytes, layout, span};
use super::{Exit, say, small_runtime, warn};
use crate::app;
use crate::config::{self, Surroundings};
use crate::control::views::{Mechanism, Script, Sink, Status};
use crate::platform::{self, reachable};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Show one script in full: its name as in the list, or the end of it
    name: Option<String>,
    /// Print the status as JSON
    #[arg(long)]
    json: bool,
    /// Show it again every two seconds, until Ctrl-C
    #[arg(long)]
    watch: bool,
}

const ANSWER: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(2);

pub(super) fn main(root: &Path, args: &Args) -> Exit {
    let socket = socket_of(root);
    let runtime = small_runtime();
    loop {
        let exit = match runtime.block_on(request(&socket, "GET", "/api/v1/status", Vec::new())) {
            Ok(body) => print(&body, args),
            Err(error) => no_agent(&socket, root, &error),
        };
        if !args.watch || exit != Exit::Ok {
            return exit;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Says that nobody is there.
pub(super) fn no_agent(socket: &Path, root: &Path, error: &anyhow::Error) -> Exit {
    warn(&format!(
        "error: no agent answers on {}: {error:#}\n  = help: start it with `pythond --root {}`, or name its directory with --root\n",
        socket.display(),
        root.display()
    ));
    Exit::NoAgent
}

/// The message of a refusing answer.
pub(super) fn refusal(body: &[u8]) -> String {
    let parsed = serde_json::from_slice::<crate::ingest::reply::RefusedAnswer>(body);
    parsed.map_or_else(|_| String::from_utf8_lossy(body).into_owned(), |answer| answer.message)
}

/// An answer as one of the views, or the words that it cannot be one.
pub(super) fn understood<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Exit> {
    serde_json::from_slice(body).map_err(|error| {
        warn(&format!("error: the agent's answer cannot be read ({error}); is it of another version?\n"));
        Exit::Failed
    })
}

/// The socket as the settings name it; with faulty settings the default place, since an agent may still run on the old ones.
pub(super) fn socket_of(root: &Path) -> PathBuf {
    let socket = match config::read(root, &Surroundings::of_this_process()) {
        Ok(config) => config.http_api.socket,
        Err(_) => app::default_socket(root),
    };
    reachable(&socket)
}

/// Sends one request over the Unix socket; an answer other than 2xx is an error.
pub(super) async fn request(socket: &Path, method: &str, path: &str, body: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let (status, body) = exchange(socket, method, path, body).await?;
    anyhow::ensure!(status.is_success(), "it answered {status}: {}", String::from_utf8_lossy(&body));
    Ok(body)
}

/// Sends one request over the Unix socket; the answer, whatever it is.
pub(super) async fn exchange(
    socket: &Path,
    method: &str,
    path: &str,
    body: Vec<u8>,
) -> anyhow::Result<(hyper::StatusCode, Vec<u8>)> {
    exchange_within(socket, method, path, body, ANSWER).await
}

/// The same for an answer that may take longer.
pub(super) async fn exchange_within(
    socket: &Path,
    method: &str,
    path: &str,
    body: Vec<u8>,
    patience: Duration,
) -> anyhow::Result<(hyper::StatusCode, Vec<u8>)> {
    let exchange = async {
        let stream = platform::connect(socket).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .body(Full::new(bytes::Bytes::from(body)))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes().to_vec();
        driver.abort();
        Ok((status, body))
    };
    tokio::time::timeout(patience, exchange)
        .await
        .map_err(|_| anyhow::anyhow!("no answer within {} s", patience.as_secs()))?
}

/// A text as a part of a path or of the arguments behind it.
pub(super) fn escaped(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

fn print(body: &[u8], args: &Args) -> Exit {
    let status: Status = match understood(body) {
        Ok(status) => status,
        Err(exit) => return exit,
    };
    let picked = args.name.as_deref().map(|name| pick(&status, name));
    match (picked, args.json) {
        (Some(Err(text)), _) => {
            warn(&text);
            Exit::Usage
        }
        (Some(Ok(script)), true) => json(script),
        (None, true) => json(&status),
        (Some(Ok(script)), false) => {
            say(&one(script));
            Exit::Ok
        }
        (None, false) => {
            if args.watch {
                say("\x1b[H\x1b[2J");
            }
            say(&all(&status));
            Exit::Ok
        }
    }
}

fn json(value: &impl serde::Serialize) -> Exit {
    say(&format!("{}\n", serde_json::to_string_pretty(value).expect("the views always serialise")));
    Exit::Ok
}

pub(super) fn pick<'a>(status: &'a Status, name: &str) -> Result<&'a Script, String> {
    if let Some(script) = status.scripts.iter().find(|script| script.id == name) {
        return Ok(script);
    }
    let (suffix, file) = (format!(".{name}"), format!("/{name}"));
    // Of a script with a process for each class, the part before the class names all of them.
    let ends = |id: &str| id == name || id.ends_with(&suffix);
    let is_named = |id: &str| ends(id) || id.split_once(':').is_some_and(|(script, _)| ends(script));
    let near: Vec<&Script> =
        status.scripts.iter().filter(|script| is_named(&script.id) || script.file.ends_with(&file)).collect();
    if let [script] = near[..] {
        return Ok(script);
    }
    let known: Vec<&str> = status.scripts.iter().map(|script| script.id.as_str()).collect();
    let ends: Vec<&str> = known.iter().map(|id| id.rsplit('.').next().unwrap_or(id)).collect();
    let by_end =
        || known.iter().zip(&ends).find(|(_, end)| config::nearest(name, &ends) == Some(**end)).map(|(id, _)| *id);
    let several: Vec<&str> = near.iter().map(|script| script.id.as_str()).collect();
    // One letter is near to any other.
    let meant = config::nearest(name, &known).or_else(by_end).filter(|_| name.chars().count() > 2);
    Err(match (&several[..], meant) {
        ([_, _, ..], _) => format!("error: `{name}` can be one of {}\n", several.join(", ")),
        (_, Some(meant)) => format!("error: no script is called `{name}`; did you mean `{meant}`?\n"),
        _ => format!("error: no script is called `{name}`; there are: {}\n", known.join(", ")),
    })
}

fn all(status: &Status) -> String {
    let mut out = headline(status);
    if status.scripts.is_empty() {
        out.push_str("no scripts: enable a folder in conf.d/pythond.conf\n");
    } else {
        let mut rows = vec![
            ["NAME", "STATE", "LAST RUN", "TOOK", "POINTS", "REFUSED", "FAILED", "NEXT", "RESTARTS", "MEM"]
                .map(str::to_owned)
                .to_vec(),
        ];
        rows.extend(status.scripts.iter().map(row));
        out.push_str(&layout(&rows, ""));
    }
    for script in status.scripts.iter().filter(|script| !script.is_well()) {
        out.push_str(&format!("\n▲ {}: {}\n", script.id, trouble(script)));
    }
    for sink in &status.sinks {
        if let Some(text) = sink_trouble(sink) {
            out.push_str(&format!("\n▲ sink {} ({}): {text}\n", sink.name, sink.target));
        }
        if let Some(text) = left_out(sink) {
            out.push_str(&format!("\n  sink {}: {text}\n", sink.name));
        }
    }
    out.push_str(&super::git::troubles(&status.repos));
    out.push_str(&footer(status));
    out
}

fn headline(status: &Status) -> String {
    let well = status.scripts.iter().filter(|script| script.is_well()).count();
    let scripts = match status.scripts.len() - well {
        0 => format!("{well} script{}", if well == 1 { ": well" } else { "s: all well" }),
        bad => format!("{} scripts: {well} well, {bad} not", status.scripts.len()),
    };
    let sinks: Vec<String> = status.sinks.iter().map(|sink| format!("{} {}", sink.name, sink.state)).collect();
    let listen = status.listen.as_deref().map_or("socket only".to_owned(), |listen| format!("http://{listen}/"));
    format!(
        "pythond {}  running {}  {listen}\n{scripts}   sinks: {}   buffer: {}\n\n",
        status.version,
        span(status.uptime_s),
        sinks.join(", "),
        waiting(status)
    )
}

fn waiting(status: &Status) -> String {
    let behind = status.sinks.iter().map(|sink| sink.behind_points).max().unwrap_or(0);
    if let Some(why) = &status.buffer.poisoned {
        return format!("NOT WRITTEN ANY MORE: {why}");
    }
    match (behind, status.buffer.oldest_s) {
        (0, _) => "nothing waits".to_owned(),
        (points, oldest) => format!(
            "{points} points wait{}, {} of {}",
            oldest.map(|age| format!(", the oldest {}", span(age))).unwrap_or_default(),
            bytes(status.buffer.bytes),
            bytes(status.buffer.max_bytes)
        ),
    }
}

fn row(script: &Script) -> Vec<String> {
    let run = script.last_run.as_ref();
    vec![
        script.id.clone(),
        script.state.clone(),
        run.map_or("none yet".to_owned(), |run| ago(run.ago_s)),
        run.map_or(String::new(), |run| format!("{:.1} ms", run.ms)),
        script.points_accepted.to_string(),
        script.points_refused.to_string(),
        script.runs_failed.to_string(),
        next(script),
        script.restarts.to_string(),
        script.memory_bytes.map_or(String::new(), bytes),
    ]
}

fn next(script: &Script) -> String {
    match (&script.next, script.next_in_s) {
        (Some(what), Some(seconds)) if seconds >= 0.5 => format!("{what} in {}", span(seconds)),
        (Some(what), _) => what.clone(),
        (None, _) => "-".to_owned(),
    }
}

/// What happened, what comes next.
fn trouble(script: &Script) -> String {
    let mut text = script.why.clone().unwrap_or_else(|| script.state.clone());
    text.push_str(&format!("\n    next: {}", next(script)));
    if let Some(refusal) = &script.last_refusal
        && !text.contains(refusal.as_str())
    {
        text.push_str(&format!("\n    last refused point: {refusal}"));
    }
    if script.output_dropped > 0 && !text.contains("output") {
        text.push_str(&format!("\n    {} lines of output over the rate limit were dropped", script.output_dropped));
    }
    text.push_str(&format!("\n    more: pythond status {}", script.id));
    text
}

fn sink_trouble(sink: &Sink) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(why) = &sink.why {
        let next = sink.next_in_s.map(|seconds| format!(", next try in {}", span(seconds))).unwrap_or_default();
        parts.push(format!("{} for {}: {why}; attempt {}{next}", sink.state, span(sink.since_s), sink.attempts));
        parts.push(format!("{} points wait on disk; nothing is lost", sink.behind_points));
    }
    if sink.skipped > 0 {
        parts.push(format!(
            "{} points were skipped: at the cap of the buffer, by `pythond sink skip`, or damaged",
            sink.skipped
        ));
    }
    if sink.dead > 0 {
        parts.push(format!("{} points were refused for good: see data/dead/{}", sink.dead, sink.name));
    }
    (!parts.is_empty()).then(|| parts.join("\n    "))
}

/// Fields left out are no trouble, but nobody should have to guess where they are.
fn left_out(sink: &Sink) -> Option<String> {
    let reasons: Vec<String> = sink.dropped_fields.iter().map(|(why, count)| format!("{why}: {count}")).collect();
    let kind = &sink.kind;
    (!reasons.is_empty()).then(|| format!("fields that {kind} cannot hold were not sent ({})", reasons.join(", ")))
}

fn footer(status: &Status) -> String {
    let mut out = String::new();
    for removed in &status.removed_sinks {
        let holds = removed.holds_s.map_or("nothing is kept for it".to_owned(), |seconds| {
            format!("its points are kept for {} more", span(seconds))
        });
        out.push_str(&format!("\nsink {} is no longer in the settings; {holds}\n", removed.name));
    }
    for name in &status.needs_restart {
        out.push_str(&format!("\n▲ {name} changed: it takes effect when the agent is started again\n"));
    }
    out.push_str(&reload_trouble(status));
    out.push_str(&held_by(&status.mechanisms));
    for (task, count) in &status.panics {
        out.push_str(&format!(
            "\n▲ a defect in the agent: {task} panicked {count}×; it goes on, and the log says where\n"
        ));
    }
    for problem in &status.problems {
        out.push_str(&format!("\n▲ {problem}\n"));
    }
    for dead in status.dead_letters.iter().filter(|dead| dead.who == "ingest" && dead.points > 0) {
        out.push_str(&format!("\n{} points refused at ingest are in data/dead/ingest\n", dead.points));
    }
    for error in &status.last_errors {
        out.push_str(&format!("\n▲ {} says: {} ({}, {}×)\n", error.input, error.text, ago(error.ago_s), error.times));
    }
    out
}

/// The settings on disk are not those in force.
fn reload_trouble(status: &Status) -> String {
    let Some(last) = status.reload.as_ref().filter(|last| !last.outcome.faults.is_empty()) else {
        return String::new();
    };
    let mut out = format!("\n▲ the settings have faults since {}; those of before are in force:\n", ago(last.ago_s));
    for fault in &last.outcome.faults {
        let place = fault.file.as_ref().map_or(String::new(), |file| format!("{file}:{}: ", fault.line));
        out.push_str(&format!("    {place}{} [{}]\n", fault.message, fault.code));
    }
    out
}

/// One line: nobody has to do anything about it, but whoever looks for a process should know.
fn held_by(mechanisms: &[Mechanism]) -> String {
    let names = |active: bool| {
        let some = mechanisms.iter().filter(|mechanism| mechanism.active == active);
        some.map(|mechanism| mechanism.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    match (names(true), names(false)) {
        (active, _) if active.is_empty() => String::new(),
        (active, missing) if missing.is_empty() => format!("\nworkers are held by: {active}\n"),
        (active, missing) => format!("\nworkers are held by: {active}; not on this machine: {missing}\n"),
    }
}

fn one(script: &Script) -> String {
    let mark = if script.is_well() { "●" } else { "▲" };
    let mut out = format!("{mark} {} - {}\n", script.id, script.file);
    let mut line = |key: &str, value: String| out.push_str(&format!("{key:>9}: {value}\n"));
    line("state", format!("{} for {}", script.state, span(script.since_s)));
    if let Some(why) = &script.why {
        line("why", why.clone());
    }
    for warning in script.warnings.iter().filter(|warning| script.why.as_ref() != Some(warning)) {
        line("warning", warning.clone());
    }
    if script.state == "helper" {
        line("why", "holds no collector; it is taken for a module that other scripts import".to_owned());
    }
    line("next", next(script));
    line("input", script.input.clone());
    let pid = script.pid.map_or("no process".to_owned(), |pid| format!("pid {pid}"));
    let memory = script.memory_bytes.map(|count| format!(", {}", bytes(count))).unwrap_or_default();
    line("worker", format!("{pid}{memory}, {} restarts", script.restarts));
    let took = script.start_ms.map_or(String::new(), |ms| format!(" in {ms:.0} ms"));
    match (script.started_by.as_deref(), &script.exec_why) {
        (Some("fork"), _) => line("started", format!("by the zygote of its interpreter{took}")),
        (Some(_), Some(why)) => line("started", format!("as a program of its own{took}: {why}")),
        _ => {}
    }
    if let Some(why) = &script.recycled_why {
        line("replaced", format!("{}×, last for {why}", script.recycled));
    }
    for job in &script.jobs {
        line("collector", format!("{} (class {}), every {} s", job.name, job.class, job.interval_s));
    }
    line("runs", format!("{} ok, {} failed, {} skipped", script.runs_ok, script.runs_failed, script.skipped_ticks));
    line("points", format!("{} kept, {} refused", script.points_accepted, script.points_refused));
    if let Some(refusal) = &script.last_refusal {
        line("refused", refusal.clone());
    }
    if script.output_dropped > 0 {
        line("output", format!("{} lines over the rate limit dropped", script.output_dropped));
    }
    if let Some(error) = &script.last_error {
        let place = error.place.as_ref().map(|place| format!(" at {place}")).unwrap_or_default();
        line("error", format!("{}{place}, {}×, last {}", error.text, error.times, ago(error.last_ago_s)));
        out.push_str(&indented(&error.traceback));
    }
    for (title, text) in [("stack where it hung or died", script.stack.clone()), ("last output", words(script))] {
        if let Some(text) = text {
            out.push_str(&format!("{title}\n{}", indented(&text)));
        }
    }
    out
}

fn words(script: &Script) -> Option<String> {
    (!script.last_words.is_empty()).then(|| script.last_words.join("\n"))
}

fn indented(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("    {line}\n")).collect()
}
