// The live page: one stream of events, each of which tells a part of the state whole, so that
// missing one does no harm. Everything is drawn from that state; nothing here decides anything.

import { takeZones } from "./zones.js";

const element = (id) => document.getElementById(id);
const RETRY_MS = 5000;

const STATES = {
  delivered: ["good", "delivered"],
  waiting: ["", "waiting"],
  failing: ["low", "failing, will be tried again"],
  refused: ["bad", "refused"],
  "given up": ["bad", "dropped"],
};

let events = null;
let retry = null;
let paused = false;
let pictures = false;
let loading = null;
let newest = null;
let announced = 0;
// What was told with a frame, until its picture has come, which may take a while.
const told = new Map();
const MOST_TOLD = 64;
const ASK_AGAIN_MS = 1000;

function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function say(message) {
  setText(element("message"), message);
  element("message").hidden = message === "";
}

function show(state, text) {
  element("state").dataset.state = state;
  // Screen readers read this out, so it is written only when it changes.
  setText(element("state"), text);
}

const milliseconds = (value) => (value === null ? "–" : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`);
const clock = (wall) => new Date(wall * 1000).toLocaleTimeString([], { hour12: false });
const grade = (isGood) => (isGood ? "good" : "low");
const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}`;

// The picture

function drawBoxes(faces) {
  element("boxes").replaceChildren(...faces.map((face) => {
    const [x, y, width, height] = face.box;
    const box = make("div", "box");
    box.dataset.state = face.outside ? "outside" : face.rejected ? "rejected" : face.quality === null ? "new" : grade(face.good);
    if (y < 0.1) box.dataset.place = "below";
    if (x > 0.6) box.dataset.side = "right";
    Object.assign(box.style, {
      left: `${100 * x}%`, top: `${100 * y}%`, width: `${100 * width}%`, height: `${100 * height}%`,
    });
    // Outside the zones nothing of a face matters, so nothing is said about it.
    if (!face.outside) box.append(make("span", "", `#${face.track} ${face.rejected ?? face.quality ?? ""}`.trim()));
    return box;
  }));
}

function describe(now) {
  const faces = now.faces.map((face) => `track ${face.track}, ${face.outside ? "outside the zones" : face.rejected ?? `quality ${face.quality ?? "unknown"}`}`);
  element("canvas").setAttribute("aria-label", `Newest frame with ${now.faces.length} faces${faces.length ? `: ${faces.join("; ")}` : ""}`);
}

function sizeCanvas(width, height) {
  const canvas = element("canvas");
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  // The stage has the picture's shape, so that boxes and zones lie where they belong.
  element("stage").style.setProperty("--shape", String(width / height));
}

async function drawFrame() {
  if (loading || !newest || !pictures) return;
  const asked = new AbortController();
  loading = asked;
  let drawn = null;
  try {
    // Always the newest: one asked for by its number may have passed before the question arrives.
    const answer = await fetch("live/frame.jpg", { signal: asked.signal });
    if (!answer.ok) return;
    const image = await createImageBitmap(await answer.blob());
    // They may have been forbidden on its way.
    if (asked.signal.aborted || !pictures) return;
    drawn = Number(answer.headers.get("X-Frame-Index"));
    const now = told.get(drawn) ?? newest;
    sizeCanvas(image.width, image.height);
    element("canvas").getContext("2d").drawImage(image, 0, 0);
    drawBoxes(now.faces);
    describe(now);
  } catch {
    // The event stream reports a lost connection; the next frame is on its way.
  } finally {
    if (loading === asked) loading = null;
  }
  if (drawn !== null && newest && newest.frame.index !== drawn && events) drawFrame();
}

// Nothing that was shown stays for longer than it may be.
function forgetPictures() {
  pictures = false;
  loading?.abort();
  loading = null;
  const canvas = element("canvas");
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  for (const face of document.querySelectorAll("#tracks img")) face.replaceWith(make("div", "blank", "hidden"));
  for (const face of document.querySelectorAll("#shots img")) face.remove();
  element("shots-table").classList.add("bare");
  element("legend").hidden = true;
}

function takeNow(now) {
  setText(element("camera"),
    (now.profile ?? "default") === "default" ? now.camera : `${now.camera} · ${now.profile}`);
  document.title = `${now.camera} · streamgate`;
  element("logout").hidden = !now.login;
  if (pictures && !now.pictures) forgetPictures();
  pictures = now.pictures;
  element("legend").hidden = !pictures || !now.heat;
  setText(element("heat"), now.heat);
  show(now.ok ? "good" : "bad", now.ok ? "Frames arrive" : "No frames");
  say(!now.ok ? `${sentence(now.detail)}.` : now.doubt ? `${sentence(now.doubt)}.` : "");
  setText(element("age"), now.age_s === null ? "–" : now.age_s < 10 ? `${now.age_s.toFixed(1)} s` : `${Math.round(now.age_s)} s`);
  element("age").dataset.state = now.ok ? "" : "bad";
  setText(element("rate"), `${now.rate} per s`);
  setText(element("detect"), milliseconds(now.detect_ms));
  setText(element("score"), milliseconds(now.score_ms));
  element("pictures-off").hidden = pictures;
  element("placeholder").hidden = now.frame !== null;
  setText(element("placeholder"), now.ok ? "No frame yet" : sentence(now.detail));
  if (!now.frame || newest?.frame.index === now.frame.index) return;
  newest = now;
  told.set(now.frame.index, now);
  if (told.size > MOST_TOLD) told.delete(told.keys().next().value);
  if (pictures) {
    drawFrame();
  } else {
    sizeCanvas(now.frame.width, now.frame.height);
    drawBoxes(now.faces);
    describe(now);
  }
}

// Live tracks

const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// The part of the scale that a chart shows: what is in it, with some room, so that it uses its height.
function reach(values) {
  const least = Math.min(...values), most = Math.max(...values);
  const room = Math.max(5, 0.15 * (most - least));
  return [Math.max(0, least - room), Math.min(100, most + room)];
}

function drawChart(chart, track) {
  const last = track.points.at(-1)?.[0] ?? 0;
  const first = Math.min(track.points[0]?.[0] ?? 0, last - 5);
  const x = (at) => (100 * (at - first)) / (last - first);
  const [low, high] = reach([...track.points.map(([, quality]) => quality), track.wanted]);
  const y = (quality) => 100 - (100 * (quality - low)) / (high - low);
  const points = track.points.map(([at, quality]) => `${x(at).toFixed(1)},${y(quality).toFixed(1)}`);
  const threshold = y(track.wanted);
  chart.replaceChildren(
    svg("line", { class: "chart-ground", x1: 0, x2: 100, y1: 100, y2: 100 }),
    svg("line", { class: "chart-threshold", x1: 0, x2: 100, y1: threshold, y2: threshold }),
    svg("polyline", { class: "chart-line", points: points.join(" ") }),
    // Lines without length have round ends: dots that the chart's proportions do not squash.
    svg("path", { class: "chart-dots", d: points.map((point) => `M${point}h0`).join("") }),
  );
  chart.setAttribute("aria-label", track.points.length === 0
    ? `Track ${track.id}: no face has been scored yet`
    : `Quality of track ${track.id}: now ${track.quality}, best ${track.best}, wanted ${track.limit}`);
}

function makeTrack() {
  const item = make("li", "track");
  const chart = svg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img" });
  item.append(make("div", "blank"), make("p"), chart);
  return item;
}

function drawFace(item, source, alternative, blank) {
  let face = item.firstElementChild;
  const wanted = source ? "IMG" : "DIV";
  if (face.tagName !== wanted) {
    const made = source ? make("img") : make("div", "blank");
    face.replaceWith(made);
    face = made;
  }
  if (!source) return setText(face, blank);
  face.alt = alternative;
  if (face.getAttribute("src") !== source) face.src = source;
}

function drawTrack(item, track) {
  const source = track.crop === null ? "" : `live/track/${track.id}/${track.crop}.jpg`;
  drawFace(item, source, `Best face of track ${track.id} so far`, !track.scored ? "no face" : pictures ? "not kept" : "hidden");
  const parts = [make("b", "", `#${track.id}`)];
  if (track.best !== null) {
    parts.push(make("span", "", `now ${track.quality}`));
    parts.push(make("span", grade(track.good), `best ${track.best}`));
  }
  if (track.forwarded) parts.push(make("span", "good", track.forwarded === 1 ? "forwarded" : `${track.forwarded} forwarded`));
  if (track.outside) parts.push(make("span", "quiet", "outside the zones"));
  if (track.zone) parts.push(make("span", "quiet", track.zone));
  if (track.rejection) parts.push(make("span", "bad", track.rejection));
  parts.push(make("span", "quiet", `${track.age_s.toFixed(0)} s`));
  item.children[1].replaceChildren(...parts);
  drawChart(item.children[2], track);
}

// Leave the elements of what is still there where they are, so that neither focus nor pictures are
// lost and nothing flickers.
function keep(list, wanted, key, create, draw) {
  const there = new Map([...list.children].map((item) => [item.dataset.key, item]));
  const keys = new Set(wanted.map((value) => String(key(value))));
  for (const [name, item] of there) if (!keys.has(name)) item.remove();
  wanted.forEach((value, at) => {
    const item = there.get(String(key(value))) ?? create();
    item.dataset.key = key(value);
    draw(item, value);
    if (list.children[at] !== item) list.insertBefore(item, list.children[at] ?? null);
  });
}

function takeTracks(state) {
  const enough = state.release === null ? "" : ` At ${state.release} a face is forwarded at once.`;
  const more = state.more ? ` ${state.more} more are followed.` : "";
  setText(element("threshold"), `Quality in time; the dashed line is what is wanted: ${state.wanted}.${enough}${more}`);
  element("no-tracks").hidden = state.tracks.length > 0;
  keep(element("tracks"), state.tracks, (track) => track.id, makeTrack, drawTrack);
}

// Best shots

const ROWS = 8;
let shots = [];
// The best shot at the top of the page that is shown; null on the first one, which shows the newest.
let top = null;

function makeShot() {
  const row = make("tr", "shot");
  for (const className of ["face", "face", "", "", "", "why", "zoned", ""]) row.append(make("td", className));
  row.children[7].append(make("ul", "sinks"));
  return row;
}

function picture(cell, source, alternative) {
  if (cell.firstElementChild?.getAttribute("src") === source) return;
  const image = make("img");
  image.loading = "lazy";
  image.width = image.height = 112;
  image.alt = alternative;
  image.src = source;
  cell.replaceChildren(image);
}

function drawShot(row, shot) {
  const [face, heat, track, time, quality, reason, zone, sinks] = row.children;
  if (shot.picture) {
    picture(face, `live/shot/${shot.key}.jpg`, `Best shot of track ${shot.track}`);
    picture(heat, `live/heat/${shot.key}.jpg`, "The same face; bright where quality is lost");
  } else if (face.firstElementChild || !face.textContent) {
    face.replaceChildren(make("span", "quiet", "not kept"));
    heat.replaceChildren();
  }
  setText(track, `#${shot.track}${shot.revision > 1 ? `, no. ${shot.revision}` : ""}`);
  setText(time, clock(shot.wall));
  setText(quality, `${shot.quality}`);
  setText(reason, shot.reason);
  setText(zone, shot.zone ?? "");
  const states = Object.entries(shot.sinks);
  sinks.firstElementChild.replaceChildren(...(states.length ? states : [["no sink", ""]]).map(([name, state]) => {
    const [className, words] = STATES[state] ?? ["", state];
    return make("li", `chip ${className}`, words ? `${name}: ${words}` : name);
  }));
}

function drawShots() {
  const found = top === null ? 0 : shots.findIndex((shot) => shot.key === top);
  // What was at the top has gone with the oldest.
  const start = found < 0 ? Math.max(0, shots.length - ROWS) : found;
  const shown = shots.slice(start, start + ROWS);
  const table = element("shots-table");
  table.hidden = shots.length === 0;
  table.classList.toggle("bare", !shots.some((shot) => shot.picture));
  table.classList.toggle("one-zone", !shots.some((shot) => shot.zone));
  element("no-shots").hidden = shots.length > 0;
  keep(element("shots"), shown, (shot) => shot.key, makeShot, drawShot);
  element("pager").hidden = shots.length <= ROWS && start === 0;
  element("newer").disabled = start === 0;
  element("older").disabled = start + ROWS >= shots.length;
  setText(element("page"), `${start + 1} to ${start + shown.length} of the last ${shots.length}`);
  return start;
}

function turn(by) {
  const start = Math.max(0, drawShots() + by * ROWS);
  top = start === 0 ? null : shots[Math.min(start, shots.length - 1)].key;
  drawShots();
}

function takeShots(state) {
  ({ shots } = state);
  drawShots();
}

element("newer").addEventListener("click", () => turn(-1));
element("older").addEventListener("click", () => turn(1));

// What happens

function makeEvent() {
  const item = make("li", "event");
  item.append(make("time"), make("span", "told"), make("span", "count"));
  return item;
}

function drawEvent(item, event) {
  const [time, words, count] = item.children;
  setText(time, clock(event.wall));
  item.dataset.kind = event.kind;
  const text = event.track === null ? event.text : `#${event.track} ${event.text}`;
  setText(words, text);
  // A line has no room for all of a long one.
  words.title = text;
  setText(count, event.count > 1 ? `×${event.count}` : "");
}

function takeEvents(state) {
  element("no-events").hidden = state.events.length > 0;
  keep(element("events"), state.events, (event) => event.number, makeEvent, drawEvent);
  keep(element("tally"), state.tally, (entry) => entry.reason, () => make("li", "chip bad"),
    (item, entry) => setText(item, `${entry.reason} ${entry.count}`));
  const shot = state.events.find((event) => event.kind === "shot");
  if (shot && shot.number > announced) {
    // Of all that happens, screen readers are told the one thing that everybody waits for.
    if (announced) setText(element("announcement"), `Track ${shot.track}: ${shot.text}`);
    announced = shot.number;
  }
}

// The stream

function open() {
  clearTimeout(retry);
  if (events || paused || document.hidden) return;
  events = new EventSource("live/events");
  const take = { now: takeNow, tracks: takeTracks, shots: takeShots, events: takeEvents, zones: takeZones };
  for (const [name, draw] of Object.entries(take)) {
    events.addEventListener(name, (event) => draw(JSON.parse(event.data)));
  }
  events.addEventListener("error", lost);
}

function close() {
  clearTimeout(retry);
  events?.close();
  events = null;
}

async function lost() {
  if (!events) return;
  show("bad", "Connection lost");
  // Pictures may also be forbidden by restarting the camera.
  forgetPictures();
  // While it connects again by itself there is nothing to do.
  if (events.readyState !== EventSource.CLOSED) return;
  close();
  let status = 0;
  try {
    status = (await fetch("live.js", { method: "HEAD" })).status;
  } catch { /* the camera is away */ }
  if (status === 401) return location.reload();
  say(status === 200
    ? "Too many live pages are open. Close one, or allow more with web.max_viewers. Trying again."
    : "The camera cannot be reached. Trying again.");
  retry = setTimeout(open, RETRY_MS);
}

// A page that is paused has no stream, and shows what it has for as long as that is allowed.
async function askLeave() {
  if (!paused || !pictures) return;
  let allowed = false;
  try {
    const answer = await fetch("live/allowed", { signal: AbortSignal.timeout(ASK_AGAIN_MS * 3) });
    allowed = answer.ok && (await answer.json()).pictures;
  } catch { /* then nobody says that they may be shown */ }
  if (!paused) return;
  if (!allowed) forgetPictures();
  setTimeout(askLeave, ASK_AGAIN_MS);
}

element("pause").addEventListener("click", () => {
  paused = !paused;
  element("pause").setAttribute("aria-pressed", String(paused));
  if (paused) {
    close();
    show("waiting", "Paused");
    askLeave();
  } else {
    show("waiting", "Connecting");
    open();
  }
});

// A page that nobody sees costs the camera nothing, and shows no old face when it is seen again.
function hide() {
  close();
  if (!paused) forgetPictures();
}

document.addEventListener("visibilitychange", () => (document.hidden ? hide() : open()));
addEventListener("pagehide", hide);
addEventListener("pageshow", open);
open();
