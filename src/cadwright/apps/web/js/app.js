// The page's way: start, a job that runs, its result; and back.
//
// The address holds the job (#job=ID), so that a reload or a bookmark comes back to it. Everything
// else is in the modules that are imported here.

import * as api from "./api.js";
import { markLine, openEditor } from "./program_editor.js";
import { $, clearNotices, notice, say } from "./dom.js";
import { showResult } from "./result_panels.js";
import { hideProgress, showProgress } from "./job_progress.js";
import { build, move, rest, startEditing, stopEditing, take, typed } from "./editing.js";
import { openSliders } from "./number_sliders.js";
import { clearViewer, openViewer, showShape } from "./viewer_controls.js";
import { openStart, showKinds } from "./start_page.js";

const STARTING_MS = 2000;

let shown = null; // the job on the page
let stopFollowing = () => {};
let last = {}; // what was handed in, with its job, to do it again
let result = null;
let origin = 0; // the candidate that was edited
let targetOf = null; // the job whose target is in the view

const jobInAddress = () => new URLSearchParams(location.hash.slice(1)).get("job");

/** One of: start, work, token. */
function show(which) {
  for (const name of ["start", "work", "token"]) $(name).hidden = name !== which;
  $("new-part").hidden = which !== "work";
  if (which !== "work") {
    $("bar-name").textContent = "";
    document.title = "cadwright";
  }
}

async function open() {
  try {
    const [info, examples] = await Promise.all([api.info(), api.examples()]);
    $("version").textContent = `cadwright ${info.version}. Nothing leaves this machine.`;
    openStart(info, examples, begin);
    if (!info.reads.length) setTimeout(askAgain, STARTING_MS);
  } catch (error) {
    if (error.status === 401) return askForToken();
    return fail(error, [["Try again", () => location.reload()]]);
  }
  route();
}

/** A server that has just started does not know yet what its model reads. */
async function askAgain() {
  try {
    const { reads } = await api.info();
    if (reads.length) showKinds(reads);
    else setTimeout(askAgain, STARTING_MS);
  } catch {
    // It says so at the next thing that somebody asks of it.
  }
}

function askForToken() {
  show("token");
  $("token").onsubmit = async (event) => {
    event.preventDefault();
    try {
      await api.openSession($("token-word").value.trim());
      clearNotices();
      open();
    } catch (error) {
      fail(error);
    }
  };
}

function fail(error, actions = []) {
  if (!(error instanceof api.Problem)) console.error(error);
  const sentence = error instanceof api.Problem ? error.message : `This page made a mistake (${error.message}): reload it.`;
  notice(error.title || "That did not work", sentence, { actions });
}

function goHome() {
  leave();
  history.pushState(null, "", location.pathname);
  route();
  $("main").focus();
}

function leave() {
  stopFollowing();
  stopEditing();
  hideProgress();
  shown = targetOf = result = null;
  origin = 0;
}

/** Show what the address says. */
function route() {
  const id = jobInAddress();
  if (id === shown && id) return;
  leave();
  if (!id) return show("start");
  shown = id;
  show("work");
  $("done").hidden = true;
  $("candidates-box").hidden = true;
  $("part-name").textContent = "";
  $("part-input").textContent = "";
  clearViewer();
  stopFollowing = api.follow(id, onStatus, (error) => lost(error));
}

function lost(error) {
  if (error.status === 404 || error.status === 410) {
    goHome();
    return fail(error);
  }
  fail(error, [["Try again", () => ((shown = null), route())]]);
}

async function begin(what, options) {
  clearNotices();
  try {
    say("Sending.");
    document.body.classList.add("sending");
    const status = await api.submit(what, options);
    last = { id: status.id, given: [what, options] };
    history.pushState(null, "", `#job=${status.id}`);
    route();
    $("main").focus({ preventScroll: true });
    scrollTo(0, 0);
  } catch (error) {
    fail(error, what.files ? [["Choose another file", () => $("file").click()]] : []);
  } finally {
    document.body.classList.remove("sending");
  }
}

async function fetchTarget(id) {
  targetOf = id;
  try {
    const packed = await api.geometry(id, "target");
    if (shown === id) await showShape("target", packed);
  } catch (error) {
    if (shown !== id) return;
    targetOf = null;
    if (error.status !== 409 && error.status !== 404) fail(error);
  }
}

function onStatus(status) {
  const id = shown;
  $("part-name").textContent = $("bar-name").textContent = status.name;
  document.title = `${status.name} – cadwright`;
  if (status.has_target && targetOf !== id) fetchTarget(id);
  if (!api.isFinal(status)) return showProgress(status);
  hideProgress();
  if (status.state === "done") return finish(id);
  goHome();
  const cancelled = status.state === "cancelled";
  const problem = status.problem || {};
  // What cannot be read today cannot be read tomorrow.
  const helps = cancelled || !(problem.status < 500);
  const again = last.id === id && helps ? [[cancelled ? "Start it again" : "Try again", () => begin(...last.given)]] : [];
  notice(problem.title || status.state, problem.detail || "The job ended without a result.", {
    kind: cancelled ? "note" : "error",
    actions: cancelled ? again : [...again, ["Choose another file", () => $("file").click()]],
  });
}

async function finish(id) {
  try {
    const found = await api.result(id);
    const packed = await api.geometry(id, "result");
    if (shown !== id) return;
    $("done").hidden = false;
    takeResult(found);
    startEditing(id, found, takeResult);
    await showShape("result", packed);
    say("Done. The result is in the view, with its downloads, dimensions and program.");
  } catch (error) {
    if (shown === id) lost(error);
  }
}

function takeResult(found) {
  const chosen = found.candidates.findIndex((candidate) => candidate.chosen);
  if (chosen >= 0) origin = chosen;
  result = found;
  showResult(found, { taken: (candidate) => take(candidate.text) });
}

function connect() {
  openViewer();
  openEditor({ typed, commit: build });
  openSliders({ move, rest });
  $("build").onclick = build;
  $("revert").onclick = () => {
    take(result.candidates[origin].text);
    markLine(0);
  };
  $("cancel").onclick = async () => {
    try {
      await api.cancel(shown);
    } catch (error) {
      if (error.status !== 409) fail(error);
    }
  };
  $("new-part").onclick = goHome;
  $("home").onclick = (event) => {
    event.preventDefault();
    clearNotices();
    goHome();
  };
  addEventListener("popstate", () => {
    clearNotices();
    route();
  });
  addEventListener("hashchange", route);
}

connect();
open();
