// What a finished job shows beside the view: figures, downloads, candidates, how it was found.
//
// In: a result document. Out: the panels, filled; a candidate that is clicked is handed on.

import { $, make } from "./dom.js";
import { bytes, count, seconds, short } from "./color_scale.js";

const FILES = {
  "part.step": ["STEP", "the exact solid"],
  "part.stl": ["STL", "its surface as a mesh"],
  "part.py": ["Program", "plain CadQuery"],
  "report.json": ["Report", "figures, candidates, seconds, versions"],
  "part.png": ["Picture", "target, result, difference"],
};
const NOTHING = 1e-6;
const SOURCES = { model: "by the model", search: "by search", bounding_box: "the bounding box" };

export function showResult(result, { taken }) {
  showFigures(result.report);
  showDownloads(result.files);
  showCandidates(result, taken);
  showFacts(result.report);
  $("revert").hidden = !result.edited;
}

function showFigures(report) {
  const away = report.deviation;
  // Less than a millionth of the part is the rounding of its file.
  const length = (value) => (value < NOTHING * report.size ? "≈ 0" : short(value));
  const share = (value) => `${value < NOTHING * report.size ? "< 0.0001" : short((100 * value) / report.size, 2)} % of size`;
  const figures = [];
  if (typeof report.iou === "number") figures.push(["Overlap", `${short(100 * report.iou, 4)} %`, "IoU of volumes"]);
  if (away) {
    figures.push(["Mean deviation", length(away.mean), share(away.mean)]);
    figures.push(["Largest", length(away.max), share(away.max)]);
  }
  if (!figures.length) figures.push(["Longest side", short(report.size), "of the program"]);
  figures.push(["Bodies", String(report.program?.bodies ?? "–"), `${report.program?.faces ?? "–"} faces`]);
  $("figures").replaceChildren(
    ...figures.map(([name, value, note]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, value), make("dd", { className: "hint" }, note)),
    ),
  );
  $("figures-note").textContent = report.iou_note ? sentence(report.iou_note) : "";
}

function showDownloads(files) {
  const order = Object.keys(FILES);
  const sorted = [...files].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  const items = sorted.map((file) => {
    const [name, kind] = FILES[file.name] || [file.name, ""];
    const link = make("a", { href: file.href, download: file.name });
    link.title = `${file.name}: ${kind}, ${bytes(file.bytes)}`;
    link.append(make("strong", {}, name), make("span", {}, bytes(file.bytes)));
    return make("li", {}, link);
  });
  $("downloads").replaceChildren(...items);
}

function showCandidates({ candidates }, taken) {
  $("candidates-box").hidden = candidates.length < 2;
  const job = candidates[0]?.thumbnail || "";
  if ($("candidates").dataset.job === job) return markCandidate(candidates);
  $("candidates").dataset.job = job;
  const items = candidates.map((candidate) => {
    const bodies = `${candidate.bodies} ${candidate.bodies === 1 ? "body" : "bodies"}`;
    const from = SOURCES[candidate.source] || candidate.source;
    // Of clouds and open meshes a fit is a negative distance, which says little by itself.
    const fit = candidate.fit >= 0 && candidate.fit !== null ? candidate.fit.toFixed(3) : "";
    const button = make("button", { type: "button", title: `${bodies}, ${from}` });
    button.append(
      make("img", { src: candidate.thumbnail, alt: "", width: 88, height: 88, loading: "lazy" }),
      make("span", {}, fit || `no. ${candidate.index + 1}`),
    );
    button.setAttribute("aria-label", `Candidate ${candidate.index + 1}: ${bodies}, ${from}${fit && `, fit ${fit}`}`);
    button.onclick = () => {
      for (const other of $("candidates").querySelectorAll("button")) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      taken(candidate);
    };
    return make("li", {}, button);
  });
  $("candidates").replaceChildren(...items);
  markCandidate(candidates);
}

function markCandidate(candidates) {
  const buttons = $("candidates").querySelectorAll("button");
  candidates.forEach((candidate, index) => {
    buttons[index].setAttribute("aria-pressed", String(candidate.chosen));
  });
}

function showFacts(report) {
  const facts = [];
  const { candidates, search } = report;
  if (candidates) facts.push(["Candidates", `${candidates.tried} written, ${candidates.valid} of them build`]);
  if (search?.tries) {
    const from = typeof search.start_fit === "number" ? `fit ${short(search.start_fit)} to ${short(search.end_fit, 4)}` : "";
    facts.push(["Search", [`${count(search.tries)} tries`, from].filter(Boolean).join(", ")]);
  }
  if (report.chosen_by) facts.push(["Chosen by", report.chosen_by]);
  const spent = Object.values(report.seconds || {}).reduce((sum, s) => sum + s, 0);
  if (spent) facts.push(["Time", seconds(spent)]);
  facts.push(["Seed", String(report.seed)], ["Model", String(report.model)]);
  if (report.program?.numbers_rounded_by !== undefined) {
    facts.push(["Rounding", `faces moved by up to ${short(report.program.numbers_rounded_by)} to give round numbers`]);
  }
  if (report.unit) facts.push(["Unit", report.unit]);
  $("facts").replaceChildren(...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

const sentence = (words) => `${words[0].toUpperCase()}${words.slice(1)}${/[.!?]$/.test(words) ? "" : "."}`;
