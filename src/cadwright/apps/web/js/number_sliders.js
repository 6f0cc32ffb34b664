// One row for each number of the program: its name, a slider and a field.
//
// In: the numbers as the server lists them. Out: calls with the number and its new value while it
// moves and once it rests. Rows are kept while the list has the same names, so that the hand or
// the keyboard does not lose what it holds.

import { markLine } from "./program_editor.js";
import { $, make } from "./dom.js";

const FIRST = 10; // named rows shown before the rest is asked for

let rows = [];
let shape = "";
let hooks = null;

/** `move(number, value)` while a number changes, `rest()` when it stays. */
export function openSliders(given) {
  hooks = given;
}

/** Show these numbers; the one that is being moved keeps its place. */
export function setNumbers(numbers) {
  const kinds = numbers.map((number) => `${number.named} ${number.name}`).join("\n");
  if (kinds !== shape) {
    shape = kinds;
    rows = numbers.map(makeRow);
    lay(numbers);
  }
  numbers.forEach((number, index) => rows[index].take(number));
}

function lay(numbers) {
  const named = rows.filter((_, index) => numbers[index].named);
  const plain = rows.filter((_, index) => !numbers[index].named);
  const more = make("button", { type: "button", className: "quiet more" });
  more.textContent = `Show all ${named.length}`;
  more.onclick = () => {
    const next = named[FIRST];
    for (const row of named) row.element.hidden = false;
    more.remove();
    next.range.focus();
  };
  named.slice(FIRST).forEach((row) => (row.element.hidden = true));
  $("named").replaceChildren(...named.map((row) => row.element), ...(named.length > FIRST ? [more] : []));
  if (!named.length) $("named").append(make("p", { className: "hint" }, "This program names no dimensions."));
  $("plain").replaceChildren(...plain.map((row) => row.element));
  $("plain-box").hidden = !plain.length;
  $("plain-box").querySelector("summary").textContent = `Other numbers (${plain.length})`;
}

function makeRow(first, index) {
  const id = `number-${index}`;
  const name = make("label", { htmlFor: id }, first.name.replaceAll("_", " "));
  const range = make("input", { type: "range", id });
  const field = make("input", { type: "number", step: "any", inputMode: "decimal" });
  field.setAttribute("aria-label", `${name.textContent}, value`);
  const element = make("div", { className: "number" }, name, range, field);
  const row = { element, range, number: first, held: false, placed: false };

  row.take = (number) => {
    const moved = row.number.id !== number.id || row.number.value !== number.value;
    row.number = number;
    const busy = row.held || document.activeElement === field;
    // A thumb that jumped because its range was made anew would be lost.
    const within = number.value >= Number(range.min) && number.value <= Number(range.max);
    if (!busy && !(row.placed && within)) {
      Object.assign(range, { min: number.min, max: number.max, step: number.step });
      row.placed = true;
    }
    if (moved || !busy) {
      if (!row.held) range.value = number.value;
      if (document.activeElement !== field) field.value = plain(number.value);
    }
  };
  const move = (value) => {
    if (!Number.isFinite(value)) return;
    hooks.move(row.number, value);
  };
  range.addEventListener("input", () => {
    row.held = true;
    field.value = plain(range.valueAsNumber);
    move(range.valueAsNumber);
  });
  range.addEventListener("change", () => {
    row.held = false;
    hooks.rest();
  });
  field.addEventListener("input", () => {
    range.value = field.value;
    move(field.valueAsNumber);
  });
  field.addEventListener("change", () => hooks.rest());
  const mark = () => markLine(row.number.line);
  element.addEventListener("pointerenter", mark);
  element.addEventListener("focusin", mark);
  element.addEventListener("pointerleave", () => markLine(0));
  element.addEventListener("focusout", () => markLine(0));
  return row;
}

/** Without the digits that come from counting in steps. */
const plain = (value) => String(Number(value.toFixed(6)));
