// The live page: one stream of events, each of which tells a part of the state whole, so that
// missing one does no harm. Everything is drawn from that state; nothing here decides anything.

const element = (id) => document.getElementById(id);
const RETRY_MS = 5000;

const STATES = {
  delivered: ["good", "delivered"],
  waiting: ["", "waiting"],
  failing: ["low", "failing, will be tried again"],
  refused: ["bad", "refused"],
  "given up": ["bad", "given up"],
};

let events = null;
let retry = null;
let paused = false;
let pictures = false;
let minQuality = 0;
let loading = false;
let newest = null;
let announced = 0;

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
const grade = (quality) => (quality >= minQuality ? "good" : "low");

// The picture

function drawBoxes(faces) {
  element("boxes").replaceChildren(...faces.map((face) => {
    const [x, y, width, height] = face.box;
    const box = make("div", "box");
    box.dataset.state = face.rejected ? "rejected" : face.quality === null ? "new" : grade(face.quality);
    if (y < 0.1) box.dataset.place = "below";
    if (x > 0.6) box.dataset.side = "right";
    Object.assign(box.style, {
      left: `${100 * x}%`, top: `${100 * y}%`, width: `${100 * width}%`, height: `${100 * height}%`,
    });
    const told = face.rejected ?? (face.quality === null ? "" : Math.round(face.quality));
    box.append(make("span", "", `#${face.track} ${told}`.trim()));
    return box;
  }));
}

function describe(now) {
  const told = now.faces.map((face) => `track ${face.track}, ${face.rejected ?? `quality ${face.quality ?? "unknown"}`}`);
  element("canvas").setAttribute("aria-label", `Newest frame with ${now.faces.length} faces${told.length ? `: ${told.join("; ")}` : ""}`);
}

function sizeCanvas(width, height) {
  const canvas = element("canvas");
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
}

async function drawFrame() {
  if (loading || !newest) return;
  loading = true;
  const now = newest;
  try {
    const image = new Image();
    image.src = `live/frame/${now.frame.index}.jpg`;
    await image.decode();
    sizeCanvas(image.naturalWidth, image.naturalHeight);
    element("canvas").getContext("2d").drawImage(image, 0, 0);
    drawBoxes(now.faces);
    describe(now);
  } catch {
    // The frame has passed meanwhile; the next one is on its way.
  } finally {
    loading = false;
  }
  if (newest && newest.frame.index !== now.frame.index && events) drawFrame();
}

function takeNow(now) {
  setText(element("camera"), now.camera);
  document.title = `${now.camera} · streamgate`;
  element("logout").hidden = !now.login;
  pictures = now.pictures;
  show(now.ok ? "good" : "bad", now.ok ? "Frames arrive" : "No frames");
  say(now.ok ? "" : `${now.detail[0].toUpperCase()}${now.detail.slice(1)}.`);
  setText(element("age"), now.age_s === null ? "–" : now.age_s < 10 ? `${now.age_s.toFixed(1)} s` : `${Math.round(now.age_s)} s`);
  element("age").dataset.state = now.ok ? "" : "bad";
  setText(element("rate"), `${now.rate} per s`);
  setText(element("detect"), milliseconds(now.detect_ms));
  setText(element("score"), milliseconds(now.score_ms));
  element("pictures-off").hidden = pictures;
  element("placeholder").hidden = now.frame !== null;
  if (!now.frame || newest?.frame.index === now.frame.index) return;
  newest = now;
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

function drawChart(chart, track) {
  const last = track.points.at(-1)?.[0] ?? 0;
  const first = Math.min(track.points[0]?.[0] ?? 0, last - 5);
  const x = (at) => (100 * (at - first)) / (last - first);
  const y = (quality) => 100 - quality;
  const points = track.points.map(([at, quality]) => `${x(at).toFixed(1)},${y(quality).toFixed(1)}`);
  chart.replaceChildren(
    svg("line", { class: "chart-ground", x1: 0, x2: 100, y1: 100, y2: 100 }),
    svg("line", { class: "chart-threshold", x1: 0, x2: 100, y1: y(minQuality), y2: y(minQuality) }),
    svg("polyline", { class: "chart-line", points: points.join(" ") }),
    // Lines without length have round ends: dots that the chart's proportions do not squash.
    svg("path", { class: "chart-dots", d: points.map((point) => `M${point}h0`).join("") }),
  );
  chart.setAttribute("aria-label", track.points.length === 0
    ? `Track ${track.id}: no face was scored yet`
    : `Quality of track ${track.id}: now ${Math.round(track.quality)}, best ${Math.round(track.best)}, wanted ${minQuality}`);
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
  drawFace(item, source, `Best face of track ${track.id} so far`, track.scored ? "hidden" : "no face");
  const parts = [make("b", "", `#${track.id}`)];
  if (track.best !== null) {
    parts.push(make("span", "", `now ${Math.round(track.quality)}`));
    parts.push(make("span", grade(track.best), `best ${Math.round(track.best)}`));
  }
  if (track.forwarded) parts.push(make("span", "good", track.forwarded === 1 ? "let through" : `${track.forwarded} let through`));
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
  minQuality = state.min_quality;
  const enough = state.release_quality === null ? "" : ` At ${state.release_quality} a face is let through at once.`;
  const more = state.more ? ` ${state.more} more are followed.` : "";
  setText(element("threshold"), `Quality in time; the dashed line is what is wanted: ${state.min_quality}.${enough}${more}`);
  element("no-tracks").hidden = state.tracks.length > 0;
  keep(element("tracks"), state.tracks, (track) => track.id, makeTrack, drawTrack);
}

// Best shots

function makeShot() {
  const item = make("li", "shot");
  item.append(make("div", "faces"), make("p", "head"), make("p", "quiet"), make("ul", "sinks"));
  return item;
}

function picture(source, alternative) {
  const image = make("img");
  image.loading = "lazy";
  image.width = image.height = 112;
  image.alt = alternative;
  image.src = source;
  return image;
}

function drawShot(item, shot) {
  const [faces, head, told, sinks] = item.children;
  if (shot.picture && !faces.children.length) {
    faces.append(
      picture(`live/shot/${shot.key}.jpg`, `Best shot of track ${shot.track}`),
      picture(`live/heat/${shot.key}.jpg`, "The same face; bright where the score comes from"),
    );
  }
  if (!shot.picture) faces.replaceChildren();
  faces.hidden = !shot.picture;
  head.replaceChildren(make("b", "", `#${shot.track}${shot.revision > 1 ? `, no. ${shot.revision}` : ""}`), make("b", "good", `quality ${Math.round(shot.quality)}`));
  setText(told, `${clock(shot.wall)}, ${shot.reason}`);
  const states = Object.entries(shot.sinks);
  sinks.replaceChildren(...(states.length ? states : [["no sink", ""]]).map(([name, state]) => {
    const [className, words] = STATES[state] ?? ["", state];
    return make("li", `chip ${className}`, words ? `${name}: ${words}` : name);
  }));
}

function takeShots(state) {
  element("no-shots").hidden = state.shots.length > 0;
  keep(element("shots"), state.shots, (shot) => shot.key, makeShot, drawShot);
}

// What happens

function makeEvent() {
  const item = make("li", "event");
  item.append(make("time"), make("span", "told"), make("span", "count"));
  return item;
}

function drawEvent(item, event) {
  const [time, told, count] = item.children;
  setText(time, clock(event.wall));
  item.dataset.kind = event.kind;
  setText(told, event.track === null ? event.text : `#${event.track} ${event.text}`);
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
  const take = { now: takeNow, tracks: takeTracks, shots: takeShots, events: takeEvents };
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

element("pause").addEventListener("click", () => {
  paused = !paused;
  element("pause").setAttribute("aria-pressed", String(paused));
  if (paused) {
    close();
    show("waiting", "Paused");
  } else {
    show("waiting", "Connecting");
    open();
  }
});

// A page that nobody sees costs the camera nothing.
document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
addEventListener("pagehide", close);
addEventListener("pageshow", open);
open();
