// Where the replacement of an encoder stands, and what one would bring.

import { call } from "./api.js";
import { $, el, fill, number, say, shown } from "./dom.js";
import { table } from "./explain.js";

const ENCODERS = ["minilm", "minilm-int8", "static"];
const ARMS = { "old/old": "the old encoder alone", "new query/old space": "new queries among old vectors", "mapped old vectors": "new queries among mapped old vectors", "new/new": "the new encoder alone" };
const VERDICTS = { do: "Worth it", reencode: "Only with more records encoded again", "don't": "Not worth it" };
let context = null;
let late = 0;

export async function show(given) {
  clearTimeout(late);
  context = given;
  const { upgrade } = await call(["collections", given.name, "upgrade"]);
  if (!upgrade) {
    fill($("upgraded"), el("p", {}, "No upgrade is open: every space is searched with the encoder that its vectors were made by."), rehearsal());
    return;
  }
  const bar = (label, count) => el("p", {}, el("label", {}, label, " ", el("progress", { max: Math.max(1, upgrade.records), value: count })), ` ${number(count)} of ${number(upgrade.records)}`);
  const failed = Object.entries(upgrade.failed);
  fill($("upgraded"),
    el("h2", {}, `Space ${upgrade.space}: ${upgrade.phase === "committed" ? "the new encoder answers" : "the old encoder answers, the new one is prepared"}`),
    bar("Encoded by the new encoder", upgrade.encoded),
    upgrade.using === "reencode" ? null : bar("Mapped from the old vectors", upgrade.mapped),
    el("p", { class: "muted" }, `Way: ${upgrade.using}. Spaces: ${upgrade.spaces.join(" and ")}; those that have an encoder here can be compared side by side.`),
    failed.length ? [el("h3", {}, "Could not be encoded"), el("ul", {}, failed.map(([id, why]) => el("li", {}, `${id}: ${shown(why)}`)))] : null);
  late = setTimeout(() => { if (!$("view-upgrade").hidden) show(given).catch(() => {}); }, 2000);
}

function rehearsal() {
  const spaces = Object.entries(context.stats.spaces || {}).filter(([, space]) => space.kind !== "tokens" && space.encoder);
  if (!spaces.length) return el("p", { class: "muted" }, "A rehearsal needs a space whose vectors an encoder made.");
  const held = spaces.map(([, space]) => space.encoder);
  const pick = (id, values) => el("select", { id }, values.map((value) => el("option", { value }, value)));
  const told = el("div", { id: "rehearsed", "aria-live": "polite" });
  const form = el("form", { id: "rehearse-form", on: { submit: (event) => { event.preventDefault(); run(told); } } },
    el("h2", {}, "Rehearse one"),
    el("p", { class: "muted" }, "Encodes a sample of the records and your queries with another encoder, and says how much of its gain would be had at once, without encoding everything again. Nothing is changed. It is run for good by ", el("code", {}, "orthant upgrade"), "."),
    el("div", { class: "bar" }, el("label", {}, "Space ", pick("rehearse-space", spaces.map(([name]) => name))), el("label", {}, "New encoder ", pick("rehearse-encoder", ENCODERS.filter((name) => held.length > 1 || name !== held[0]))), el("label", {}, "Records ", pick("rehearse-pairs", ["200", "500", "2000"]))),
    el("label", { for: "rehearse-queries" }, "Queries, one per line, ten or more; with fewer than fifty the intervals are wide"),
    el("textarea", { id: "rehearse-queries", rows: 8, class: "wide" }), el("p", {}, el("button", { type: "submit" }, "Rehearse")), told);
  return form;
}

async function run(place) {
  const queries = [...new Set($("rehearse-queries").value.split("\n").map((line) => line.trim()).filter(Boolean))];
  say("Rehearsing …");
  fill(place, el("label", {}, "Encoding the sample … ", el("progress", {})));
  try {
    const found = await call(["collections", context.name, "upgrade", "rehearse"], { encoder: $("rehearse-encoder").value, space: $("rehearse-space").value, pairs: Number($("rehearse-pairs").value), queries });
    fill(place, report(found));
    say("Rehearsal done.");
  } catch (error) { fill(place, el("p", { class: "alert" }, error.message)); say(""); }
}

function report(found) {
  const measure = found.metric.startsWith("overlap") ? "the share of the new encoder's own ten nearest that is found" : found.metric;
  const shares = Object.entries(found.shares).map(([share, gain]) => [`${Math.round(Number(share) * 100)} %`, number(found.means[share]), number(gain.share), `${number(gain.interval[0])} to ${number(gain.interval[1])}`]);
  return [
    el("h3", { class: found.action === "do" ? "good" : "warning" }, VERDICTS[found.action] || found.action), el("p", {}, found.reason),
    table(`Over ${number(found.documents)} records and ${number(found.queries)} queries: ${measure}`, ["how", found.metric], Object.entries(found.arms).map(([name, value]) => [ARMS[name] || name, number(value)])),
    table(`By the share of records encoded again (way: ${found.using})`, ["encoded again", found.metric, "part of the gain", "interval"], shares),
  ];
}
