// Sends a video, shows the progress and then the answer. All requests go to this server; no other is contacted.

const $ = (id) => document.getElementById(id);
const STAGES = {
  sending: "Sending the video to the program on this machine",
  opening: "Opening the video",
  looking: "Looking for faces and movements",
  naming: "Predicting classes",
  drawing: "Drawing the pictures",
};
const FILES = {
  html: ["Page", "everything above in one file"],
  csv: ["Table", "CSV, one row per expression"],
  eaf: ["ELAN", "tiers to correct by hand"],
  mp4: ["Marked video", "MP4 with faces and trace"],
  json: ["JSON", "the whole answer, for programs"],
};
const LOST = {
  found: "The program behind this page does not respond any more.",
  expected: "mien serve, still running.",
  fix: "starting mien serve again, then reloading this page.",
};
const KEPT = "mien-job";

let current = null; // the job on display: {token, name, request, shown}

function show(section) {
  for (const id of ["ask", "work", "failure", "answer"]) $(id).hidden = id !== section;
  // With an answer, the caution stands above it and includes what is known about the weights.
  if (section === "answer") $("answer-title").after($("says"));
  else $("main").append($("says"));
  $("says-answer").hidden = section !== "answer";
  if (section !== "ask") $(`${section}-title`).focus({ preventScroll: true });
  scrollTo({ top: 0 });
}

function fail(name, error) {
  leave();
  $("failure-name").textContent = name;
  for (const part of ["found", "expected", "fix"]) $(part).textContent = error[part];
  show("failure");
  document.title = "No answer · mien";
}

function leave() {
  current = null;
  sessionStorage.removeItem(KEPT);
}

function fresh() {
  leave();
  $("form").reset();
  $("body").replaceChildren();
  document.title = "mien";
  if (location.hash) history.replaceState(null, "", location.pathname);
  show("ask");
  $("ask-title").focus({ preventScroll: true });
}

function tell(stage, share) {
  const text = STAGES[stage] ?? stage;
  if ($("stage").textContent !== text) $("stage").textContent = text;
  if (share === null || share === undefined) {
    $("progress").removeAttribute("value");
    $("share").textContent = "";
  } else {
    $("progress").value = 100 * share;
    $("share").textContent = `${Math.round(100 * share)} %`;
  }
}

async function asked(path, options = {}) {
  const response = await fetch(path, { credentials: "omit", ...options });
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw body.error ?? { ...LOST, found: `The program answered with ${response.status}.` };
}

async function ask(file) {
  const name = file.name;
  const limit = Number($("form").dataset.size);
  if (file.size > limit) {
    const mib = (file.size / 2 ** 20).toLocaleString("en", { maximumFractionDigits: 0 });
    fail(name, {
      found: `The file has ${mib} MiB; it was not sent.`,
      expected: `at most ${$("form").dataset.mib} MiB.`,
      fix: "a shorter part of the video.",
    });
    return;
  }
  if (!$("fps").reportValidity()) return;
  const fps = $("fps").value === "" ? null : Number($("fps").value);
  const mine = { token: null, name, request: null, shown: false };
  current = mine;
  $("work-title").textContent = name;
  tell("sending", 0);
  show("work");
  try {
    const response = await asked("/api/jobs", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ name, size: file.size, fps, anyway: $("anyway").checked }),
    });
    mine.token = (await response.json()).token;
    if (current !== mine) return drop(mine);
    sessionStorage.setItem(KEPT, mine.token);
    await send(mine, file);
    await follow(mine);
  } catch (error) {
    if (current === mine) fail(name, error.found ? error : LOST);
  }
}

// XMLHttpRequest, because fetch does not report how much has been sent.
function send(mine, file) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    mine.request = request;
    request.open("PUT", `/api/jobs/${mine.token}/video`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => {
      if (current === mine && event.lengthComputable) tell("sending", event.loaded / event.total);
    };
    request.onload = () => {
      if (request.status === 202) return resolve();
      let error = LOST;
      try { error = JSON.parse(request.responseText).error ?? LOST; } catch { /* not an answer of this program */ }
      reject(error);
    };
    request.onerror = () => reject({ ...LOST, found: "The video could not be sent: the file was changed or cannot be read, or the program ended." });
    request.onabort = () => reject(LOST);
    request.send(file);
  });
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function follow(mine) {
  let misses = 0;
  while (current === mine) {
    let job;
    try {
      job = await (await asked(`/api/jobs/${mine.token}`)).json();
      misses = 0;
    } catch (error) {
      if (error.found || ++misses > 4) throw error;
      await pause(1000);
      continue;
    }
    if (current !== mine) return;
    if (job.state === "failed") return fail(mine.name, job.error);
    if (job.state === "answered" || job.state === "done") {
      if (!mine.shown) await reveal(mine);
      if (current !== mine) return;
      offer(mine, job);
      // These requests let the server know that somebody is still reading.
      await pause(job.state === "done" ? 30000 : 700);
      continue;
    }
    if (job.state === "waiting") {
      tell(job.before ? `Waiting: ${job.before} before yours` : "Waiting: yours is next", null);
    } else {
      tell(job.stage, job.share);
    }
    await pause(400);
  }
}

async function reveal(mine) {
  const html = await (await asked(`/api/jobs/${mine.token}/answer`)).text();
  if (current !== mine) return;
  // The program on this machine made this HTML and escaped all text in it; the policy of this page runs no script in it.
  $("body").innerHTML = html;
  $("answer-title").textContent = mine.name;
  document.title = `${mine.name} · mien`;
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
    for (const loop of $("body").querySelectorAll("details.loop")) loop.open = false;
  }
  mine.shown = true;
  $("files").replaceChildren();
  show("answer");
}

function offer(mine, job) {
  const ready = job.files.length;
  const note = job.state !== "done"
    ? `${ready} of ${Object.keys(FILES).length} files are ready.`
    : job.error ? `${job.error.found} Some files could not be made.` : "All files are ready; your video was deleted from this server.";
  if ($("files-note").textContent !== note) $("files-note").textContent = note;
  const rows = Object.entries(FILES).map(([kind, [title, text]]) => {
    const old = $(`file-${kind}`);
    const there = job.files.includes(kind);
    if (old && old.dataset.there === String(there)) return old;
    const item = document.createElement("li");
    item.id = `file-${kind}`;
    item.dataset.there = String(there);
    const box = document.createElement(there ? "a" : "span");
    if (there) {
      box.href = `/api/jobs/${mine.token}/files/${kind}`;
      box.setAttribute("download", "");
    } else {
      box.className = "wait";
    }
    const head = document.createElement("b");
    head.textContent = title;
    const small = document.createElement("small");
    small.textContent = there ? text : job.state === "done" ? "could not be made" : "being made";
    box.append(head, small);
    item.append(box);
    return item;
  });
  rows.forEach((row, n) => { if ($("files").children[n] !== row) $("files").insertBefore(row, $("files").children[n] ?? null); });
  while ($("files").children.length > rows.length) $("files").lastChild.remove();
}

function drop(job) {
  job.request?.abort();
  if (job.token) fetch(`/api/jobs/${job.token}`, { method: "DELETE", credentials: "omit", keepalive: true }).catch(() => {});
}

function forget() {
  const job = current;
  fresh();
  if (job) drop(job);
}

// A click on the timeline scrolls to the pictures of that interval and moves the keyboard focus there.
$("answer").addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  const goal = link && document.getElementById(link.getAttribute("href").slice(1));
  if (!goal) return;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  event.preventDefault();
  history.replaceState(null, "", link.getAttribute("href"));
  for (const marked of $("body").querySelectorAll(".chosen")) marked.classList.remove("chosen");
  goal.classList.add("chosen");
  goal.focus({ preventScroll: true });
  goal.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
});

// The arrow keys move along a timeline.
$("body").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const line = step && event.target.closest("svg.timeline");
  if (!line) return;
  const links = [...line.querySelectorAll("a")];
  links[links.indexOf(document.activeElement) + step]?.focus();
  event.preventDefault();
});

$("file").addEventListener("change", () => { if ($("file").files.length) ask($("file").files[0]); });
$("form").addEventListener("submit", (event) => event.preventDefault());
for (const id of ["again", "more"]) $(id).addEventListener("click", () => { const job = current; fresh(); if (job) drop(job); });
for (const id of ["stop", "forget"]) $(id).addEventListener("click", forget);

// A file dropped anywhere on the page must not replace the page.
let depth = 0;
addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; $("drop").classList.add("over"); });
addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) $("drop").classList.remove("over"); });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  $("drop").classList.remove("over");
  const files = event.dataTransfer?.files ?? [];
  if (!files.length || $("ask").hidden) return;
  if (files.length > 1) return fail("", { found: `${files.length} files were dropped.`, expected: "one video at a time.", fix: "dropping one of them." });
  ask(files[0]);
});

// After a reload, show the answer that was on display.
const kept = sessionStorage.getItem(KEPT);
if (kept) {
  const mine = { token: kept, name: "", request: null, shown: false };
  fetch(`/api/jobs/${kept}`, { credentials: "omit" }).then(async (response) => {
    if (!response.ok) return sessionStorage.removeItem(KEPT);
    const job = await response.json();
    if (current || job.state === "sending") return;
    mine.name = job.name;
    current = mine;
    $("work-title").textContent = job.name;
    tell("opening", null);
    show("work");
    follow(mine).catch((error) => { if (current === mine) fail(mine.name, error.found ? error : LOST); });
  }).catch(() => {});
}
