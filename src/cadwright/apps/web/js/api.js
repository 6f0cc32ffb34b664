// The server's HTTP interface: JSON, packed geometry and the stream of a job's states.
//
// In: what the page wants. Out: plain objects; every failure is a Problem whose message is a
// sentence for a person. Not covered: what the page shows.

export class Problem extends Error {
  /** @param {{status?: number, detail?: string, title?: string, line?: number}} document */
  constructor(document) {
    super(document.detail || document.title || "The server gave no reason.");
    this.status = document.status || 0;
    this.slug = String(document.type || "").split(":").pop();
    this.title = document.title || "";
    this.line = document.line || lineOf(this.message);
  }
}

const NO_ANSWER = {
  status: 0,
  title: "No answer",
  detail: "The server does not answer. Is “cadwright serve” still running?",
};

/** The line that a sentence like “line 3, column 5: …” names; 0 where it names none. */
function lineOf(sentence) {
  const found = /\bline (\d+)/.exec(sentence);
  return found ? Number(found[1]) : 0;
}

async function request(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(NO_ANSWER);
  }
  if (answer.ok) return answer;
  let document = { status: answer.status, title: answer.statusText };
  try {
    document = { ...document, ...(await answer.json()) };
  } catch {
    document.detail = `The server answered ${answer.status} without saying why.`;
  }
  throw new Problem(document);
}

const json = async (path, options) => (await request(path, options)).json();

function posted(body, options = {}) {
  return {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "Content-Type": "application/json" },
    ...options,
  };
}

export const info = () => json("/api/info");
export const examples = async () => (await json("/api/examples")).examples;
export const job = (id) => json(`/api/jobs/${id}`);
export const result = (id) => json(`/api/jobs/${id}/result`);
export const cancel = (id) => json(`/api/jobs/${id}/cancel`, { method: "POST" });
export const build = (id, body) => json(`/api/jobs/${id}/build`, posted(body));
export const openSession = (token) => request("/api/session", posted({ token }));

/** Start a job: {files}, {text} or {example}, with the options. */
export function submit({ files, text, example }, options) {
  if (!files) return json("/api/jobs", posted({ ...(text ? { text } : { example }), ...options }));
  const form = new FormData();
  for (const file of files) form.append("file", file, file.name);
  for (const [name, value] of Object.entries(options)) form.append(name, String(value));
  return json("/api/jobs", { method: "POST", body: form });
}

export async function geometry(id, what) {
  const answer = await request(`/api/jobs/${id}/geometry/${what}`, { cache: "no-store" });
  return unpack(await answer.arrayBuffer());
}

export async function preview(id, body) {
  const answer = await request(`/api/jobs/${id}/preview`, posted(body));
  return unpack(await answer.arrayBuffer());
}

const DTYPES = { float32: Float32Array, uint32: Uint32Array, int32: Int32Array };

/** CWG1: "CWG1", uint32 H, H bytes of JSON, then the arrays that the JSON describes. */
export function unpack(buffer) {
  const bytes = new Uint8Array(buffer);
  if (String.fromCharCode(...bytes.subarray(0, 4)) !== "CWG1") {
    throw new Problem({ detail: "The server sent a shape that this page cannot read: reload it." });
  }
  const start = 8 + new DataView(buffer).getUint32(4, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
  const arrays = {};
  for (const [name, { dtype, shape, offset }] of Object.entries(header.arrays)) {
    const count = shape.reduce((product, side) => product * side, 1);
    arrays[name] = new DTYPES[dtype](buffer, start + offset, count);
  }
  return { header, arrays };
}

const POLL_MS = 1000;
const FINAL = new Set(["done", "failed", "cancelled", "handed_back"]);
export const isFinal = (status) => FINAL.has(status.state);

/**
 * Call `show` with every state of a job until its last one.
 * The stream is asked again by polling where it breaks. Returns a function that stops.
 */
export function follow(id, show, fail) {
  let stopped = false;
  let source = new EventSource(`/api/jobs/${id}/events`);
  const stop = () => {
    stopped = true;
    source.close();
  };
  const poll = async () => {
    while (!stopped) {
      try {
        const status = await job(id);
        if (stopped) return;
        show(status);
        if (isFinal(status)) return stop();
      } catch (error) {
        if (!stopped) fail(error);
        return stop();
      }
      await new Promise((next) => setTimeout(next, POLL_MS));
    }
  };
  source.addEventListener("status", (event) => {
    if (stopped) return;
    const status = JSON.parse(event.data);
    show(status);
    if (isFinal(status)) stop();
  });
  source.addEventListener("end", () => source.close());
  source.onerror = () => {
    source.close();
    if (!stopped) poll();
  };
  return stop;
}
