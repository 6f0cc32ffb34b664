// Small things of the page: elements by id, made elements, notices, the spoken line.

export const $ = (id) => document.getElementById(id);

/** An element: make("li", {className: "x"}, "text", child). */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

let spoken = "";

/** Say a sentence to those who listen; the same one twice is said once. */
export function say(sentence) {
  if (sentence === spoken) return;
  spoken = sentence;
  $("live").textContent = sentence;
}

/** Show a sentence at the top of the page; actions are [label, function] pairs. */
export function notice(title, sentence, { actions = [], kind = "error" } = {}) {
  const box = make("div", { className: `notice ${kind}`, role: kind === "error" ? "alert" : "status" });
  const words = make("div", {}, make("strong", {}, title), make("p", {}, sentence));
  const buttons = make("div", { className: "row" });
  for (const [label, act] of actions) {
    buttons.append(make("button", { type: "button", onclick: () => (clearNotices(), act()) }, label));
  }
  const close = make("button", { type: "button", className: "close", "aria-label": "Dismiss" }, "×");
  close.onclick = () => box.remove();
  box.append(words, ...(actions.length ? [buttons] : []), close);
  $("notices").replaceChildren(box);
  box.scrollIntoView({ block: "nearest" });
}

export const clearNotices = () => $("notices").replaceChildren();
