"use strict";
// Everything is set as text: names and words come from other machines.
const MOST_ROWS = 500, EVERY_MS = 3000;
const rows = document.getElementById("rows"), sum = document.getElementById("sum");
const filter = document.getElementById("filter"), ill = document.getElementById("ill");
const more = document.getElementById("more");
let processes = [];

const needsAttention = (p) =>
  !["running", "ended", "stopped"].includes(p.state) ||
  p.alive === false || p.lease === false || (p.dead_letters || 0) > 0 ||
  (p.kind === "camera" && p.state === "running" && (p.frame_age_s == null || p.frame_age_s > 10));

function cell(row, label, text, kind) {
  const td = row.insertCell();
  const isEmpty = text == null || text === "";
  td.textContent = isEmpty ? "–" : String(text);
  td.toggleAttribute("data-empty", isEmpty);
  if (label) td.dataset.label = label;
  if (kind) td.className = kind;
  return td;
}

function note(td, text) {
  if (!text) return;
  const small = document.createElement("small");
  small.textContent = text;
  td.append(small);
}

function draw() {
  const wanted = filter.value.trim().toLowerCase();
  const shown = processes.filter((p) =>
    (!ill.checked || needsAttention(p)) &&
    (!wanted || [p.name, p.place, p.state, p.host].some((t) => (t || "").toLowerCase().includes(wanted))));
  // Whoever has reached a link by the keyboard stays there.
  const inFocus = document.activeElement?.closest("#rows a")?.textContent;
  rows.replaceChildren();
  for (const p of shown.slice(0, MOST_ROWS)) {
    const row = document.createElement("tr"), bad = needsAttention(p);
    const name = row.insertCell();
    if (p.target && p.live) {
      const link = document.createElement("a");
      link.href = `${p.scheme}://${p.target}/`;
      link.textContent = p.name;
      link.rel = "noreferrer";
      name.append(link);
    } else name.textContent = p.name;
    note(name, p.kind === "scorer" ? `scorer ${p.address || ""}` : "");
    const state = cell(row, "", p.state, bad ? "ill" : "well");
    note(state, bad ? p.detail : p.starts > 1 ? `started ${p.starts} times` : "");
    cell(row, "pictures/s", p.rate);
    cell(row, "quality", p.quality);
    cell(row, "age", p.frame_age_s == null ? null : `${p.frame_age_s.toFixed(1)} s`);
    cell(row, "outbox", p.outbox == null ? null : p.dead_letters ? `${p.outbox} (${p.dead_letters} dead)` : p.outbox);
    cell(row, "machine", p.host);
    cell(row, "place", p.place);
    rows.append(row);
  }
  if (inFocus) [...rows.querySelectorAll("a")].find((a) => a.textContent === inFocus)?.focus();
  more.hidden = shown.length <= MOST_ROWS;
  more.textContent = `${shown.length - MOST_ROWS} more: narrow the list by name, place or state.`;
}

async function ask() {
  try {
    const answer = await fetch("/fleet.json", { cache: "no-store" });
    if (answer.status === 401) { location.reload(); return; }
    const said = await answer.json();
    processes = said.processes.sort((a, b) =>
      needsAttention(b) - needsAttention(a) || a.name.localeCompare(b.name));
    const bad = processes.filter(needsAttention).length;
    document.getElementById("title").textContent = `Fleet ${said.fleet}`;
    const text = `${processes.length} processes, ${bad} need attention`;
    if (sum.textContent !== text) sum.textContent = text;
    draw();
  } catch {
    sum.textContent = "The overview does not answer; the cameras do not depend on it.";
  }
  setTimeout(ask, document.hidden ? 5 * EVERY_MS : EVERY_MS);
}

filter.addEventListener("input", draw);
ill.addEventListener("change", draw);
ask();
