// What the vectors are like, what searches miss and cost, and what to do: figures with their intervals.

import { call } from "./api.js";
import { $, bytes, el, fill, number, options, say, shown, svg } from "./dom.js";
import { table } from "./explain.js";

let context = null;

export async function show(given) {
  context = given;
  const spaces = Object.entries(given.stats.spaces || {}).filter(([, space]) => space.kind !== "tokens").map(([name]) => [name, name]);
  options($("diagnose-space"), spaces, given.params.get("space") || "default");
  $("diagnose-form").hidden = !spaces.length;
  fill($("diagnosis"), el("p", { class: "muted" }, "Takes seconds for thousands of records, a minute for hundreds of thousands. It needs a key with the scope admin where there are keys."));
  holds(given.stats);
}

function holds(stats) {
  const spaces = Object.entries(stats.spaces || {}).map(([name, space]) => [name, space.encoder || "vectors brought along", number(space.dim), space.metric, number(space.vectors), space.graph ? "graph" : space.plan || "–", bytes(space.bytes || 0)]);
  const fields = Object.entries(stats.fields || {}).map(([name, field]) => [name, Object.keys(field.types).join(", "), number(field.distinct), cut(field.min), cut(field.max)]);
  fill($("holds"), el("p", {}, `${number(stats.records)} records, ${bytes(stats.bytes?.total || 0)} on disk, commit ${number(stats.generation)}.`),
    spaces.length ? table("Spaces", ["name", "encoder", "dimension", "metric", "vectors", "searched by", "on disk"], spaces) : null,
    fields.length ? table("Fields", ["name", "types", "distinct", "least", "greatest"], fields) : null);
}

function cut(value) { const text = shown(value); return text.length > 40 ? `${text.slice(0, 38)}…` : text; }

async function run() {
  const place = $("diagnosis");
  say("Diagnosing …");
  fill(place, el("p", { class: "muted" }, "Measuring …"), el("progress", {}));
  try {
    const told = await call(["collections", context.name, "diagnose"], { space: $("diagnose-space").value, sample: Number($("diagnose-sample").value) });
    fill(place, report(told));
    say("Diagnosis done.");
  } catch (error) { fill(place, el("p", { class: "alert" }, error.message)); say(""); }
}

function words(name) { return name.replaceAll("_", " "); }

function report(told) {
  const figures = Object.entries(told.figures).map(([name, one]) => [words(name), number(one.value), one.low === one.high ? "" : `${number(one.low)} to ${number(one.high)}`, number(one.count)]);
  const advice = (told.advice || []).map((one) => el("li", {}, one));
  const curves = Object.entries(told.curves || {}).filter(([, curve]) => Array.isArray(curve.edges) && spread(curve.edges)).map(([name, curve]) => histogram(words(name), curve));
  const missing = Object.entries(told.missing || {}).map(([name, why]) => el("li", {}, `${words(name)}: ${why}`));
  return [
    el("h2", {}, "What to do"), advice.length ? el("ul", {}, advice) : el("p", { class: "good" }, "Nothing to mend was found."),
    table(`Figures over ${number(told.sample.rows)} sampled rows of ${number(told.vectors)}, with 95 % intervals`, ["figure", "value", "interval", "of"], figures),
    el("div", { class: "plots" }, curves),
    missing.length ? [el("h3", {}, "Not measured"), el("ul", { class: "muted" }, missing)] : null,
  ].flat();
}

// All alike but for rounding: nothing to draw.
function spread(edges) { return edges.at(-1) - edges[0] > 1e-5 * Math.abs(edges.at(-1)); }

function histogram(name, { edges, counts }) {
  const most = Math.max(1, ...counts), wide = 260, high = 90, step = wide / counts.length;
  const low = number(edges[0]), top = number(edges.at(-1));
  const bars = counts.map((count, i) => svg("rect", { x: i * step + 0.5, y: high - (count / most) * high, width: Math.max(1, step - 1), height: (count / most) * high }));
  const picture = svg("svg", { viewBox: `0 0 ${wide} ${high + 16}`, role: "img", "aria-label": `${name}, from ${low} to ${top}, most often near ${number(edges[counts.indexOf(most)])}` }, ...bars);
  for (const [x, anchor, text] of [[0, "start", low], [wide, "end", top]]) { const label = svg("text", { x, y: high + 13, "text-anchor": anchor }); label.textContent = text; picture.append(label); }
  return el("figure", {}, el("figcaption", {}, name), picture);
}

$("diagnose-form").addEventListener("submit", (event) => { event.preventDefault(); run(); });
