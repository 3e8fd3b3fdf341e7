// Searching: by words and meaning, by filters, by examples; every hit explained.

import { call, feedOf } from "./api.js";
import { $, brief, button, complain, el, fill, number, options, say, shown } from "./dom.js";
import { card, planned } from "./explain.js";
import { facetFields, whereOf } from "./fields.js";
import { askWhy } from "./whynot.js";

const MODES = [["", "Best"], ["hybrid", "Both"], ["dense", "Meaning"], ["lexical", "Words"], ["sparse", "Terms"], ["tokens", "Tokens"]];
const KNOWN = new Set(["k", "mode", "recall", "offset", "depth", "effort", "weights", "fusion", "syntax", "min_score", "where", "space", "rerank", "rerank_depth", "diversity", "group_by", "groups", "per_group"]);

let context = null;
let state = null;
let running = null;
// What the map rings: ids of the last results, by collection.
export const last = { name: null, ids: [] };

function read(params) {
  const json = (name, other) => { try { return JSON.parse(params.get(name)) ?? other; } catch { return other; } };
  const wanted = Number(params.get("k") || 10), recall = Number(params.get("recall") || 0.95);
  return {
    q: params.get("q") || "", mode: params.get("mode") || "", space: params.get("space") || "default",
    recall: recall >= 0.8 && recall <= 1 ? recall : 0.95, k: Number.isInteger(wanted) && wanted > 0 && wanted <= 1000 ? wanted : 10,
    chosen: json("f", {}), raw: json("where", null), plus: json("plus", []), minus: json("minus", []),
    strength: Number(params.get("dir") ?? 1), extra: json("x", {}),
  };
}

function params() {
  const json = (value) => (value && Object.keys(value).length ? JSON.stringify(value) : "");
  return {
    q: state.q, mode: state.mode, space: state.space === "default" ? "" : state.space, k: state.k === 10 ? "" : state.k,
    recall: state.recall === 0.95 ? "" : state.recall, f: json(state.chosen), where: json(state.raw),
    plus: json(state.plus), minus: json(state.minus), dir: state.strength === 1 ? "" : state.strength, x: json(state.extra),
  };
}

function go() { context.go("search", params()); }

function controls() {
  const { stats } = context;
  const sparse = Object.keys(stats.sparse || {}).length > 0;
  const tokens = Object.values(stats.spaces || {}).some((space) => space.kind === "tokens");
  const modes = MODES.filter(([mode]) => (mode !== "sparse" || sparse) && (mode !== "tokens" || tokens));
  fill($("modes"), modes.map(([mode, label]) => el("label", {}, el("input", { type: "radio", name: "mode", value: mode, checked: state.mode === mode, on: { change: () => { take(); state.mode = mode; if (state.q) go(); } } }), el("span", {}, label))));
  options($("space"), Object.keys(stats.spaces || {}).map((name) => [name, name]), state.space);
  $("space").closest("label").hidden = Object.keys(stats.spaces || {}).length < 2;
  $("q").value = state.q;
  $("recall").value = state.recall;
  $("recall-shown").textContent = recallText(state.recall);
  if (![...$("k").options].some((one) => Number(one.value) === state.k)) $("k").append(el("option", {}, String(state.k)));
  $("k").value = String(state.k);
  $("where").value = state.raw ? JSON.stringify(state.raw) : "";
  $("raw").open = Boolean(state.raw);
}

function recallText(value) { return value >= 1 ? "1.00, every vector" : value.toFixed(2); }

function take() {
  state.q = $("q").value.trim();
  state.space = $("space").value || "default";
  state.recall = Number($("recall").value);
  state.k = Number($("k").value);
}

// What both a search and the question why something is missing are made of.
function ranking() {
  const where = whereOf(state.chosen, state.raw, context.stats);
  const body = { k: state.k, ...state.extra };
  if (state.mode) body.mode = state.mode;
  if (state.space !== "default") body.space = state.space;
  if (where !== undefined && !("where" in body)) body.where = where;
  if (state.recall !== 0.95 && !("recall" in body) && !("effort" in body) && state.mode !== "lexical" && state.mode !== "sparse" && state.mode !== "tokens") body.recall = state.recall;
  return body;
}

function unit(X) { const length = Math.hypot(...X) || 1; return X.map((x) => x / length); }

// The point that lies `strength` times as far from the unlike examples as the like ones do.
async function direction() {
  const ids = [...state.plus, ...state.minus];
  const { records } = await call(["collections", context.name, "get"], { ids, vectors: true });
  const cosine = context.stats.spaces[state.space]?.metric === "cosine";
  const mean = (part) => {
    const rows = part.map((record) => record?.vectors?.[state.space]).filter(Boolean).map((X) => (cosine ? unit(X) : X));
    if (!rows.length) throw new Error("The examples have no vector in this space.");
    return rows[0].map((_, i) => rows.reduce((sum, row) => sum + row[i], 0) / rows.length);
  };
  const like = mean(records.slice(0, state.plus.length));
  if (!state.minus.length) return like;
  const unlike = mean(records.slice(state.plus.length));
  return like.map((x, i) => x + state.strength * (x - unlike[i]));
}

async function byExample(signal, offset) {
  const where = whereOf(state.chosen, state.raw, context.stats);
  const common = { space: state.space, ...(where === undefined ? {} : { where }) };
  if (state.strength === 1 || !state.minus.length) {
    return call(["collections", context.name, "similar"], { ...common, positive: state.plus, negative: state.minus, k: state.k, offset }, { signal });
  }
  const examples = new Set([...state.plus, ...state.minus]);
  const found = await call(["collections", context.name, "search"], { ...common, vector: await direction(), mode: "dense", k: state.k + offset + examples.size }, { signal });
  found.hits = found.hits.filter((hit) => !examples.has(hit.id)).map((hit, i) => ({ ...hit, rank: i + 1 })).slice(offset, offset + state.k);
  return found;
}

async function bySearch(signal, offset, facets) {
  const body = { query: state.q, explain: true, ...ranking() };
  if (offset) body.offset = offset;
  if (facets.length) body.facets = Object.fromEntries(facets.map((name) => [name, 8]));
  return call(["collections", context.name, "search"], body, { signal });
}

export async function show(given) {
  context = given;
  state = read(given.params);
  controls();
  await named([...state.plus, ...state.minus]);
  steering();
  extras();
  await run(0);
}

async function run(offset) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const examples = state.plus.length > 0;
  $("ask-why").hidden = !state.q || examples;
  if (!examples && !state.q) return browse(signal);
  say("Searching …");
  $("hits").setAttribute("aria-busy", "true");
  try {
    const facets = offset || examples ? [] : facetFields(context.stats);
    const found = examples ? await byExample(signal, offset) : await bySearch(signal, offset, facets);
    results(found, offset);
    if (!offset) faceted(found.facets || {}, facets, examples);
    say(`${number(found.hits.length)} results${offset ? " more" : ""}.`);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!offset) { fill($("hits")); fill($("told")); }
    say("");
    throw error;
  } finally { $("hits").removeAttribute("aria-busy"); }
}

async function browse(signal) {
  const where = whereOf(state.chosen, state.raw, context.stats);
  const { records } = await call(["collections", context.name, "find"], { limit: state.k, ...(where === undefined ? {} : { where }) }, { signal });
  fill($("told"), el("p", {}, `${number(context.stats.records)} records${where === undefined ? "" : ", filtered"}. The first of them:`));
  fill($("hits"), records.map((record) => el("li", {}, card(record, { actions: actions(record) }))));
  $("more").hidden = true;
  fill($("facets"), el("p", { class: "muted" }, "Filters by field appear with a search."));
  Object.assign(last, { name: context.name, ids: [] });
  say("");
}

function results(found, offset) {
  const items = found.hits.map((hit) => el("li", {}, card(hit, { actions: actions(hit) })));
  if (offset) $("hits").append(...items);
  else {
    fill($("told"), planned(found.plan, `${found.hits.length} results`));
    fill($("hits"), items.length ? items : el("li", { class: "none" }, "Nothing matches. Take a filter away, or look by meaning."));
    Object.assign(last, { name: context.name, ids: [] });
  }
  for (const hit of found.hits) last.ids.push(hit.id);
  if (offset && items.length) items[0].querySelector("h2").setAttribute("tabindex", "-1"), items[0].querySelector("h2").focus();
  $("more").hidden = found.hits.length < state.k;
  $("more").onclick = () => run(offset + state.k).catch(complain);
}

function actions(record) {
  const mark = (kind, label, says) => {
    const pressed = state[kind].includes(record.id);
    return button(label, () => example(kind, record.id), { "aria-pressed": String(pressed), "aria-label": `${says}: ${brief(record)}`, title: says });
  };
  return [mark("plus", "+ More like this", "More like this"), mark("minus", "− Less", "Less like this"),
    button("On the map", () => context.go("map", { id: record.id, space: state.space }), { "aria-label": `Show on the map: ${brief(record)}` }),
    context.feed ? el("a", { class: "quiet", href: feedOf(context.name, record.id), "aria-label": `In the feed: ${brief(record)}` }, "In the feed") : null];
}

function example(kind, id) {
  take();
  const other = kind === "plus" ? "minus" : "plus";
  state[other] = state[other].filter((one) => one !== id);
  state[kind] = state[kind].includes(id) ? state[kind].filter((one) => one !== id) : [...state[kind], id];
  go();
}

const names = new Map();

// Examples are known by what they are called, also by whoever got the address from somebody else.
async function named(ids) {
  if (names.of !== context.name) { names.clear(); names.of = context.name; }
  const missing = ids.filter((id) => !names.has(id));
  if (!missing.length) return;
  const { records } = await call(["collections", context.name, "get"], { ids: missing });
  missing.forEach((id, i) => names.set(id, records[i] ? brief(records[i], 48) : id));
}

function steering() {
  const place = $("steer");
  place.hidden = !state.plus.length && !state.minus.length;
  if (place.hidden) { fill(place); return; }
  const chip = (kind, id) => el("li", { class: `chip ${kind}` }, `${kind === "plus" ? "+" : "−"} ${names.get(id) || id}`, button("×", () => example(kind, id), { class: "close", "aria-label": `Take away ${names.get(id) || id}` }));
  const slider = el("input", { type: "range", id: "strength", min: 0, max: 2, step: 0.1, value: state.strength, on: {
    input: (event) => { out.textContent = Number(event.target.value).toFixed(1); },
    change: (event) => { take(); state.strength = Number(event.target.value); go(); } } });
  const out = el("output", { for: "strength" }, state.strength.toFixed(1));
  fill(place, el("ul", { class: "chips" }, state.plus.map((id) => chip("plus", id)), state.minus.map((id) => chip("minus", id))),
    state.plus.length ? null : el("p", { class: "warning" }, "Mark at least one record with + : what should the results be like?"),
    state.plus.length && state.minus.length ? el("label", {}, "Away from − by ", slider, out) : null,
    button("Back to the query", () => { take(); state.plus = []; state.minus = []; state.strength = 1; go(); }),
    state.plus.length && state.q ? el("p", { class: "muted" }, "While there are examples, they are the query; the text waits.") : null);
}

function extras() {
  const chips = Object.entries(state.extra).map(([name, value]) => el("span", { class: "chip" }, `${name} = ${shown(value)}`, button("×", () => { delete state.extra[name]; go(); }, { class: "close", "aria-label": `Take away ${name}` })));
  fill($("extra"), chips);
}

function apply(settings) {
  take();
  for (const [name, value] of Object.entries(settings)) {
    if (name === "mode") state.mode = value;
    else if (name === "recall") state.recall = value;
    else if (name === "k") state.k = value;
    else if (name === "where" && !value) { state.chosen = {}; state.raw = null; }
    else if (KNOWN.has(name)) state.extra[name] = value;
  }
  go();
}

function faceted(facets, names, examples) {
  const parts = names.filter((name) => facets[name] && (facets[name].values.length > 1 || state.chosen[name])).map((name) => facet(name, facets[name]));
  if (Object.keys(state.chosen).length) parts.unshift(button("Take all filters away", () => { take(); state.chosen = {}; go(); }));
  fill($("facets"), parts.length ? parts : el("p", { class: "muted" }, examples ? "Filters by field come with a query; those chosen before hold on." : "No field has values that repeat."));
}

function facet(name, held) {
  const most = Math.max(1, ...held.values.map((one) => one.count), ...held.buckets.map((one) => one.count));
  const chosen = state.chosen[name] || {};
  const tally = (count) => { const line = el("i", { class: "tally" }); line.style.width = `${(count / most) * 100}%`; return line; };
  const ranged = chosen.low !== undefined || (held.buckets.length && held.distinct > 8);
  const rows = ranged ? ranges(held, chosen).map((bucket) => {
    const date = typeof bucket.low === "string";
    const on = chosen.low === bucket.low && chosen.high === bucket.high;
    const label = date ? (bucket.low === bucket.high ? bucket.low : `${bucket.low} to ${bucket.high}`) : bucket.high - bucket.low === 1 && Number.isInteger(bucket.low) ? String(bucket.low) : `${plain(bucket.low)} to ${plain(bucket.high)}`;
    return row(label, bucket.count, on, tally, () => { if (on) delete state.chosen[name]; else state.chosen[name] = { low: bucket.low, high: bucket.high, date }; });
  }) : values(held, chosen).map(({ value, count }) => {
    const on = (chosen.values || []).includes(value);
    return row(shown(value) === String(value) || typeof value !== "number" ? String(value) : String(value), count, on, tally, () => {
      const rest = (chosen.values || []).filter((one) => one !== value);
      const now = on ? rest : [...rest, value];
      if (now.length) state.chosen[name] = { values: now }; else delete state.chosen[name];
    });
  });
  const left = ranged ? null : held.other ? el("li", { class: "muted" }, `${number(held.other)} with other values`) : null;
  return el("fieldset", { class: "facet" }, el("legend", {}, name), el("ul", {}, rows, left, held.missing ? el("li", { class: "muted" }, `${number(held.missing)} without`) : null));
}

function plain(value) { return typeof value === "number" ? String(Number(value.toPrecision(6))) : String(value); }

// Ranges depend on what matches; the chosen one stays.
function ranges(held, chosen) {
  if (chosen.low === undefined || held.buckets.some((one) => one.low === chosen.low && one.high === chosen.high)) return held.buckets;
  const count = held.values.reduce((sum, one) => sum + one.count, 0) + held.other;
  return [{ low: chosen.low, high: chosen.high, count }];
}

// What was chosen stays to be seen, and to be taken away, where nothing is left of it.
function values(held, chosen) {
  const listed = held.values.map((one) => one.value);
  return [...held.values, ...(chosen.values || []).filter((value) => !listed.includes(value)).map((value) => ({ value, count: 0 }))];
}

function row(label, count, on, tally, change) {
  return el("li", {}, el("label", {}, el("input", { type: "checkbox", checked: on, on: { change: () => { take(); change(); go(); } } }), el("span", { class: "name" }, label), el("span", { class: "count" }, number(count)), tally(count)));
}

$("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  take();
  state.plus = []; state.minus = [];
  if (location.hash === "#" + hashOf()) run(0).catch(complain); else go();
});
function hashOf() { return `/${encodeURIComponent(context.name)}/search?${new URLSearchParams(Object.entries(params()).filter(([, value]) => value !== "")).toString()}`; }
$("recall").addEventListener("input", () => { $("recall-shown").textContent = recallText(Number($("recall").value)); });
for (const id of ["recall", "k", "space"]) $(id).addEventListener("change", () => { take(); if (state.q || state.plus.length) go(); });
$("where-apply").addEventListener("click", () => {
  take();
  const text = $("where").value.trim();
  try { state.raw = text ? JSON.parse(text) : null; } catch (error) { complain(new Error(`The filter is no JSON: ${error.message}`)); return; }
  go();
});
$("ask-why").addEventListener("click", () => askWhy(context, { query: state.q, ...ranking() }, "", apply));

// For the map: the same question about a record that was pointed at.
export function whyNot(given, id) {
  if (!state?.q || context?.name !== given.name) return false;
  askWhy(context, { query: state.q, ...ranking() }, id, apply);
  return true;
}
