// What stands around the 3-D view: arrangement, deviation and its scale, names, axes.
//
// In: packed geometries. Out: the view, dressed as its buttons say, with the page's own colours.

import { make, $ } from "./dom.js";
import { rampToCss, roundSteps, short } from "./color_scale.js";
import { View } from "./viewer.js";

const LEAST = 1e-3; // smallest full colour to begin with, as a share of the part's size
const NUM_RANGES = 13;
const NO_WEBGL = "This browser shows no 3-D pictures (WebGL is off). Everything else on this page works.";

let view = null;
const shown = { target: null, result: null };
let steps = [];
let chosen = null; // the range that somebody set by hand

export function openViewer() {
  try {
    view = new View($("canvas"), { onDraw: describe });
  } catch {
    $("view-empty").textContent = NO_WEBGL;
    $("viewer").classList.add("blind");
    return;
  }
  takeColours();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", takeColours);
  for (const button of document.querySelectorAll("[data-look]")) {
    button.onclick = () => view.look(button.dataset.look);
  }
  $("layout").onchange = (event) => {
    view.layout = event.target.value;
    dress();
  };
  $("deviation").onchange = dress;
  $("scale-range").oninput = () => {
    chosen = steps[$("scale-range").valueAsNumber];
    dress();
  };
}

/** Empty the view for another part. */
export function clearViewer() {
  chosen = null;
  $("deviation").checked = false;
  for (const which of ["target", "result"]) showShape(which, null);
}

/** Show the target or the result; the promise is kept once it is on the screen. */
export async function showShape(which, packed) {
  shown[which] = packed;
  if (!view) return;
  view.set(which, packed);
  // While something moves the colours keep their meaning.
  if (packed?.header.exact || which === "target") setRanges();
  dress();
  await view.drawn();
}

/** While a number moves, pictures follow each other. */
export function setMoving(moving) {
  view?.setMoving(moving);
}

function takeColours() {
  if (!view) return;
  const probe = document.body.appendChild(make("i", { hidden: true }));
  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  view.paint({
    target: colour("target"),
    glass: colour("glass"),
    result: colour("result"),
    targetLine: colour("target-line"),
    resultLine: colour("result-line"),
  });
  probe.remove();
}

/** The round values that full colour may stand for, and the one to begin with. */
function setRanges() {
  const { result, target } = shown;
  const facts = result?.header.deviation;
  const size = target?.header.size || result?.header.size;
  if (!facts || !size) return;
  const largest = Math.max(Math.abs(facts.min), Math.abs(facts.max), LEAST * size);
  steps = roundSteps(Math.max(largest, size / 10), NUM_RANGES);
  const first = steps.findIndex((step) => step >= largest * (1 - 1e-9));
  $("scale-range").max = steps.length - 1;
  if (chosen === null) $("scale-range").value = first < 0 ? steps.length - 1 : first;
}

function dress() {
  const { target, result } = shown;
  const facts = result?.header.deviation || null;
  const both = Boolean(target && result);
  $("layout").hidden = !both;
  $("deviation-toggle").hidden = !facts;
  const coloured = Boolean(facts) && $("deviation").checked;
  $("scale").hidden = !coloured;
  $("viewer").classList.toggle("coloured", coloured);
  $("keys").hidden = !both || coloured || view.layout === "split";
  $("view-empty").textContent = target || result ? "" : "The part appears here as soon as it is read.";
  if (coloured) {
    const range = steps[$("scale-range").valueAsNumber];
    view.result.scale(result.arrays.deviation, range, facts.signed);
    view.target.scale(result.arrays.target_deviation ?? null, range, facts.signed);
    drawScale(facts, range);
  }
  view.coloured = coloured;
  view.draw();
}

function drawScale(facts, range) {
  $("scale-bar").style.background = rampToCss(facts.signed);
  const ticks = facts.signed ? [-range, -range / 2, 0, range / 2, range] : [0, range / 2, range];
  const words = ticks.map((tick) => (tick > 0 && facts.signed ? `+${short(tick)}` : short(tick)));
  $("scale-ticks").replaceChildren(...words.map((word) => make("span", {}, word)));
  $("scale-low").textContent = facts.signed ? "missing" : "on it";
  $("scale-unit").textContent = "in your file’s unit";
  $("scale-high").textContent = facts.signed ? "too much" : "away";
  $("scale-value").textContent = `${facts.signed ? "±" : ""}${short(range)}`;
  $("scale-range").setAttribute("aria-valuetext", $("scale-value").textContent);
}

/** After each picture: the names of the panes and the axes. */
function describe({ split, tall, camera }) {
  $("label-target").hidden = $("label-result").hidden = !split;
  $("viewer").classList.toggle("split", split && !tall);
  $("viewer").classList.toggle("stacked", split && tall);
  drawTriad(camera);
}

const AXES = [["x", [1, 0, 0]], ["y", [0, 1, 0]], ["z", [0, 0, 1]]];

function drawTriad(camera) {
  const m = camera.matrixWorldInverse.elements;
  const svg = $("triad");
  if (!svg.childElementCount) {
    for (const [name] of AXES) {
      const line = document.createElementNS(svg.namespaceURI, "line");
      const word = document.createElementNS(svg.namespaceURI, "text");
      line.setAttribute("class", name);
      word.textContent = name;
      svg.append(line, word);
    }
  }
  AXES.forEach(([, [x, y, z]], index) => {
    const across = m[0] * x + m[4] * y + m[8] * z;
    const up = m[1] * x + m[5] * y + m[9] * z;
    svg.children[2 * index].setAttribute("x2", 17 * across);
    svg.children[2 * index].setAttribute("y2", -17 * up);
    svg.children[2 * index + 1].setAttribute("x", 24 * across);
    svg.children[2 * index + 1].setAttribute("y", -24 * up);
  });
}
