// Why a record is not among the results: what each step of the search did with it, and what would bring it in.

import { call } from "./api.js";
import { $, brief, button, el, fill, shown } from "./dom.js";

const STEPS = { record: "It is stored", filter: "It passes the filter", dense: "Its meaning is close enough", lexical: "Its words match", sparse: "Its terms match", tokens: "Its tokens match", ranking: "It is on the page", min_score: "Its score is high enough", group: "Its group is shown" };

export function askWhy(context, request, given = "", apply = null) {
  fill($("why-told"), el("p", { class: "muted" }, request.query ? `About the search for “${request.query}”.` : "About the present search."));
  $("why-id").value = given;
  const ask = async () => {
    const place = $("why-told");
    fill(place, el("p", { class: "muted" }, "Asking …"));
    try {
      const id = await found(context.name, $("why-id").value.trim());
      const told = await call(["collections", context.name, "why_not"], { ...request, record_id: id });
      fill(place, answered(told, apply));
    } catch (error) { fill(place, el("p", { class: "alert" }, error.message)); }
  };
  $("why-form").onsubmit = (event) => { event.preventDefault(); ask(); };
  $("why-id").oninput = () => suggest(context.name);
  $("why").showModal();
  if (given) ask();
}

let late = 0;

// Ids by words: whoever asks for a record rarely knows its id.
function suggest(name) {
  clearTimeout(late);
  late = setTimeout(async () => {
    const text = $("why-id").value.trim();
    if (text.length < 3) return;
    try {
      const { hits } = await call(["collections", name, "search"], { query: text, mode: "lexical", k: 6, syntax: "plain" });
      fill($("why-ids"), hits.map((hit) => el("option", { value: hit.id }, brief(hit))));
    } catch { /* A suggestion that does not come is no error to tell of. */ }
  }, 250);
}

async function found(name, text) {
  const { records } = await call(["collections", name, "get"], { ids: [text] });
  if (records[0]) return text;
  const { hits } = await call(["collections", name, "search"], { query: text, mode: "lexical", k: 1, syntax: "plain" });
  return hits.length ? hits[0].id : text;
}

function answered(told, apply) {
  const steps = (told.steps || []).map((step) => el("li", { class: step.passed ? "yes" : "no" },
    el("strong", {}, STEPS[step.name] || step.name), step.passed ? " – yes" : " – no",
    Object.keys(step.details || {}).length ? el("details", {}, el("summary", {}, "Details"), facts(step.details)) : null));
  const changes = (told.changes || []).map((change) => {
    const settings = Object.entries(change.settings);
    const label = settings.map(([key, value]) => `${key} = ${shown(value)}`).join(", ");
    return el("li", {}, apply ? button(`Try ${label}`, () => { $("why").close(); apply(change.settings); }) : label, ` brings it to rank ${shown(change.rank)}`);
  });
  return [
    el("p", { class: told.found ? "good" : "verdict" }, told.sentence),
    el("ul", { class: "steps" }, steps),
    changes.length ? el("h3", {}, "What would bring it in") : null,
    changes.length ? el("ul", {}, changes) : null,
  ];
}

function facts(details) {
  return el("dl", { class: "meta" }, Object.entries(details).filter(([, value]) => value !== null).map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, shown(value)))));
}
