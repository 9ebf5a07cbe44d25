//! `pythond deadletter`: shows what was refused and why, and sends it again.
//!
//! `list` and `show` read `data/dead` and need no agent. `resend` posts the points to the agent, so that they take the way of all others,
//! and takes out of the files what the agent has on disk. Ended half-way it sends some points once more, with the same times.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::ask::{ANSWER, AgentClient, escaped};
use super::exit::ExitReason;
use super::output::{say, warn};
use super::table::{bytes, layout};
use crate::deadletter::{self, Letter};
use crate::ingest::reply::RefusedAnswer;
use crate::point::{Category, Decoding, Precision, line};

#[derive(clap::Args)]
pub(super) struct DeadLetterArgs {
    #[command(subcommand)]
    command: DeadLetterCommand,
}

#[derive(clap::Subcommand)]
enum DeadLetterCommand {
    /// Count the refused points by who refused them and day, with the most frequent reasons
    List {
        #[command(flatten)]
        pick: Pick,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the refused points with their reasons, the newest last
    Show {
        #[command(flatten)]
        pick: Pick,
        /// Show the newest N only; 0 shows all
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
        /// Print JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Post the refused points to the running agent, for all its sinks, and remove what it took
    Resend {
        #[command(flatten)]
        pick: Pick,
    },
}

#[derive(clap::Args)]
struct Pick {
    /// Only what this sink refused, or `ingest`
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
}

/// Bytes of one request, unless a single point is larger.
const REQUEST: usize = 1 << 20;
/// Reasons shown of one who and day.
const REASONS: usize = 3;

pub(super) fn main(root: &Path, args: &DeadLetterArgs) -> ExitReason {
    let dir = root.join("data/dead");
    let (DeadLetterCommand::List { pick, .. }
    | DeadLetterCommand::Show { pick, .. }
    | DeadLetterCommand::Resend { pick }) = &args.command;
    let files = match files(&dir, pick.sink.as_deref()) {
        Ok(files) => files,
        Err(exit) => return exit,
    };
    let done = match &args.command {
        DeadLetterCommand::List { json, .. } => list(&files, *json),
        DeadLetterCommand::Show { limit, json, .. } => show(&files, *limit, *json),
        DeadLetterCommand::Resend { .. } => resend(root, &files),
    };
    done.unwrap_or_else(|error| {
        warn(&format!("error: {error:#}\n"));
        ExitReason::Failed
    })
}

/// One dead-letter file and whose it is.
struct LetterFile {
    who: String,
    day: String,
    path: PathBuf,
}

fn files(dir: &Path, only: Option<&str>) -> Result<Vec<LetterFile>, ExitReason> {
    let failed = |error: std::io::Error| {
        warn(&format!("error: could not read {}: {error}\n", dir.display()));
        ExitReason::Failed
    };
    let known = deadletter::whos(dir).map_err(failed)?;
    let whos = match only.map(deadletter::folder) {
        None => known,
        Some(who) if known.contains(&who) => vec![who],
        Some(who) => {
            let names = if known.is_empty() {
                "there are none at all".to_owned()
            } else {
                format!("there are those of: {}", known.join(", "))
            };
            warn(&format!("error: there are no dead letters of `{who}`; {names}\n"));
            return Err(ExitReason::Usage);
        }
    };
    let mut files = Vec::new();
    for who in whos {
        for path in deadletter::files(dir, &who).map_err(failed)? {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let day = name.split('.').next().unwrap_or_default().to_owned();
            files.push(LetterFile { who: who.clone(), day, path });
        }
    }
    Ok(files)
}

#[derive(Serialize)]
struct LetterGroup {
    who: String,
    day: String,
    points: u64,
    bytes: u64,
    reasons: Vec<Reason>,
}

#[derive(Serialize)]
struct Reason {
    reason: String,
    points: u64,
}

fn list(files: &[LetterFile], json: bool) -> anyhow::Result<ExitReason> {
    let groups = groups(files)?;
    if json {
        say(&format!("{}\n", serde_json::to_string_pretty(&groups)?));
    } else if groups.is_empty() {
        say("no dead letters: nothing was refused for good\n");
    } else {
        say(&table(&groups));
    }
    Ok(ExitReason::Ok)
}

#[derive(Default)]
struct Heap {
    points: u64,
    bytes: u64,
    reasons: HashMap<String, u64>,
}

fn groups(files: &[LetterFile]) -> anyhow::Result<Vec<LetterGroup>> {
    let mut heaps: BTreeMap<(&str, &str), Heap> = BTreeMap::new();
    for file in files {
        let heap = heaps.entry((&file.who, &file.day)).or_default();
        heap.bytes += std::fs::metadata(&file.path)?.len();
        for letter in deadletter::read(&file.path)? {
            heap.points += 1;
            *heap.reasons.entry(letter.reason).or_default() += 1;
        }
    }
    let groups = heaps.into_iter().filter(|(_, heap)| heap.points > 0).map(|((who, day), heap)| LetterGroup {
        who: who.to_owned(),
        day: day.to_owned(),
        points: heap.points,
        bytes: heap.bytes,
        reasons: most_frequent(heap.reasons),
    });
    Ok(groups.collect())
}

fn most_frequent(reasons: HashMap<String, u64>) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = reasons.into_iter().map(|(reason, points)| Reason { reason, points }).collect();
    reasons.sort_by(|a, b| b.points.cmp(&a.points).then_with(|| a.reason.cmp(&b.reason)));
    reasons.truncate(REASONS);
    reasons
}

fn table(groups: &[LetterGroup]) -> String {
    let mut rows = vec![["REFUSED BY", "DAY", "POINTS", "BYTES", "MOST FREQUENT REASONS"].map(str::to_owned).to_vec()];
    for group in groups {
        let mut first = vec![group.who.clone(), group.day.clone(), group.points.to_string(), bytes(group.bytes)];
        for reason in &group.reasons {
            first.push(format!("{}× {}", reason.points, one_line(&reason.reason)));
            rows.push(std::mem::replace(&mut first, vec![String::new(); 4]));
        }
    }
    layout(&rows, "")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A letter as it is shown: the source taken apart.
#[derive(Serialize)]
struct ShownLetter<'a> {
    time: &'a str,
    sink: &'a str,
    category: Option<&'a str>,
    input: &'a str,
    script: Option<&'a str>,
    reason: &'a str,
    point: &'a str,
}

impl<'a> ShownLetter<'a> {
    fn new(letter: &'a Letter) -> Self {
        let (input, script) = match letter.source.split_once('/') {
            Some((input, script)) => (input, Some(script)),
            None => (letter.source.as_str(), None),
        };
        Self {
            time: &letter.time,
            sink: &letter.who,
            category: letter.category.as_deref(),
            input,
            script,
            reason: &letter.reason,
            point: &letter.point,
        }
    }

    fn text(&self) -> String {
        let script = self.script.map(|script| format!("   script {script}")).unwrap_or_default();
        let category = self.category.unwrap_or("unknown category");
        format!(
            "{}   {}   input {}{script}   refused by {}\n  why:   {}\n  point: {}\n",
            self.time,
            category,
            self.input,
            self.sink,
            one_line(self.reason),
            self.point.replace('\n', "\\n")
        )
    }
}

fn show(files: &[LetterFile], limit: usize, json: bool) -> anyhow::Result<ExitReason> {
    let mut letters = Vec::new();
    for file in files {
        letters.extend(deadletter::read(&file.path)?);
    }
    letters.sort_by(|a, b| a.time.cmp(&b.time));
    let hidden = if limit == 0 { 0 } else { letters.len().saturating_sub(limit) };
    if hidden > 0 && !json {
        say(&format!("({hidden} older ones are not shown; --limit 0 shows all)\n\n"));
    }
    for letter in &letters[hidden..] {
        let shown = ShownLetter::new(letter);
        say(&if json { format!("{}\n", serde_json::to_string(&shown)?) } else { format!("{}\n", shown.text()) });
    }
    if letters.is_empty() && !json {
        say("no dead letters: nothing was refused for good\n");
    }
    Ok(ExitReason::Ok)
}

// --- to the agent ---

/// What became of the letters.
#[derive(Default)]
struct LetterTally {
    sent: u64,
    refused: u64,
    unfit: u64,
    first_refusal: Option<String>,
}

/// Letters of one category and source that go in one request, and their numbers in the file.
struct Parcel {
    category: Category,
    source: String,
    lines: Vec<Vec<u8>>,
    letters: Vec<usize>,
}

fn resend(root: &Path, files: &[LetterFile]) -> anyhow::Result<ExitReason> {
    let agent = AgentClient::of(root);
    let mut tally = LetterTally::default();
    for file in files {
        let raw = std::fs::read(&file.path)?;
        let lines: Vec<&[u8]> = raw.split_inclusive(|byte| *byte == b'\n').collect();
        for parcel in parcels(&lines, &mut tally) {
            let taken = match deliver(&agent, parcel, &mut tally) {
                Ok(taken) => taken,
                Err(LetterError::NoAgent(exit)) => return Ok(exit),
                Err(LetterError::NotNow(why)) => {
                    say(&tally.text());
                    warn(&format!(
                        "error: the agent takes nothing now: {why}; the rest stays where it is, try again later\n"
                    ));
                    return Ok(ExitReason::Failed);
                }
            };
            deadletter::remove(&file.path, taken.iter().map(|number| lines[*number]))?;
        }
    }
    say(&tally.text());
    Ok(if tally.refused + tally.unfit > 0 { ExitReason::Refused } else { ExitReason::Ok })
}

impl LetterTally {
    fn text(&self) -> String {
        let mut text = format!("{} points sent again and removed\n", self.sent);
        if let Some(why) = &self.first_refusal {
            text.push_str(&format!("{} refused again, the first: {why}\n", self.refused));
        }
        if self.unfit > 0 {
            text.push_str(&format!("{} are no whole line protocol and stay: repair them by hand\n", self.unfit));
        }
        text
    }
}

/// Packs the letters that hold one good point each, as canonical lines, so that the answer's indexes are theirs.
fn parcels(lines: &[&[u8]], tally: &mut LetterTally) -> Vec<Parcel> {
    let mut parcels: Vec<Parcel> = Vec::new();
    for (number, raw) in lines.iter().enumerate() {
        let Ok(letter) = serde_json::from_slice::<Letter>(raw) else { continue };
        let Some((category, line)) = canonical(&letter) else {
            tally.unfit += 1;
            continue;
        };
        let fits = |parcel: &&mut Parcel| {
            let size: usize = parcel.lines.iter().map(Vec::len).sum();
            parcel.category == category && parcel.source == letter.source && size + line.len() <= REQUEST
        };
        // Only the newest may have room: the older of the same kind are full.
        match parcels.last_mut().filter(fits) {
            Some(parcel) => {
                parcel.lines.push(line);
                parcel.letters.push(number);
            }
            None => parcels.push(Parcel { category, source: letter.source, lines: vec![line], letters: vec![number] }),
        }
    }
    parcels
}

fn canonical(letter: &Letter) -> Option<(Category, Vec<u8>)> {
    let category = Category::from_name(letter.category.as_deref()?)?;
    let refused_at: jiff::Timestamp = letter.time.parse().ok()?;
    let now_ns = i64::try_from(refused_at.as_nanosecond()).ok()?;
    let how = Decoding { category, precision: Some(Precision::Ns), now_ns, integers_as_floats: false };
    let decoded = line::decode(letter.point.as_bytes(), &how).ok()?;
    let ([(_, point)], []) = (&decoded.points[..], &decoded.refused[..]) else { return None };
    let mut text = Vec::new();
    line::encode(point, &mut text);
    Some((category, text))
}

enum LetterError {
    /// It has been said.
    NoAgent(ExitReason),
    NotNow(String),
}

/// Posts a parcel without the points that would be refused again (those would come back as new dead letters); the letters that are kept now.
fn deliver(agent: &AgentClient, parcel: Parcel, tally: &mut LetterTally) -> Result<Vec<usize>, LetterError> {
    let mut good: Vec<usize> = (0..parcel.lines.len()).collect();
    // An answer names some of the refused points only.
    while !good.is_empty() {
        let refused = ask(agent, &parcel, "&dry=1", &good)?;
        let Some((_, reason)) = refused.first() else { break };
        tally.first_refusal.get_or_insert_with(|| reason.clone());
        let bad: HashSet<usize> = refused.iter().filter_map(|(at, _)| good.get(*at).copied()).collect();
        if bad.is_empty() {
            return Err(LetterError::NotNow(format!("it names points that were not sent: {reason}")));
        }
        tally.refused += bad.len() as u64;
        good.retain(|index| !bad.contains(index));
    }
    if good.is_empty() {
        return Ok(Vec::new());
    }
    if let Some((_, reason)) = ask(agent, &parcel, "", &good)?.first() {
        return Err(LetterError::NotNow(format!("it refuses what it has just found good: {reason}")));
    }
    tally.sent += good.len() as u64;
    Ok(good.into_iter().map(|index| parcel.letters[index]).collect())
}

/// Posts; which points are refused, by their index, and why.
fn ask(
    agent: &AgentClient,
    parcel: &Parcel,
    more: &str,
    points: &[usize],
) -> Result<Vec<(usize, String)>, LetterError> {
    let path = format!("/v1/write/{}?precision=n&input={}{more}", parcel.category.as_str(), escaped(&parcel.source));
    let body = points.iter().flat_map(|index| parcel.lines[*index].iter().copied()).collect();
    let (status, answer) = agent.send("POST", &path, body, ANSWER).map_err(LetterError::NoAgent)?;
    if status.is_success() {
        return Ok(Vec::new());
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    match serde_json::from_slice::<RefusedAnswer>(&answer) {
        Ok(said) if status.as_u16() == 400 && !said.refused.is_empty() => {
            Ok(said.refused.into_iter().map(|entry| (entry.index, entry.reason)).collect())
        }
        Ok(said) => Err(LetterError::NotNow(format!("{status}: {}", said.message))),
        Err(_) => Err(LetterError::NotNow(format!("{status}: {text}"))),
    }
}
