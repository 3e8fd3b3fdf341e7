// The collection on a plane: 20,000 points on a canvas, moved and zoomed at every frame, colours by a field, a lasso.

import { call, feedOf } from "./api.js";
import { $, brief, button, complain, el, fill, number, options, say } from "./dom.js";
import { card } from "./explain.js";
import { colourFields } from "./fields.js";
import { last, whyNot } from "./search.js";

// Told apart by those who see few colours as well; the last two stand for "others" and for "without".
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#a08a00", "#7b61c9"];
const OTHERS = "#8a94a3";
const SHADES = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [240, 200, 40]];
const CELLS = 64;
const REACH = 9;
const canvas = $("map");
const pen = canvas.getContext("2d", { alpha: true });

let context = null;
let points = null;
let colours = null;
let hidden = new Set();
let chosen = new Set();
let focus = -1;
let view = { x: 0, y: 0, zoom: 1 };
let lasso = null;
let lassoing = false;
let wanted = 0;
let turn = 0;
const known = new Map();
export const timing = { frames: 0, milliseconds: 0 };

export async function show(given) {
  const same = context && context.name === given.name;
  context = given;
  const spaces = Object.entries(given.stats.spaces || {}).filter(([, space]) => space.kind !== "tokens").map(([name]) => name);
  if (!spaces.length) { complain(new Error("A map needs a space of vectors, and this collection has none.")); return; }
  const space = spaces.includes(given.params.get("space")) ? given.params.get("space") : spaces[0];
  options($("map-space"), spaces.map((name) => [name, name]), space);
  $("map-space").closest("label").hidden = spaces.length < 2;
  const fields = colourFields(given.stats);
  const field = fields.includes(given.params.get("by")) ? given.params.get("by") : fields[0] || "";
  options($("map-field"), [...fields.map((name) => [name, name]), ["", "nothing"]], given.params.get("by") === "" ? "" : field);
  if (!same || !points || points.space !== space) { points = null; await load(space, false); } else { resize(); request(); }
  const id = given.params.get("id");
  if (id && points) point(points.ids.indexOf(id), true, id);
}

async function load(space, refresh) {
  const now = ++turn;
  chosen = new Set(); focus = -1; colours = null; known.clear();
  fill($("map-panel")); fill($("legend"));
  $("map-told").textContent = "";
  let first = refresh;
  for (;;) {
    const told = await call(["collections", context.name, "map"], { space, ...(first ? { refresh: true } : {}) });
    if (now !== turn) return;
    first = false;
    if (told.state === "ready") { place(told); break; }
    $("map-wait").hidden = false;
    $("map-progress").value = told.share;
    $("map-stage").textContent = `${told.stage[0].toUpperCase()}${told.stage.slice(1)} …`;
    await new Promise((resolve) => setTimeout(resolve, 300));
    if (now !== turn) return;
  }
  $("map-wait").hidden = true;
  await paint();
}

function place(told) {
  const raw = Uint8Array.from(atob(told.places), (letter) => letter.charCodeAt(0));
  const places = new Float32Array(raw.buffer);
  points = { space: told.space, ids: told.ids, places, count: told.ids.length, cells: cells(places, told.ids.length) };
  view = { x: 0, y: 0, zoom: 1 };
  const part = told.records > points.count ? ` of ${number(told.records)}, evenly chosen` : "";
  $("map-told").textContent = points.count ? `${number(points.count)} records${part}. What lies together is alike; distances between far groups say little.` : "No record has a vector in this space.";
  $("map-redo").hidden = told.current;
  resize();
}

// Which points lie in which cell of a grid, for finding the one under the pointer.
function cells(places, count) {
  const grid = new Map();
  for (let i = 0; i < count; i += 1) {
    const key = cell(places[2 * i]) * CELLS + cell(places[2 * i + 1]);
    if (!grid.has(key)) grid.set(key, []);
    grid.get(key).push(i);
  }
  return grid;
}
function cell(value) { return Math.max(0, Math.min(CELLS - 1, Math.floor(((value + 1) / 2) * CELLS))); }

async function paint() {
  const field = $("map-field").value;
  hidden = new Set();
  const now = turn;
  const told = field ? await call(["collections", context.name, "map", "values"], { space: points.space, field }) : null;
  if (now !== turn) return;
  colours = told && paired(told);
  legend(field, told);
  request();
}

function paired(told) {
  const shade = (code) => {
    const at = (code / 255) * (SHADES.length - 1), low = Math.min(SHADES.length - 2, Math.floor(at)), rest = at - low;
    return `rgb(${SHADES[low].map((value, i) => Math.round(value + rest * (SHADES[low + 1][i] - value))).join(" ")})`;
  };
  // Sixteen shades are as many as one tells apart, and each is drawn in one go.
  const palette = told.kind === "numbers" ? Array.from({ length: 16 }, (_, i) => shade((i / 15) * 255)) : told.labels.map((label, i) => (label === null ? OTHERS : COLOURS[i]));
  const codes = told.kind === "numbers" ? told.codes.map((code) => (code < 0 ? -1 : code >> 4)) : told.codes;
  const groups = palette.map(() => []);
  const without = [];
  codes.forEach((code, i) => (code < 0 ? without : groups[code]).push(i));
  return { palette, codes, groups, without, told };
}

function legend(field, told) {
  if (!told) { fill($("legend")); return; }
  if (told.kind === "numbers") {
    const scale = el("li", { class: "scale" }, el("span", {}, number(told.low)), el("span", { class: "shades", role: "img", "aria-label": `${field} from ${number(told.low)} to ${number(told.high)}, dark to light` }, colours.palette.map((colour) => { const piece = el("i"); piece.style.backgroundColor = colour; return piece; })), el("span", {}, number(told.high)));
    fill($("legend"), scale, told.missing ? el("li", { class: "muted" }, `${number(told.missing)} without`) : null);
    return;
  }
  const rows = told.labels.map((label, i) => {
    const swatch = el("i", { class: "swatch" });
    swatch.style.backgroundColor = colours.palette[i];
    const toggle = button([swatch, label === null ? `${number(told.distinct - told.labels.length + 1)} others` : label, el("span", { class: "count" }, number(told.counts[i]))], () => {
      if (hidden.has(i)) hidden.delete(i); else hidden.add(i);
      toggle.setAttribute("aria-pressed", String(!hidden.has(i)));
      request();
    }, { "aria-pressed": "true", class: "legend-entry", title: "Show or hide" });
    return told.counts[i] ? el("li", {}, toggle) : null;
  });
  fill($("legend"), rows, told.missing ? el("li", { class: "muted" }, `${number(told.missing)} without`) : null);
}

function resize() {
  const box = canvas.parentElement.getBoundingClientRect();
  const scale = devicePixelRatio || 1;
  const width = Math.max(100, Math.round(box.width * scale)), height = Math.max(100, Math.round(box.height * scale));
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  request();
}

function request() { if (!wanted) wanted = requestAnimationFrame(() => { wanted = 0; draw(); }); }

function frame() {
  const side = (Math.min(canvas.width, canvas.height) / 2) * 0.94 * view.zoom;
  return { side, x: canvas.width / 2 - view.x * side, y: canvas.height / 2 - view.y * side };
}

function draw() {
  if (!points) return;
  const began = performance.now();
  const { side, x, y } = frame();
  const scale = devicePixelRatio || 1;
  const size = Math.max(1.5, Math.min(10, (points.count > 3000 ? 2.2 : points.count > 300 ? 5 : 8) * Math.sqrt(view.zoom))) * scale;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  const some = chosen.size > 0;
  const group = (members, colour) => {
    pen.fillStyle = colour;
    pen.globalAlpha = some ? 0.18 : points.count > 3000 ? 0.75 : 0.9;
    dots(members, side, x, y, size);
    if (!some) return;
    pen.globalAlpha = 1;
    dots(members.filter((i) => chosen.has(i)), side, x, y, size * 1.15);
  };
  if (colours) {
    group(colours.without, OTHERS);
    colours.groups.forEach((members, i) => { if (!hidden.has(i)) group(members, colours.palette[i]); });
  } else group(points.every ??= Array.from({ length: points.count }, (_, i) => i), COLOURS[0]);
  pen.globalAlpha = 1;
  const ink = getComputedStyle(canvas).color;
  if (last.name === context.name) rings(last.ids, ink, side, x, y, size + 5 * scale, 1.5 * scale);
  if (focus >= 0) rings([points.ids[focus]], ink, side, x, y, size + 9 * scale, 3 * scale);
  if (lasso) outline(ink);
  if (document.activeElement === canvas) cross(ink, scale);
  timing.frames += 1;
  timing.milliseconds += performance.now() - began;
}

function dots(members, side, x, y, size) {
  const { places } = points, half = size / 2, round = members.length < 3000 || size >= 4 * (devicePixelRatio || 1);
  if (round) pen.beginPath();
  for (const i of members) {
    const px = places[2 * i] * side + x, py = -places[2 * i + 1] * side + y;
    if (px < -size || py < -size || px > canvas.width + size || py > canvas.height + size) continue;
    if (round) { pen.moveTo(px + half, py); pen.arc(px, py, half, 0, 7); } else pen.fillRect(px - half, py - half, size, size);
  }
  if (round) pen.fill();
}

function rings(ids, ink, side, x, y, size, width) {
  pen.strokeStyle = ink;
  pen.lineWidth = width;
  for (const id of ids) {
    const i = (points.index ??= new Map(points.ids.map((one, at) => [one, at]))).get(id);
    if (i === undefined) continue;
    pen.beginPath();
    pen.arc(points.places[2 * i] * side + x, -points.places[2 * i + 1] * side + y, size / 2 + 2, 0, 7);
    pen.stroke();
  }
}

function outline(ink) {
  pen.strokeStyle = ink;
  pen.lineWidth = 2;
  pen.setLineDash([6, 4]);
  pen.beginPath();
  lasso.forEach(([px, py], i) => (i ? pen.lineTo(px, py) : pen.moveTo(px, py)));
  pen.closePath();
  pen.stroke();
  pen.setLineDash([]);
}

function cross(ink, scale) {
  const px = canvas.width / 2, py = canvas.height / 2, arm = 8 * scale;
  pen.strokeStyle = ink;
  pen.lineWidth = scale;
  pen.beginPath();
  pen.moveTo(px - arm, py); pen.lineTo(px + arm, py); pen.moveTo(px, py - arm); pen.lineTo(px, py + arm);
  pen.stroke();
}

function at(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) * (canvas.width / box.width), (event.clientY - box.top) * (canvas.height / box.height)];
}

function toPlane([px, py]) {
  const { side, x, y } = frame();
  return [(px - x) / side, -(py - y) / side];
}

function visible(i) { return !colours || colours.codes[i] < 0 || !hidden.has(colours.codes[i]); }

function nearest(pixel, reach) {
  const { side } = frame();
  const [x, y] = toPlane(pixel);
  const span = Math.ceil((reach / side / 2) * CELLS) + 1;
  let best = -1, least = (reach / side) ** 2;
  const visit = (i) => {
    const distance = (points.places[2 * i] - x) ** 2 + (points.places[2 * i + 1] - y) ** 2;
    if (distance <= least && visible(i)) { least = distance; best = i; }
  };
  if (span > CELLS / 4) { for (let i = 0; i < points.count; i += 1) visit(i); return best; }
  for (let a = cell(x) - span; a <= cell(x) + span; a += 1) for (let b = cell(y) - span; b <= cell(y) + span; b += 1) (points.cells.get(a * CELLS + b) || []).forEach(visit);
  return best;
}

function zoom(factor, [px, py] = [canvas.width / 2, canvas.height / 2]) {
  const before = toPlane([px, py]);
  view.zoom = Math.max(0.5, Math.min(200, view.zoom * factor));
  const after = toPlane([px, py]);
  view.x += before[0] - after[0];
  view.y -= before[1] - after[1];
  request();
}

function move(dx, dy) {
  const { side } = frame();
  view.x -= dx / side;
  view.y -= dy / side;
  request();
}

// ---- one record -----------------------------------------------------------------------------------------------

async function records(ids) {
  const missing = ids.filter((id) => id !== null && !known.has(id));
  if (missing.length) for (const one of (await call(["collections", context.name, "get"], { ids: missing })).records) if (one) known.set(one.id, one);
  return ids.map((id) => known.get(id)).filter(Boolean);
}

async function point(i, centre, id = points.ids[i]) {
  focus = i;
  if (i >= 0 && centre) {
    view.zoom = Math.max(view.zoom, points.count > 3000 ? 8 : 3);
    view.x = points.places[2 * i];
    view.y = -points.places[2 * i + 1];
  }
  request();
  const [record] = await records([id]);
  if (!record) { fill($("map-panel"), el("p", { class: "warning" }, "This record was removed since the map was made.")); return; }
  const like = button("More like this", () => context.go("search", { plus: JSON.stringify([id]), space: points.space === "default" ? "" : points.space }));
  const why = button("Why is it not in my results?", () => { if (!whyNot(context, id)) complain(new Error("Search first: the question is about a search.")); });
  const entry = context.feed ? el("a", { class: "quiet", href: feedOf(context.name, id) }, "In the feed") : null;
  fill($("map-panel"), i < 0 ? el("p", { class: "muted" }, "This record is not among those on the map.") : null, card(record, { actions: [like, why, entry], level: "h2" }));
}

let late = 0;
function hover(pixel, event) {
  const i = nearest(pixel, REACH * (devicePixelRatio || 1));
  const tip = $("map-tip");
  canvas.classList.toggle("over", i >= 0);
  clearTimeout(late);
  if (i < 0 || points.ids[i] === null) { tip.hidden = true; return; }
  late = setTimeout(async () => {
    const box = canvas.getBoundingClientRect();
    const [record] = await records([points.ids[i]]);
    if (!record) return;
    tip.textContent = brief(record);
    tip.hidden = false;
    const left = event.clientX - box.left, right = left > box.width / 2;
    tip.style.top = `${event.clientY - box.top + 14}px`;
    tip.style.left = right ? "auto" : `${left + 14}px`;
    tip.style.right = right ? `${box.width - left + 14}px` : "auto";
  }, 90);
}

// ---- many records ---------------------------------------------------------------------------------------------

function inside([x, y], path) {
  let odd = false;
  for (let i = 0, j = path.length - 1; i < path.length; j = i, i += 1) {
    const [ax, ay] = path[i], [bx, by] = path[j];
    if ((ay > y) !== (by > y) && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
  }
  return odd;
}

async function gather() {
  const path = lasso.map(toPlane);
  lasso = null;
  chosen = new Set();
  if (path.length > 2) for (let i = 0; i < points.count; i += 1) if (visible(i) && points.ids[i] !== null && inside([points.places[2 * i], points.places[2 * i + 1]], path)) chosen.add(i);
  request();
  if (!chosen.size) { fill($("map-panel"), el("p", { class: "muted" }, "Nothing lies within that line.")); return; }
  say(`${number(chosen.size)} records chosen.`);
  const ids = [...chosen].map((i) => points.ids[i]);
  const found = await records(ids.slice(0, 30));
  fill($("map-panel"), el("h2", {}, `${number(chosen.size)} records`), makeUp(),
    el("div", { class: "actions" }, button("Search like these", () => context.go("search", { plus: JSON.stringify(ids.slice(0, 12)), space: points.space === "default" ? "" : points.space })),
      button("Let go", release)),
    el("ul", { class: "titles" }, found.map((record) => el("li", {}, button(brief(record), () => point(points.ids.indexOf(record.id), false), { class: "link" })))),
    ids.length > found.length ? el("p", { class: "muted" }, `and ${number(ids.length - found.length)} more`) : null);
}

// What the chosen records have in common: counts of the coloured field.
function makeUp() {
  if (!colours || colours.told.kind !== "values") return null;
  const tally = new Map();
  for (const i of chosen) tally.set(colours.codes[i], (tally.get(colours.codes[i]) || 0) + 1);
  const parts = [...tally].sort((a, b) => b[1] - a[1]).slice(0, 5).map(([code, count]) => `${code < 0 ? "without" : colours.told.labels[code] ?? "others"} ${number(count)}`);
  return el("p", { class: "muted" }, `${$("map-field").value}: ${parts.join(", ")}`);
}

function release() { chosen = new Set(); focus = -1; fill($("map-panel")); request(); }

function pointer(mode) {
  lassoing = mode;
  $("map-pan").setAttribute("aria-pressed", String(!mode));
  $("map-lasso").setAttribute("aria-pressed", String(mode));
  canvas.classList.toggle("lassoing", mode);
}

// ---- input ------------------------------------------------------------------------------------------------------

const down = new Map();
let moved = 0;
canvas.addEventListener("pointerdown", (event) => {
  if (!points || (event.pointerType === "mouse" && event.button !== 0)) return;
  canvas.setPointerCapture(event.pointerId);
  down.set(event.pointerId, at(event));
  moved = 0;
  lasso = down.size === 1 && (lassoing || event.shiftKey) ? [at(event)] : null;
});
canvas.addEventListener("pointermove", (event) => {
  if (!points) return;
  const pixel = at(event), before = down.get(event.pointerId);
  if (!before) { hover(pixel, event); return; }
  const dx = pixel[0] - before[0], dy = pixel[1] - before[1];
  moved += Math.abs(dx) + Math.abs(dy);
  $("map-tip").hidden = true;
  if (down.size === 2) {
    const [other] = [...down].filter(([key]) => key !== event.pointerId).map(([, value]) => value);
    zoom(Math.hypot(pixel[0] - other[0], pixel[1] - other[1]) / Math.max(1, Math.hypot(before[0] - other[0], before[1] - other[1])), [(pixel[0] + other[0]) / 2, (pixel[1] + other[1]) / 2]);
  } else if (lasso) { lasso.push(pixel); request(); } else move(dx, dy);
  down.set(event.pointerId, pixel);
});
canvas.addEventListener("pointerup", (event) => {
  if (!down.delete(event.pointerId) || !points) return;
  const clicked = moved < 5;
  if (lasso && !clicked) gather().catch(complain);
  else if (clicked && !down.size) {
    lasso = null;
    const i = nearest(at(event), (REACH + 3) * (devicePixelRatio || 1));
    if (i >= 0) point(i, false).catch(complain); else release();
  }
});
canvas.addEventListener("pointercancel", (event) => { down.delete(event.pointerId); lasso = null; request(); });
canvas.addEventListener("pointerleave", () => { clearTimeout(late); $("map-tip").hidden = true; });
canvas.addEventListener("wheel", (event) => { event.preventDefault(); if (points) zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), at(event)); }, { passive: false });
canvas.addEventListener("dblclick", (event) => points && zoom(2, at(event)));
canvas.addEventListener("keydown", (event) => {
  if (!points || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = Math.min(canvas.width, canvas.height) / 10;
  const keys = {
    ArrowLeft: () => move(step, 0), ArrowRight: () => move(-step, 0), ArrowUp: () => move(0, step), ArrowDown: () => move(0, -step),
    "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), 0: whole, Escape: release,
    Enter: () => { const i = nearest([canvas.width / 2, canvas.height / 2], Math.max(canvas.width, canvas.height)); if (i >= 0) point(i, false).catch(complain); },
  };
  if (Object.hasOwn(keys, event.key)) { event.preventDefault(); keys[event.key](); }
});
canvas.addEventListener("focus", request);
canvas.addEventListener("blur", request);
function whole() { view = { x: 0, y: 0, zoom: 1 }; request(); }
$("map-in").addEventListener("click", () => points && zoom(1.6));
$("map-out").addEventListener("click", () => points && zoom(1 / 1.6));
$("map-whole").addEventListener("click", whole);
$("map-pan").addEventListener("click", () => pointer(false));
$("map-lasso").addEventListener("click", () => pointer(true));
$("map-redo").addEventListener("click", () => load(points.space, true).catch(complain));
$("map-space").addEventListener("change", () => load($("map-space").value, false).catch(complain));
$("map-field").addEventListener("change", () => points && paint().catch(complain));
new ResizeObserver(() => { if (!$("view-map").hidden) resize(); }).observe(canvas.parentElement);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", request);

// What a test may ask: where a record lies on the screen, and what was chosen.
export function probe() {
  const { side, x, y } = points ? frame() : { side: 0, x: 0, y: 0 };
  const scale = canvas.width / Math.max(1, canvas.getBoundingClientRect().width);
  return { count: points?.count ?? 0, chosen: chosen.size, zoom: view.zoom, screen: (i) => [(points.places[2 * i] * side + x) / scale, (-points.places[2 * i + 1] * side + y) / scale], id: (i) => points.ids[i] };
}
