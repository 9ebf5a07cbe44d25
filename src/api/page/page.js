// Shows /api/v1/status and asks again every two seconds. Texts of user code are only ever set as text, never as HTML.

const $ = (id) => document.getElementById(id);
const open = new Set();

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 1) return "now";
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

function ahead(seconds) {
  if (seconds === null || seconds === undefined) return "";
  return seconds < 1 ? "now" : `in ${duration(seconds)}`;
}

function bytes(count) {
  if (count === null || count === undefined) return "";
  const units = ["B", "KiB", "MiB", "GiB"];
  let step = 0;
  while (count >= 1024 && step < units.length - 1) { count /= 1024; step += 1; }
  return `${step === 0 ? count : count.toFixed(1)} ${units[step]}`;
}

const looks = { ok: "ok", running: "ok", helper: "ok", ended: "ok", starting: "odd", stopping: "odd", stopped: "odd", waiting: "odd", off: "soft" };

function row(cells) {
  const made = element("tr");
  for (const [text, className] of cells) made.append(element("td", text, className));
  return made;
}

// Nobody has to look at those: they are off, or stock settings that found nothing to collect.
function isHidden(unit) {
  return unit.state === "off" || (unit.quiet && unit.state === "waiting");
}

function counted(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

function lastRun(run) {
  if (!run) return "none yet";
  return `${duration(run.ago_s)}${run.ago_s < 1 ? "" : " ago"}${run.ok ? "" : ", failed"}`;
}

function unitRows(unit) {
  const run = unit.last_run;
  const next = unit.next ? [unit.next, ahead(unit.next_in_s)].filter(Boolean).join(" ") +
    (unit.next_at_change ? `${unit.next_in_s === null ? "" : ", or"} when its file changes` : "") : "";
  const warnings = unit.warnings.length + unit.more_warnings;
  const rows = [row([
    [unit.title ? `${unit.id} (${unit.title})` : unit.id],
    [`● ${unit.state}${warnings ? `, ${counted(warnings, "warning")}` : ""}`, isHidden(unit) ? "soft" : (unit.why || warnings) && looks[unit.state] ? "odd" : looks[unit.state] ?? "bad"],
    [lastRun(run)],
    [run ? `${run.ms.toFixed(1)} ms` : "", "n"],
    [unit.points_accepted, "n"],
    [unit.points_refused, "n"],
    [unit.runs_failed, "n"],
    [unit.restarts, "n"],
    [bytes(unit.memory_bytes), "n"],
    [next],
  ])];
  const more = detail(unit);
  if (more) rows.push(more);
  rows.push(...jobRows(unit));
  return rows;
}

function detail(unit) {
  const parts = [];
  if (unit.why) parts.push(element("div", unit.why));
  parts.push(...unit.warnings.filter((warning) => warning !== unit.why).map((warning) => element("div", `warning: ${warning}`)));
  if (unit.more_warnings) parts.push(element("div", `and ${counted(unit.more_warnings, "more warning")}`));
  if (unit.last_refusal && !unit.why?.includes(unit.last_refusal)) parts.push(element("div", `last refused point: ${unit.last_refusal}`));
  if (unit.output_dropped && !unit.why?.includes("output")) parts.push(element("div", `${unit.output_dropped} lines of output over the rate limit were dropped`));
  for (const [title, text] of [
    ["traceback", unit.last_error?.traceback],
    ["stack where it hung or died", unit.stack],
    ["last output", unit.why && unit.last_words.length ? unit.last_words.join("\n") : null],
  ]) {
    if (!text) continue;
    const key = `${unit.id} ${title}`;
    const box = element("details");
    box.open = open.has(key);
    box.addEventListener("toggle", () => (box.open ? open.add(key) : open.delete(key)));
    box.append(element("summary", title), element("pre", text));
    parts.push(box);
  }
  if (parts.length === 0) return null;
  const cell = element("td");
  cell.colSpan = 10;
  cell.append(...parts);
  const made = element("tr", null, "why");
  made.append(cell);
  return made;
}

// The jobs of a unit that has several; of one that has a single job the unit's own row says all.
function jobRows(unit) {
  if (unit.jobs.length < 2) return [];
  return unit.jobs.flatMap((job) => {
    const run = job.last_run;
    const state = job.is_running ? "running" : job.state;
    const next = job.next_in_s === null ? "" : `${job.state === "waiting" ? "check" : "run"} ${ahead(job.next_in_s)}`;
    const made = row([
      [job.title && job.title !== job.key ? `${job.key} (${job.title})` : job.key, "job"],
      [`● ${state}, every ${job.every_s} s`, looks[state] ?? "bad"],
      [lastRun(run)],
      [run ? `${run.ms.toFixed(1)} ms` : "", "n"],
      [job.points, "n"],
      [""],
      [job.runs_failed, "n"],
      [""],
      [""],
      [next],
    ]);
    return job.why && !unit.why?.includes(job.why) ? [made, noteRow([job.why], 10, "why of-job")] : [made];
  });
}

function sinkRows(sink) {
  const rows = [row([
    [`${sink.name} (${sink.kind})`],
    [`● ${sink.state}`, sink.state === "ok" ? "ok" : "bad"],
    [sink.target, "wide"],
    [sink.delivered, "n"],
    [sink.behind_points, "n"],
    [duration(sink.oldest_s), "n"],
    [sink.dead, "n"],
    [ahead(sink.next_in_s)],
  ])];
  const notes = [sink.why, sink.skipped ? `${were(sink.skipped)} skipped` : null,
    sink.dead ? `${were(sink.dead)} refused for good, kept in data/dead/${sink.name}` : null,
    ...sink.refused.map((of) => `${counted(of.points, "point")} of ${of.source}, the last ${duration(of.ago_s)} ago: ${of.why}`),
    ...Object.entries(sink.dropped_fields).map(([why, fields]) => `${fields} ${fields === 1 ? "field was" : "fields were"} not sent (${why})`)].filter(Boolean);
  if (notes.length) rows.push(noteRow(notes, 8));
  return rows;
}

function noteRow(notes, columns, look = "why") {
  const cell = element("td");
  cell.colSpan = columns;
  cell.append(...notes.map((note) => element("div", note)));
  const made = element("tr", null, look);
  made.append(cell);
  return made;
}

// `1 point was`, `3 points were`
function were(points) {
  return `${counted(points, "point")} ${points === 1 ? "was" : "were"}`;
}

function shortCommit(commit) {
  return commit ? `${commit.id.slice(0, 7)} ${commit.title}` : "nothing yet";
}

function repoRows(repo) {
  const held = repo.held.map((held) => `${held.unit} keeps its version of before, if there is one: ${held.why}`);
  const refused = repo.refused ? [`${shortCommit(repo.refused.commit)} was refused: ${repo.refused.why.join("; ")}`] : [];
  const fault = repo.fault ? [`${repo.fault.message} [${repo.fault.code}]`, ...repo.fault.notes, ...(repo.fault.help ? [repo.fault.help] : [])] : [];
  const notes = [...fault, ...refused, ...held, ...repo.notes];
  const [state, look] = repo.fault ? ["not pulled", "bad"] : repo.refused || held.length ? ["partly held back", "odd"] : ["ok", "ok"];
  const rows = [row([
    [repo.name],
    [`● ${repo.is_pulling ? "pulling" : state}`, look],
    [`${repo.follows} of ${repo.url}`, "wide"],
    [shortCommit(repo.commit), "wide"],
    [repo.last_pull_ago_s === null ? "none yet" : repo.last_pull_ago_s < 1 ? "now" : `${duration(repo.last_pull_ago_s)} ago`],
    [ahead(repo.next_pull_in_s)],
  ])];
  if (notes.length) rows.push(noteRow(notes, 6));
  return rows;
}

function show(status) {
  const listed = status.units.filter((unit) => !isHidden(unit));
  const well = listed.filter((unit) => !unit.why && ["ok", "odd"].includes(looks[unit.state])).length;
  const warned = listed.filter((unit) => unit.warnings.length + unit.more_warnings).length;
  $("summary").textContent =
    `${status.host} · version ${status.version} · up ${duration(status.uptime_s)} · ${listed.length} units, ${well} well` +
    `${warned ? `, ${warned} with warnings` : ""} · ` +
    `buffer ${bytes(status.buffer.bytes)} of ${bytes(status.buffer.max_bytes)}`;
  const hidden = status.units.filter(isHidden);
  const off = hidden.filter((unit) => unit.state === "off").length;
  $("units").replaceChildren(...listed.flatMap(unitRows));
  $("hidden-section").hidden = hidden.length === 0;
  $("hidden-summary").textContent = [
    hidden.length - off ? `${hidden.length - off} of stock settings found nothing to collect` : "",
    off ? `${off} off` : "",
  ].filter(Boolean).join(", ");
  $("hidden").replaceChildren(...hidden.map((unit) => row([[unit.id], [`● ${unit.state}`, "soft"], [unit.why, "wide"]])));
  $("sinks").replaceChildren(...status.sinks.flatMap(sinkRows));
  $("repos-section").hidden = status.repos.length === 0;
  $("repos").replaceChildren(...status.repos.flatMap(repoRows));
  const buffer = status.buffer;
  $("buffer").textContent =
    `${bytes(buffer.bytes)} of ${bytes(buffer.max_bytes)} in ${counted(buffer.segments, "segment")}` +
    (buffer.oldest_s ? `, the oldest undelivered point is ${duration(buffer.oldest_s)} old` : ", nothing waits") +
    (buffer.set_aside_bytes ? `; ${bytes(buffer.set_aside_bytes)} of damaged data set aside` : "") +
    (buffer.poisoned ? `; no longer written: ${buffer.poisoned}` : "");
  const refusing = buffer.refusing;
  const problems = [
    ...(refusing ? [`reports are refused for ${duration(refusing.since_s)}, ${refusing.reports} so far: ${refusing.why}; ${refusing.help}`] : []),
    ...status.problems,
    ...(status.needs_restart || []).map((name) => `${name} changed: it takes effect when the agent is started again`),
    ...((status.reload && status.reload.outcome.faults) || []).map(
      (fault) => `the settings have a fault, those of before are in force: ${fault.file || ""}:${fault.line}: ${fault.message}`,
    ),
    ...Object.entries(status.panics).map(([task, count]) => `a defect in the agent: ${task} panicked ${count}×; it goes on, and the log says where`),
    ...status.dead_letters.filter((dead) => dead.points).map((dead) => `${counted(dead.points, "point")} in the dead-letter file of ${dead.who}` +
      (dead.dropped ? `, ${dead.dropped} older ones deleted at its cap` : "")),
    ...status.repaired.map((repaired) => `points to ${repaired.input}: ${repaired.text} (${duration(repaired.ago_s)} ago, ${repaired.times}×)`),
    ...status.last_errors.map((error) => `${error.input}: ${error.text} (${duration(error.ago_s)} ago, ${error.times}×)`),
  ];
  $("problems-section").hidden = problems.length === 0;
  $("problems").replaceChildren(...problems.map((text) => element("li", text)));
}

async function tick() {
  try {
    const answer = await fetch("/api/v1/status", { cache: "no-store" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.json());
    $("offline").hidden = true;
  } catch (error) {
    $("offline").textContent = `The agent does not answer (${error.message}); what you see is old.`;
    $("offline").hidden = false;
  }
  setTimeout(tick, 2000);
}

tick();
