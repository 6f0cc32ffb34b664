// Editing one part: previews while something moves, the exact solid when it rests.
//
// In: numbers moved, text typed, a candidate taken. Out: pictures by the fast kernel, one request
// at a time and always the newest; then one exact build. What arrives late is dropped. Not
// covered: how it looks (number_sliders, program_editor, viewer_controls).

import * as api from "./api.js";
import { markLine, setText } from "./program_editor.js";
import { $, say } from "./dom.js";
import { setNumbers } from "./number_sliders.js";
import { setMoving, showShape } from "./viewer_controls.js";

const TYPING_MS = 350;
const RESTING_MS = 120; // arrow keys rest at every press

let id = null;
let adopt = null; // called with each new result document
let base = ""; // the text that ids of numbers belong to
let ids = []; // of its numbers
let values = {}; // moved since
let edit = 0; // number of the newest change
let wanted = null; // the preview to ask for next
let asking = false;
let timer = 0;
let built = 0; // number of the newest change that was built exactly

/** Begin with a result; `adopted(result)` is called after each exact build. */
export function startEditing(jobId, result, adopted) {
  stopEditing();
  id = jobId;
  adopt = adopted;
  base = result.program.text;
  setText(base);
  settle(result.program.numbers);
  state("exact");
}

export function stopEditing() {
  setMoving(false);
  clearTimeout(timer);
  id = null;
  wanted = null;
  values = {};
  built = edit;
}

/** A number moves. */
export function move(number, value) {
  values[number.id] = value;
  setMoving(true);
  ask();
}

/** It rests: build it exactly, soon. */
export function rest() {
  setMoving(false);
  clearTimeout(timer);
  timer = setTimeout(build, RESTING_MS);
}

/** Somebody types. */
export function typed(text) {
  base = text;
  values = {};
  edit += 1;
  state("typing");
  clearTimeout(timer);
  timer = setTimeout(ask, TYPING_MS, false);
}

/** Take another text whole: a candidate, or the one that was found. */
export function take(text) {
  setText(text);
  typed(text);
  clearTimeout(timer);
  ask(false);
  return build();
}

function ask(counts = true) {
  if (counts) edit += 1;
  wanted = { edit, body: { text: base, values: { ...values } }, at: performance.now() };
  if (!asking) pump();
}

async function pump() {
  asking = true;
  try {
    while (wanted && id) await answer(wanted);
  } finally {
    asking = false;
  }
}

async function answer({ edit: mine, body, at }) {
  const of = id;
  wanted = null;
  try {
    const packed = await api.preview(of, body);
    if (of === id && mine > built) await showPreview(packed, body, mine, at);
  } catch (error) {
    if (of === id && mine > built) refuse(error);
  }
}

async function showPreview(packed, body, mine, at) {
  if (mine === edit) {
    const { text, numbers } = packed.header;
    if (document.activeElement !== $("text")) setText(text);
    if (Object.keys(body.values).length === 0) settle(numbers);
    // Ids belong to the text that was sent, and so do the values that follow.
    else setNumbers(numbers.map((number, i) => ({ ...number, id: ids[i] ?? number.id })));
    state("preview");
  }
  await showShape("result", packed);
  performance.measure("slider-to-drawn", { start: at, end: performance.now() });
  // The next frame begins when this one is on the screen.
  requestAnimationFrame(() =>
    performance.measure("slider-to-picture", { start: at, end: performance.now() }),
  );
}

function settle(numbers) {
  ids = numbers.map((number) => number.id);
  setNumbers(numbers);
}

/** Build the newest change exactly. */
export async function build() {
  clearTimeout(timer);
  if (!id || edit === built) return;
  const mine = edit;
  const of = id;
  wanted = null;
  state("building");
  try {
    const result = await api.build(of, { text: base, values: { ...values } });
    if (of !== id) return;
    const newest = mine === edit;
    if (newest) {
      built = mine;
      base = result.program.text;
      values = {};
      setText(base);
      settle(result.program.numbers);
      state("exact");
      say("Built exactly.");
    }
    adopt(result);
    const packed = await api.geometry(of, "result");
    if (of === id && mine === edit) await showShape("result", packed);
  } catch (error) {
    if (of === id && mine === edit) refuse(error);
  }
}

const IGNORED = new Set(["superseded"]);

function refuse(error) {
  if (!(error instanceof api.Problem)) throw error;
  if (IGNORED.has(error.slug)) return;
  state("refused");
  $("edit-problem").textContent = error.message;
  $("edit-problem").hidden = false;
  markLine(error.line, "wrong");
  say(error.message);
}

const WORDS = {
  exact: "exact",
  preview: "preview",
  typing: "changed",
  building: "building exactly …",
  refused: "cannot be built",
};

function state(name) {
  $("state").textContent = WORDS[name];
  $("state").dataset.state = name;
  $("downloads").toggleAttribute("inert", name !== "exact");
  if (name !== "refused") {
    if (!$("edit-problem").hidden) markLine(0);
    $("edit-problem").hidden = true;
  }
}
