// One hit, and why it is there: legs, words, tokens, concepts, stages; and the plan of a search.

import { button, el, excerpt, marked, number, shown, titled } from "./dom.js";

const LEGS = { dense: "meaning", lexical: "words", sparse: "terms", tokens: "tokens" };

// A leg of a further space is called "dense:SPACE".
function called(name) { const [leg, ...space] = name.split(":"); return [LEGS[leg] || leg, ...space].join(" "); }
function legClass(name) { return `leg-${name.split(":")[0]}`; }

function shares(hit) {
  const parts = Object.entries(hit.legs || {}).map(([name, leg]) => [name, leg.normalized !== null && leg.weight !== null ? leg.normalized * leg.weight : null]);
  return parts.filter(([, share]) => share !== null);
}

function bar(hit) {
  const parts = shares(hit);
  if (!parts.length) return null;
  const strip = el("div", { class: "strip", role: "img", "aria-label": `Score from ${parts.map(([name, share]) => `${called(name)} ${number(share, 2)}`).join(", ")}` });
  for (const [name, share] of parts) {
    const piece = el("span", { class: legClass(name), title: `${called(name)}: ${number(share, 2)}` });
    piece.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
    strip.append(piece);
  }
  return strip;
}

function table(caption, heads, rows) {
  return el("table", {}, el("caption", {}, caption),
    el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell, i) => el(i ? "td" : "th", i ? {} : { scope: "row" }, cell))))));
}

export function explained(hit) {
  const parts = [];
  const legs = Object.entries(hit.legs || {});
  if (legs.length) {
    const fused = shares(hit).length > 0;
    parts.push(table("Where its score comes from", fused ? ["leg", "score", "rank", "scaled", "weight", "adds"] : ["leg", "score", "rank"], legs.map(([name, leg]) => [
      el("span", {}, el("i", { class: `dot ${legClass(name)}` }), called(name)), number(leg.score), leg.rank === null ? "beyond the candidates" : number(leg.rank),
      ...(fused ? [number(leg.normalized), number(leg.weight), leg.normalized === null || leg.weight === null ? "–" : number(leg.normalized * leg.weight)] : []),
    ])));
  }
  if (hit.matched?.length) parts.push(el("p", {}, "Words of the query in its text: ", hit.matched.map((word) => [el("mark", {}, word), " "])));
  else if (legs.some(([name]) => name === "lexical")) parts.push(el("p", { class: "muted" }, "None of the query's words is in its text: its meaning brought it here."));
  if (hit.shared?.length) {
    parts.push(table("Concepts, or terms, that query and record share", ["concept", "adds"], hit.shared.slice(0, 10).map((one) => [shown(one.name), number(one.query * one.record)])));
  }
  if (hit.alignment?.length) {
    parts.push(table("Which token met which", ["of the query", "of the record", "score"], hit.alignment.map((match) => [
      match.query_text ?? `token ${match.query_token}`, match.record_text ?? `token ${match.record_token}`, number(match.score)])));
  }
  const stages = Object.entries(hit.stages || {});
  if (stages.length) parts.push(table("After retrieval", ["stage", "score", "rank"], stages.map(([name, stage]) => [name, number(stage.score), number(stage.rank)])));
  return parts;
}

function metadata(record, most = 8) {
  const entries = Object.entries(record.metadata || {});
  if (!entries.length) return null;
  return el("dl", { class: "meta" }, entries.slice(0, most).map(([name, value]) => {
    const text = shown(Array.isArray(value) ? value.map(shown).join(", ") : value);
    return el("div", {}, el("dt", {}, name), el("dd", {}, text.length > 90 ? `${text.slice(0, 88)}…` : text));
  }));
}

export function card(hit, { actions = [], badge = null, open = false, level = "h2" } = {}) {
  const [title, rest] = titled(hit);
  const words = hit.matched || [];
  const short = excerpt(rest, words);
  const text = el("p", { class: "snippet" }, marked(short, words));
  const longer = short === rest ? null : button("Whole text", (event) => { text.replaceChildren(...marked(rest, words)); event.target.remove(); text.setAttribute("tabindex", "-1"); text.focus(); }, { class: "link" });
  const why = explained(hit);
  return el("article", { class: "hit", "data-id": hit.id },
    el("header", {}, hit.rank ? el("span", { class: "rank" }, String(hit.rank)) : null,
      el(level, {}, marked(title, words)), badge,
      hit.score === undefined ? null : el("span", { class: "score", title: "score" }, number(hit.score))),
    bar(hit), rest ? text : null, longer, metadata(hit),
    el("p", { class: "id muted" }, hit.id),
    why.length || actions.length ? el("div", { class: "actions" }, actions.filter(Boolean)) : null,
    why.length ? el("details", { class: "why", open }, el("summary", {}, "Why it is here"), why) : null);
}

// The plan in one sentence, and whole behind it.
export function planned(plan, shownHits) {
  const total = Object.values(plan.seconds || {}).reduce((sum, value) => sum + value, 0);
  const legs = (plan.legs || []).map((leg) => {
    const compared = leg.details?.distances;
    return `${called(leg.name)} by ${leg.method}${compared ? `, ${number(compared)} vectors compared` : ""}`;
  });
  const among = plan.allowed === null ? `${number(plan.records)} records` : `${number(plan.allowed)} of ${number(plan.records)} records pass the filter`;
  const rows = [];
  for (const leg of plan.legs || []) {
    rows.push([called(leg.name), leg.method, number(leg.candidates), `${number(leg.seconds * 1e3)} ms`, Object.entries(leg.details || {}).map(([key, value]) => `${key} ${shown(value)}`).join(", ")]);
  }
  for (const stage of plan.stages || []) rows.push([stage.name, stage.method, number(stage.candidates), `${number(stage.seconds * 1e3)} ms`, Object.entries(stage.details || {}).map(([key, value]) => `${key} ${shown(value)}`).join(", ")]);
  return el("div", {},
    el("p", {}, `${shownHits} shown; ${among}; ${legs.join("; ")}; ${number(total * 1e3)} ms.`),
    (plan.warnings || []).map((warning) => el("p", { class: "warning" }, warning)),
    el("details", {}, el("summary", {}, "The plan"),
      table(`Mode ${plan.mode}, space ${plan.space ?? "none"}, commit ${plan.generation}`, ["part", "method", "candidates", "time", "details"], rows),
      plan.fusion ? el("p", {}, `Fusion: ${shown(plan.fusion.method)}, weights ${Object.entries(plan.fusion.weights || {}).map(([name, weight]) => `${called(name)} ${number(weight)}`).join(", ")}, depth ${shown(plan.fusion.depth)}.`) : null,
      el("p", { class: "muted" }, `Seconds: ${Object.entries(plan.seconds || {}).map(([name, value]) => `${name} ${number(value * 1e3)} ms`).join(", ")}`)));
}

export { table };
