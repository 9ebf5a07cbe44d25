// Shows /api/v1/status and asks again every two seconds. Texts of scripts are only ever set as text, never as HTML.

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

const looks = { ok: "ok", running: "ok", helper: "ok", ended: "ok", starting: "odd", stopping: "odd", stopped: "odd" };

function row(cells) {
  const made = element("tr");
  for (const [text, className] of cells) made.append(element("td", text, className));
  return made;
}

function scriptRows(script) {
  const run = script.last_run;
  const next = script.next ? `${script.next} ${ahead(script.next_in_s)}` : "";
  const rows = [row([
    [script.id],
    [`● ${script.state}`, script.why && looks[script.state] ? "odd" : looks[script.state] ?? "bad"],
    [run ? `${duration(run.ago_s)}${run.ago_s < 1 ? "" : " ago"}${run.ok ? "" : ", failed"}` : "none yet"],
    [run ? `${run.ms.toFixed(1)} ms` : "", "n"],
    [script.points_accepted, "n"],
    [script.points_refused, "n"],
    [script.runs_failed, "n"],
    [script.restarts, "n"],
    [bytes(script.memory_bytes), "n"],
    [next],
  ])];
  const more = detail(script);
  if (more) rows.push(more);
  return rows;
}

function detail(script) {
  const parts = [];
  if (script.why) parts.push(element("div", script.why));
  if (script.last_refusal && !script.why?.includes(script.last_refusal)) parts.push(element("div", `last refused point: ${script.last_refusal}`));
  if (script.output_dropped && !script.why?.includes("output")) parts.push(element("div", `${script.output_dropped} lines of output over the rate limit were dropped`));
  for (const [title, text] of [
    ["traceback", script.last_error?.traceback],
    ["stack where it hung or died", script.stack],
    ["last output", script.why && script.last_words.length ? script.last_words.join("\n") : null],
  ]) {
    if (!text) continue;
    const key = `${script.id} ${title}`;
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
  const notes = [sink.why, sink.skipped ? `${sink.skipped} points were skipped` : null,
    ...Object.entries(sink.dropped_fields).map(([why, count]) => `${count} fields were not sent (${why})`)].filter(Boolean);
  if (notes.length) rows.push(noteRow(notes, 8));
  return rows;
}

function noteRow(notes, columns) {
  const cell = element("td");
  cell.colSpan = columns;
  cell.append(...notes.map((note) => element("div", note)));
  const made = element("tr", null, "why");
  made.append(cell);
  return made;
}

function shortCommit(commit) {
  return commit ? `${commit.id.slice(0, 7)} ${commit.title}` : "nothing yet";
}

function repoRows(repo) {
  const held = repo.held.map((script) => `${script.script} keeps its version: ${script.why}`);
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
  const well = status.scripts.filter((script) => !script.why && (looks[script.state] ?? "bad") !== "bad").length;
  $("summary").textContent =
    `${status.host} · version ${status.version} · up ${duration(status.uptime_s)} · ${status.scripts.length} scripts, ${well} well · ` +
    `buffer ${bytes(status.buffer.bytes)} of ${bytes(status.buffer.max_bytes)}`;
  $("scripts").replaceChildren(...status.scripts.flatMap(scriptRows));
  $("sinks").replaceChildren(...status.sinks.flatMap(sinkRows));
  $("repos-section").hidden = status.repos.length === 0;
  $("repos").replaceChildren(...status.repos.flatMap(repoRows));
  const buffer = status.buffer;
  $("buffer").textContent =
    `${bytes(buffer.bytes)} of ${bytes(buffer.max_bytes)} in ${buffer.segments} ${buffer.segments === 1 ? "segment" : "segments"}` +
    (buffer.oldest_s ? `, the oldest undelivered point is ${duration(buffer.oldest_s)} old` : ", nothing waits") +
    (buffer.set_aside_bytes ? `; ${bytes(buffer.set_aside_bytes)} of damaged data set aside` : "") +
    (buffer.poisoned ? `; no longer written: ${buffer.poisoned}` : "");
  const problems = [
    ...status.problems,
    ...(status.needs_restart || []).map((name) => `${name} changed: it takes effect when the agent is started again`),
    ...((status.reload && status.reload.outcome.faults) || []).map(
      (fault) => `the settings have a fault, those of before are in force: ${fault.file || ""}:${fault.line}: ${fault.message}`,
    ),
    ...Object.entries(status.panics).map(([task, count]) => `a defect in the agent: ${task} panicked ${count}×; it goes on, and the log says where`),
    ...status.dead_letters.filter((dead) => dead.points).map((dead) => `${dead.points} points in the dead-letter file of ${dead.who}` +
      (dead.dropped ? `, ${dead.dropped} older ones deleted at its cap` : "")),
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
