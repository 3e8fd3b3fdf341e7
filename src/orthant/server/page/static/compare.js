// The same query asked two ways, side by side: two spaces, or two modes of one.

import { call } from "./api.js";
import { $, complain, el, fill, number, options } from "./dom.js";
import { card } from "./explain.js";

const MODES = [["best", "Best"], ["hybrid", "Both"], ["dense", "Meaning"], ["lexical", "Words"], ["sparse", "Terms"], ["tokens", "Tokens"]];
const SIDES = ["left", "right"];
let context = null;

function read(params, side, spaces) {
  const other = spaces.length > 1 && side === "right" ? spaces[1] : spaces[0] || "default";
  const mode = spaces.length > 1 ? "dense" : side === "left" ? "dense" : "lexical";
  return { space: params.get(`${side}-space`) || other, mode: params.get(`${side}-mode`) || mode };
}

export async function show(given) {
  context = given;
  const spaces = Object.keys(given.stats.spaces || {});
  $("compare-q").value = given.params.get("q") || "";
  const ways = SIDES.map((side) => read(given.params, side, spaces));
  SIDES.forEach((side, i) => controls(side, ways[i], spaces));
  fill($("left")); fill($("right")); $("compare-told").textContent = "";
  const query = $("compare-q").value.trim();
  if (!query) {
    $("compare-told").textContent = spaces.length > 1 ? "Ask once, and see what each space finds." : "One space here: compare meaning with words, or add a second space.";
    return;
  }
  const found = await Promise.allSettled(ways.map((way) => call(["collections", given.name, "search"], { query, k: 10, explain: true, ...(way.mode === "best" ? {} : { mode: way.mode }), ...(way.space === "default" ? {} : { space: way.space }) })));
  const ids = found.map((one) => (one.status === "fulfilled" ? one.value.hits.map((hit) => hit.id) : []));
  found.forEach((one, i) => list(SIDES[i], one, ids[1 - i]));
  const shared = ids[0].filter((id) => ids[1].includes(id)).length;
  if (found.every((one) => one.status === "fulfilled")) $("compare-told").textContent = `${number(shared)} records are on both sides, of ${number(ids[0].length)} and ${number(ids[1].length)}.`;
}

function controls(side, way, spaces) {
  const pick = (id, label, values, chosen) => { const select = el("select", { id: `${side}-${id}`, on: { change: go } }); options(select, values, chosen); return el("label", {}, label, " ", select); };
  fill($(`${side}-how`), spaces.length ? pick("space", "Space", spaces.map((name) => [name, name]), way.space) : null, pick("mode", "Look by", MODES.filter(([mode]) => allowed(mode)), way.mode));
}

function allowed(mode) {
  if (mode === "sparse") return Object.keys(context.stats.sparse || {}).length > 0;
  if (mode === "tokens") return Object.values(context.stats.spaces || {}).some((space) => space.kind === "tokens");
  return true;
}

function list(side, found, others) {
  if (found.status === "rejected") { fill($(side), el("li", { class: "alert" }, found.reason.message)); return; }
  fill($(side), found.value.hits.length ? found.value.hits.map((hit, i) => {
    const there = others.indexOf(hit.id);
    const text = there < 0 ? "only here" : there === i ? "same rank" : there > i ? `${there - i} higher than there` : `${i - there} lower than there`;
    return el("li", { class: there < 0 ? "alone" : "" }, card(hit, { badge: el("span", { class: there < 0 ? "badge alone" : "badge" }, text) }));
  }) : el("li", { class: "none" }, "Nothing matches."));
}

function go() {
  const params = { q: $("compare-q").value.trim() };
  for (const side of SIDES) for (const part of ["space", "mode"]) { const select = $(`${side}-${part}`); if (select) params[`${side}-${part}`] = select.value; }
  context.go("compare", params);
}
$("compare-form").addEventListener("submit", (event) => { event.preventDefault(); try { go(); } catch (error) { complain(error); } });
