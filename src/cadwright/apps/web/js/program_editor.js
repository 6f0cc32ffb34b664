// The program as text: line numbers, quiet colours, one marked line.
//
// A text area with clear ink lies on top of the same text painted in colours, so that editing,
// selecting and screen readers work as in any text area. Not covered: what the text means.

import { $, make } from "./dom.js";

const PIECES =
  /(?<comment>#.*)|(?<string>"[^"\n]*"|'[^'\n]*')|(?<number>(?<![\w.])\d+(?:\.\d+)?(?:e[-+]?\d+)?)|(?<word>\b(?:import|as)\b)/g;

let lines = 0;

/** Call `typed` after each change by hand, `commit` on Ctrl+Enter or when the text is left. */
export function openEditor({ typed, commit }) {
  const text = $("text");
  text.addEventListener("input", () => {
    paint();
    typed(text.value);
  });
  text.addEventListener("change", () => commit());
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      commit();
    }
  });
}

/** Show a text, keeping the cursor where it was. */
export function setText(value) {
  const text = $("text");
  if (text.value === value) return;
  const { selectionStart, selectionEnd } = text;
  text.value = value;
  if (document.activeElement === text) text.setSelectionRange(selectionStart, selectionEnd);
  paint();
}

function paint() {
  const value = $("text").value;
  const pieces = [];
  let at = 0;
  for (const found of value.matchAll(PIECES)) {
    const [kind] = Object.entries(found.groups).find(([, piece]) => piece !== undefined);
    pieces.push(value.slice(at, found.index), make("span", { className: `ink-${kind}` }, found[0]));
    at = found.index + found[0].length;
  }
  $("paint").replaceChildren(...pieces, `${value.slice(at)}\n`);
  number(value.split("\n").length);
}

function number(count) {
  if (count === lines) return;
  lines = count;
  $("gutter").replaceChildren(...Array.from({ length: count }, (_, i) => make("span", {}, String(i + 1))));
}

/** Mark a line, 1-based; 0 marks none. */
export function markLine(line, kind = "hover") {
  const mark = $("mark");
  mark.hidden = !line;
  mark.className = `mark ${kind}`;
  mark.style.setProperty("--row", line - 1);
}
