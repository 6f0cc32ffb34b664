// How far a job is: four steps with what each has found, and the time.
//
// In: status documents. Out: the list of steps, a bar, and a spoken line at each new step.

import { $, make, say } from "./dom.js";
import { count, fitted, seconds, short } from "./color_scale.js";

const STEPS = [
  { name: "Points", stages: ["read", "prepare"], tell: tellPoints },
  { name: "Candidates", stages: ["load", "decode", "rank"], tell: tellCandidates },
  { name: "Search", stages: ["search"], tell: tellSearch },
  { name: "Exact build", stages: ["exact", "measure", "files"], tell: () => "" },
];

const WORDS = { load: "loading the model", decode: "writing programs", rank: "comparing them" };

let began = null;
let clock = 0;

/** Show a status that is not final yet. */
export function showProgress(status) {
  $("progress").hidden = false;
  const waits = status.state === "queued";
  const ahead = status.position || 0;
  $("progress-title").textContent = waits ? "Waiting for its turn" : "Reconstructing";
  $("share").value = status.progress?.share || 0;
  const byName = new Map(status.stages.map((stage) => [stage.name, stage]));
  const items = STEPS.map((step) => showStep(step, status, byName)).filter(Boolean);
  $("stages").replaceChildren(...items);
  if (waits) say(ahead ? `Waiting, ${ahead} before this one.` : "Waiting for its turn.");
  runClock(status.progress?.seconds, waits ? (ahead ? `${ahead} before this one` : "next in line") : "");
}

export function hideProgress() {
  $("progress").hidden = true;
  clearInterval(clock);
  began = null;
}

function showStep(step, status, byName) {
  const stages = step.stages.map((name) => byName.get(name)).filter(Boolean);
  if (!stages.length) return null;
  const active = stages.find((stage) => stage.state === "active");
  const done = stages.every((stage) => stage.state === "done");
  const state = done ? "done" : active ? "active" : stages.some((s) => s.state === "done") ? "active" : "waiting";
  const took = stages.reduce((sum, stage) => sum + (stage.seconds || 0), 0);
  const item = make("li", { className: state });
  if (state === "active") item.setAttribute("aria-current", "step");
  const facts = state === "waiting" ? "" : step.tell(status, active?.name);
  item.append(
    make("span", { className: "step-name" }, step.name),
    make("span", { className: "step-time" }, done && took >= 0.05 ? seconds(took) : ""),
    make("span", { className: "step-facts" }, facts),
  );
  if (state === "active") say(`${step.name}.`);
  return item;
}

function tellPoints({ input }) {
  if (!input) return "";
  if (input.kind === "picture") return "a picture";
  if (input.kind === "words") return "a description";
  const parts = [];
  if (input.faces) parts.push(`${count(input.faces)} faces`);
  else if (input.points) parts.push(`${count(input.points)} points`);
  if (input.kind === "surface") parts.push("open surface");
  if (input.size) parts.push(`longest side ${short(input.size)}`);
  return parts.join(", ");
}

function tellCandidates({ progress }, stage) {
  if (progress?.candidates) {
    const valid = progress.valid === null ? "" : `, ${progress.valid} build`;
    return `${progress.candidates} written${valid}`;
  }
  return WORDS[stage] || "";
}

function tellSearch({ progress }) {
  const parts = [];
  if (progress?.tried) parts.push(`${count(progress.tried)} tried`);
  if (typeof progress?.fit === "number") parts.push(`best fit ${fitted(progress.fit)}`);
  return parts.join(", ");
}

function runClock(since, instead) {
  clearInterval(clock);
  const tick = () => {
    const passed = began === null ? 0 : (performance.now() - began) / 1000;
    $("elapsed").textContent = instead || `${Math.round(passed)} s`;
  };
  if (typeof since === "number") began = performance.now() - 1000 * since;
  tick();
  if (!instead) clock = setInterval(tick, 1000);
}
