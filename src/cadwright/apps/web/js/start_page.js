// The first page: drop, choose, describe, or take an example; seed and budget tucked away.
//
// In: the server's limits. Out: `begin({files} | {text} | {example}, options)`. What can be seen to
// be wrong here is said here; the server judges the rest.

import { $, make, notice } from "./dom.js";
import { bytes } from "./color_scale.js";

const NUM_VIEWS = 4;
const EXAMPLE = "A plate, 120 long and 80 wide, with four holes near its corners";
let limits = null;
let suffixes = { shape: [], picture: [] };
let begin = null;
let shapeNames = "";

/** Fill the page from what the server says it can do. */
export function openStart(info, examples, begun) {
  ({ limits, suffixes } = info);
  begin = begun;
  const own = suffixes.shape.map((suffix) => suffix.slice(1).toUpperCase());
  shapeNames = own.filter((name) => name !== "STP" && name !== "TXT").join(", ");
  $("file").accept = [...suffixes.shape, ...suffixes.picture].join(",");
  $("seed").value = info.defaults.seed;
  $("seed").max = limits.seed;
  $("budget").value = info.defaults.budget_s;
  $("budget").max = limits.budget_s;
  $("num-candidates").value = info.defaults.candidates;
  $("num-candidates").max = limits.candidates;
  showKinds(info.reads);
  $("examples").replaceChildren(...examples.map(makeExample));
  document.querySelector(".examples").hidden = !examples.length;
  $("choose").onclick = () => $("file").click();
  $("file").onchange = () => {
    const files = [...$("file").files];
    $("file").value = "";
    send(files);
  };
  openDrop();
}

/** What parts may be handed in as: shapes, pictures, words; all of them until the model is known. */
export function showKinds(reads) {
  const can = !reads.length || reads.includes("text");
  const pictures = !reads.length || reads.includes("picture");
  $("drop-title").textContent = pictures ? "Drop a mesh, point cloud or picture here" : "Drop a mesh or point cloud here";
  const views = pictures ? "; or a picture with four views of the part" : "";
  $("drop-hint").textContent = `${shapeNames}, up to ${bytes(limits.upload_bytes)}${views}.`;
  $("words").maxLength = limits.text_characters;
  $("words-row").hidden = !can;
  $("words-hint").textContent = can
    ? ""
    : `The model that runs here reads ${reads.join("s and ")}s only. A server started with one that reads text builds from words too.`;
  $("words").placeholder = can ? EXAMPLE : "";
  $("describe").onsubmit = (event) => {
    event.preventDefault();
    const text = $("words").value.trim();
    if (!text) {
      notice("Nothing to build", "Describe the part in a sentence first.");
      return $("words").focus();
    }
    start({ text });
  };
}

function makeExample(example) {
  const kind = { mesh: "mesh", points: "point cloud", cloud: "point cloud" }[example.kind] || example.kind;
  const button = make("button", { type: "button" });
  if (example.thumbnail) button.append(make("img", { src: example.thumbnail, alt: "", width: 96, height: 72 }));
  button.append(make("strong", {}, example.title), make("span", { className: "hint" }, `${kind}, ${bytes(example.bytes)}`));
  button.onclick = () => start({ example: example.name });
  return make("li", {}, button);
}

/** Drop a part anywhere on the page. */
function openDrop() {
  let depth = 0;
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  const show = (on) => ($("veil").hidden = !on);
  addEventListener("dragenter", (event) => {
    if (carries(event)) show(++depth > 0);
  });
  addEventListener("dragleave", (event) => {
    if (carries(event)) show((depth = Math.max(0, depth - 1)) > 0);
  });
  addEventListener("dragover", (event) => carries(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    show(((depth = 0), false));
    send([...event.dataTransfer.files]);
  });
}

function send(files) {
  if (!files.length) return;
  const problem = judge(files);
  if (problem) return notice("This cannot be used", problem, { actions: [["Choose another file", () => $("file").click()]] });
  start({ files });
}

const suffixOf = (file) => /\.[^.]+$/.exec(file.name.toLowerCase())?.[0] || "";

/** What is wrong with these files, as a sentence; empty where nothing is to be seen from here. */
function judge(files) {
  const large = files.find((file) => file.size > limits.upload_bytes);
  if (large) return `${large.name} has ${bytes(large.size)}; this server takes up to ${bytes(limits.upload_bytes)}.`;
  const empty = files.find((file) => !file.size);
  if (empty) return `${empty.name} is empty.`;
  if (files.length === 1) return "";
  const pictures = files.every((file) => suffixes.picture.includes(suffixOf(file)));
  if (!pictures) return `These are ${files.length} files: drop one part at a time, or four pictures of one part.`;
  if (files.length !== NUM_VIEWS) return `A part is one picture with four views, or four pictures; these are ${files.length}.`;
  return "";
}

function start(what) {
  const options = readOptions();
  if (options) begin(what, options);
}

function readOptions() {
  for (const name of ["seed", "budget", "num-candidates"]) {
    const field = $(name);
    if (field.value === "" || !field.checkValidity()) {
      $("options").open = true;
      field.focus();
      const label = document.querySelector(`label[for="${name}"]`).textContent;
      notice("Look at the options", `${label}: ${field.validationMessage || "a number is missing."}`);
      return null;
    }
  }
  return {
    seed: $("seed").valueAsNumber,
    budget_s: $("budget").valueAsNumber,
    candidates: $("num-candidates").valueAsNumber,
  };
}
