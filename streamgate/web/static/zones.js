// Zones over the picture: drawn for everybody who looks, and edited by mouse, touch or keyboard.
// What is right is decided by the camera; this module only asks it and shows the answer in words.

const element = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const MOST_POINTS = 32;
const CHECK_AFTER_MS = 250;
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const RESERVED = new Set(["null", "true", "false", "yes", "no", "on", "off"]);
const LIMITS = ["min_quality", "min_size_px"];

let used = [];
// What is being edited: null while nothing is.
let draft = null;

const round = (value, digits = 3) => Math.round(value * 10 ** digits) / 10 ** digits;
const within = (value) => round(Math.min(1, Math.max(0, value)));
const percent = (value) => `${round(100 * value, 1)} %`;
const chosen = () => draft?.zones[draft.at];

// As YAML, the same as the camera writes into its file.

const number = (value) => String(round(value, 4));
const nameText = (name) => (/^[a-z]/.test(name) && !RESERVED.has(name) ? name : `"${name}"`);

export function yamlOf(zones) {
  if (zones.length === 0) return "zones: []\n";
  const lines = ["zones:"];
  for (const zone of zones) {
    lines.push(`  - name: ${nameText(zone.name)}`, `    kind: ${zone.kind}`);
    lines.push(`    points: [${zone.points.map(([x, y]) => `[${number(x)}, ${number(y)}]`).join(", ")}]`);
    for (const key of LIMITS) if (zone[key] !== undefined) lines.push(`    ${key}: ${number(zone[key])}`);
  }
  return `${lines.join("\n")}\n`;
}

// Over the picture

function outline(zone, isChosen) {
  const shape = document.createElementNS(SVG, zone.points.length > 2 ? "polygon" : "polyline");
  shape.setAttribute("points", zone.points.map(([x, y]) => `${100 * x},${100 * y}`).join(" "));
  shape.setAttribute("class", `zone ${zone.kind}${isChosen ? " chosen" : ""}`);
  return shape;
}

function nameTag(zone) {
  const tag = document.createElement("span");
  tag.className = `zone-name ${zone.kind}`;
  tag.textContent = zone.name || "no name";
  // At its topmost corner, where a box seldom hides it.
  const [x, y] = zone.points.reduce((top, point) => (point[1] < top[1] ? point : top), [0, 2]);
  tag.style.left = `${Math.min(85, 100 * x)}%`;
  tag.style.top = `${Math.min(94, 100 * y)}%`;
  return tag;
}

function drawZones() {
  const zones = (draft?.zones ?? used).filter((zone) => zone.points.length > 0);
  element("zones").replaceChildren(...zones.map((zone) => outline(zone, zone === chosen())));
  element("zone-names").replaceChildren(...zones.map(nameTag));
}

export function takeZones(state) {
  used = state.zones;
  if (!draft) drawZones();
}

// The corners of the chosen zone

function place(target, [x, y]) {
  target.style.left = `${100 * x}%`;
  target.style.top = `${100 * y}%`;
}

function cornerAt(index) {
  const corner = document.createElement("button");
  corner.type = "button";
  corner.className = "corner";
  corner.dataset.index = index;
  return corner;
}

function drawCorners() {
  const layer = element("zone-layer"), points = chosen()?.points ?? [];
  const corners = [...layer.querySelectorAll(".corner")];
  // Those that stay keep the focus and the pointer.
  for (const extra of corners.splice(points.length)) extra.remove();
  points.forEach((point, index) => {
    const corner = corners[index] ?? layer.appendChild(cornerAt(index));
    place(corner, point);
    corner.classList.toggle("picked", index === draft.corner);
    corner.setAttribute("aria-label", `Corner ${index + 1} of ${points.length}: ${percent(point[0])} across, ${percent(point[1])} down`);
  });
  for (const middle of layer.querySelectorAll(".middle")) middle.remove();
  if (draft?.drawing || points.length < 3 || points.length >= MOST_POINTS) return;
  points.forEach((point, index) => {
    const next = points[(index + 1) % points.length];
    const middle = document.createElement("div");
    middle.className = "middle";
    middle.dataset.after = index;
    place(middle, [(point[0] + next[0]) / 2, (point[1] + next[1]) / 2]);
    layer.append(middle);
  });
}

function draw() {
  drawZones();
  drawCorners();
  drawPanel();
}

function changed() {
  draft.changed = true;
  tell("");
  draw();
  checkSoon();
}

function insert(index, point) {
  if (chosen().points.length >= MOST_POINTS) return false;
  chosen().points.splice(index, 0, point.map(within));
  draft.corner = index;
  changed();
  return true;
}

function remove(index) {
  const { points } = chosen();
  points.splice(index, 1);
  draft.corner = points.length ? Math.min(index, points.length - 1) : null;
  // A zone of two corners is none: what is left of it is drawn on.
  if (points.length < 3) draft.drawing = true;
  changed();
  const corners = element("zone-layer").querySelectorAll(".corner");
  (corners[Math.min(index, corners.length - 1)] ?? element("zone-layer")).focus();
}

function pick(index) {
  draft.corner = index;
  drawCorners();
  drawPanel();
}

function move(index, point) {
  chosen().points[index] = point.map(within);
  changed();
}

// Mouse and touch

function pointOf(event) {
  const frame = element("zone-layer").getBoundingClientRect();
  return [(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height];
}

function zoneAt([x, y]) {
  const inside = ({ points }) => points.reduce((is, [px, py], index) => {
    const [qx, qy] = points[(index + points.length - 1) % points.length];
    return (py > y) !== (qy > y) && x < px + ((y - py) * (qx - px)) / (qy - py) ? !is : is;
  }, false);
  return draft.zones.findLastIndex(inside);
}

function press(event) {
  if (event.button > 0 || draft.dragged) return;
  const { index, after } = event.target.dataset;
  const point = pointOf(event);
  if (index !== undefined) {
    if (draft.drawing && index === "0" && chosen().points.length > 2) return finish();
    draft.dragged = { pointer: event.pointerId, index: Number(index) };
    pick(Number(index));
  } else if (after !== undefined) {
    const at = Number(after) + 1;
    if (insert(at, point)) draft.dragged = { pointer: event.pointerId, index: at };
  } else if (draft.drawing && chosen()) {
    event.preventDefault();
    insert(chosen().points.length, point);
    return;
  } else {
    const at = zoneAt(point);
    if (at >= 0) choose(at);
    return;
  }
  element("zone-layer").setPointerCapture(event.pointerId);
}

function drag(event) {
  if (draft?.dragged?.pointer === event.pointerId) move(draft.dragged.index, pointOf(event));
}

function release(event) {
  if (draft?.dragged?.pointer === event.pointerId) draft.dragged = null;
}

// Keyboard

function stepOf(event) {
  const step = STEPS[event.key];
  if (!step) return null;
  const size = event.shiftKey ? 0.05 : event.ctrlKey ? 0.001 : 0.01;
  return step.map((part) => part * size);
}

function pressKey(event) {
  const step = stepOf(event), { index } = event.target.dataset;
  if (event.key === "Escape") {
    finish();
  } else if (index !== undefined) {
    const at = Number(index), { points } = chosen();
    if (step) move(at, [points[at][0] + step[0], points[at][1] + step[1]]);
    else if (event.key === "Delete" || event.key === "Backspace") remove(at);
    else if (event.key === "+" || event.key === "Insert") {
      const next = points[(at + 1) % points.length];
      if (insert(at + 1, [(points[at][0] + next[0]) / 2, (points[at][1] + next[1]) / 2])) {
        element("zone-layer").querySelectorAll(".corner")[at + 1].focus();
      }
    } else return;
  } else if (step) {
    draft.cross = [draft.cross[0] + step[0], draft.cross[1] + step[1]].map(within);
    place(element("zone-cross"), draft.cross);
    setText(element("zone-told"), `${percent(draft.cross[0])} across, ${percent(draft.cross[1])} down`);
  } else if ((event.key === "Enter" || event.key === " ") && chosen() && draft.drawing) {
    insert(chosen().points.length, draft.cross);
  } else return;
  event.preventDefault();
}

// The panel

function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function tell(text) {
  setText(element("zone-told"), text);
}

function button(text, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", act);
  return made;
}

function hint() {
  if (draft.zones.length === 0) return "There are no zones: the whole picture counts. Add the first one.";
  if (!chosen()) return "Choose a zone here or in the picture.";
  if (draft.drawing) {
    return "Click or tap its corners in order, and the first one again to finish. By keyboard: Tab to the "
      + "picture, move the cross with the arrow keys, Enter sets a corner, Escape finishes.";
  }
  return "Drag a corner to move it, or a small dot to add one. By keyboard: Tab to a corner; arrow keys move it "
    + "(with Shift faster, with Ctrl finer), + adds one after it, Delete removes it.";
}

function drawPanel() {
  const zone = chosen();
  element("zone-list").replaceChildren(...draft.zones.map((one, at) => {
    const item = document.createElement("li");
    const made = button(one.name || "no name", () => choose(at));
    made.className = one.kind;
    made.setAttribute("aria-pressed", String(at === draft.at));
    item.append(made);
    return item;
  }));
  element("zone-form").hidden = !zone;
  setText(element("zone-hint"), hint());
  element("zone-done").hidden = !draft.drawing || !zone;
  element("zone-done").disabled = (zone?.points.length ?? 0) < 3;
  element("zone-remove-corner").hidden = !zone?.points[draft.corner];
  element("zone-more").hidden = !zone || draft.drawing || zone.points.length >= MOST_POINTS;
  if (zone) {
    for (const [id, value] of [["zone-name", zone.name], ["zone-kind", zone.kind],
      ...LIMITS.map((key) => [`zone-${key}`, zone[key] ?? ""])]) {
      if (document.activeElement !== element(id)) element(id).value = value;
    }
    element("zone-limits").hidden = zone.kind !== "watch";
  }
  element("zone-yaml").value = yamlOf(draft.zones);
  element("zone-faults").replaceChildren(...draft.faults.map((fault) => {
    const item = document.createElement("li");
    item.textContent = inWords(fault);
    return item;
  }));
  const saves = draft.whyNot === null;
  element("zone-save").hidden = !saves;
  element("zone-save").disabled = draft.saving || draft.drawing || draft.faults.length > 0 || !draft.changed;
  setText(element("zone-why-not"), draft.whyNot ?? "");
}

function inWords({ place: where, got, wanted }) {
  const found = where.match(/^zones\[(\d+)\]\.?(.*)$/);
  const name = found ? draft.checked[found[1]]?.name || `zone ${Number(found[1]) + 1}` : "";
  const what = found ? [name, found[2]].filter(Boolean).join(", ") : where;
  return `${what}: ${got}. Wanted: ${wanted}.`;
}

function choose(at) {
  draft.at = at;
  draft.corner = null;
  draft.drawing = false;
  draw();
  checkSoon();
}

function finish() {
  if (!draft.drawing || (chosen()?.points.length ?? 0) < 3) return;
  draft.drawing = false;
  draw();
  checkSoon();
}

function freeName() {
  for (let count = 1; ; count += 1) {
    const name = `zone-${count}`;
    if (!draft.zones.some((zone) => zone.name === name)) return name;
  }
}

function add() {
  draft.zones.push({ name: freeName(), kind: "ignore", points: [] });
  draft.at = draft.zones.length - 1;
  draft.corner = null;
  draft.drawing = true;
  changed();
}

function removeZone() {
  draft.zones.splice(draft.at, 1);
  draft.at = Math.min(draft.at, draft.zones.length - 1);
  draft.corner = null;
  draft.drawing = false;
  changed();
  element("zone-add").focus();
}

function takeForm() {
  const zone = chosen();
  zone.name = element("zone-name").value.trim();
  zone.kind = element("zone-kind").value;
  for (const key of LIMITS) {
    const { value } = element(`zone-${key}`);
    if (zone.kind !== "watch" || value === "" || Number.isNaN(Number(value))) delete zone[key];
    else zone[key] = Number(value);
  }
  changed();
}

// What the camera says

async function post(address, body) {
  const answer = await fetch(address, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  const told = answer.headers.get("Content-Type")?.includes("json") ? await answer.json() : {};
  if (!answer.ok) throw new Error(told.detail ?? `the camera answers ${answer.status}`);
  return told;
}

function checkSoon() {
  clearTimeout(draft.checking);
  draft.checking = setTimeout(check, CHECK_AFTER_MS);
}

async function check() {
  const asked = draft;
  if (!asked) return;
  // What is still being drawn is not wrong yet.
  const zones = asked.drawing ? asked.zones.filter((zone) => zone !== chosen()) : asked.zones;
  let faults;
  try {
    ({ faults } = await post("live/zones/check", { zones }));
  } catch (error) {
    faults = [{ place: "zones", got: `no answer (${error.message})`, wanted: "a camera that can be reached" }];
  }
  if (draft !== asked) return;
  asked.checked = zones;
  asked.faults = faults;
  drawPanel();
}

async function copy() {
  const text = element("zone-yaml");
  try {
    await navigator.clipboard.writeText(text.value);
    tell("Copied. Put it into the camera's file.");
  } catch {
    // Without HTTPS a page may not write to the clipboard.
    text.focus();
    text.select();
    tell("Marked: copy it with Ctrl+C.");
  }
}

async function save() {
  const asked = draft;
  asked.saving = true;
  drawPanel();
  try {
    await post("live/zones", { zones: asked.zones, version: asked.version });
    if (draft !== asked) return;
    used = asked.zones;
    await open();
    tell("Saved. The camera uses these zones now.");
  } catch (error) {
    tell(`Not saved: ${error.message}.`);
  } finally {
    asked.saving = false;
    if (draft) drawPanel();
  }
}

// Open and close

async function open() {
  let state;
  try {
    const answer = await fetch("live/zones");
    if (!answer.ok) throw new Error(`the camera answers ${answer.status}`);
    state = await answer.json();
  } catch {
    return;
  }
  draft = {
    zones: structuredClone(state.zones), version: state.version, whyNot: state.why_not,
    at: state.zones.length ? 0 : -1, corner: null, drawing: false, dragged: null, cross: [0.5, 0.5],
    checked: [], faults: [], changed: false, saving: false, checking: 0,
  };
  place(element("zone-cross"), draft.cross);
  show(true);
  draw();
  tell("");
}

function close() {
  if (draft.changed && !confirm("Close the editor and forget the changes?")) return;
  clearTimeout(draft.checking);
  draft = null;
  show(false);
  drawZones();
  element("edit-zones").focus();
}

function show(isOpen) {
  document.body.classList.toggle("editing", isOpen);
  element("zone-editor").hidden = element("zone-layer").hidden = !isOpen;
  element("edit-zones").setAttribute("aria-expanded", String(isOpen));
}

element("edit-zones").addEventListener("click", () => (draft ? close() : open()));
element("zone-layer").addEventListener("pointerdown", press);
element("zone-layer").addEventListener("pointermove", drag);
for (const name of ["pointerup", "pointercancel"]) element("zone-layer").addEventListener(name, release);
element("zone-layer").addEventListener("keydown", pressKey);
element("zone-form").addEventListener("input", takeForm);
element("zone-form").addEventListener("submit", (event) => event.preventDefault());
element("zone-add").addEventListener("click", add);
element("zone-done").addEventListener("click", finish);
element("zone-more").addEventListener("click", () => {
  draft.drawing = true;
  draw();
  element("zone-layer").focus();
});
element("zone-remove-corner").addEventListener("click", () => remove(draft.corner));
element("zone-layer").addEventListener("focusin", ({ target }) => {
  const { index } = target.dataset;
  if (index !== undefined && Number(index) !== draft.corner) pick(Number(index));
});
element("zone-remove").addEventListener("click", removeZone);
element("zone-copy").addEventListener("click", copy);
element("zone-save").addEventListener("click", save);
element("zone-close").addEventListener("click", close);
