// Another encoder for a space: rehearsed, run beside the searches, paused, committed, taken back.

import { call } from "./api.js";
import { $, button, el, fill, number, say } from "./dom.js";
import { table } from "./explain.js";

const ARMS = { "old/old": "the old encoder alone", "new query/old space": "new queries among old vectors", "mapped old vectors": "new queries among mapped old vectors", "new/new": "the new encoder alone" };
const VERDICTS = { do: "Worth it", reencode: "Only with more records encoded again", "don't": "Not worth it" };
const WAYS = [["auto", "what suits best"], ["joint-words", "joint-words: mapped by vectors and words, and the old model's scores"], ["words", "words: mapped by vectors and words"], ["joint", "joint: mapped, and the old model's scores"], ["low-rank", "low-rank: mapped by a regression"], ["procrustes", "procrustes: mapped by a rotation"], ["drift", "drift: the mean movement taken off"], ["relative", "relative: by cosines to anchors"], ["reencode", "reencode: everything encoded again"]];
const STATES = { running: "Running.", pausing: "Pausing: the present batch is finished first.", paused: "Paused: nothing is lost, and it goes on from here.", failed: "The run failed.", idle: "" };
const SHARES = [["0", "none"], ["0.25", "25 %"], ["0.5", "50 %"], ["0.75", "75 %"], ["1", "all"]];
let context = null;
let late = 0;
let painted = "";
let live = [];
let ran = false;

export async function show(given) {
  context = given;
  painted = "";
  ran = false;
  await look();
}

async function look() {
  clearTimeout(late);
  const asked = context;
  try {
    const told = await call(["collections", asked.name, "upgrade"]);
    if (asked === context) draw(told);
  } catch (error) {
    if (asked === context) fill($("upgraded"), el("p", { class: "alert" }, error.message));
  }
}

function going(told) { return told.run.state === "running" || told.run.state === "pausing"; }

// What a person is in the middle of is not drawn anew: only another state is, and figures are changed in place.
function draw(told) {
  clearTimeout(late);
  const open = told.upgrade;
  const shape = JSON.stringify([context.name, told.encoders, told.run.state, told.run.error, open && [open.phase, open.using, open.failed_count]]);
  if (shape !== painted) {
    const held = $("upgraded").contains(document.activeElement);
    painted = shape;
    live = [];
    fill($("upgraded"), open || going(told) ? opened(told) : planning(told));
    if (held) $("upgraded").querySelector("h2")?.focus();
    if (STATES[told.run.state] || ran) say(STATES[told.run.state] || "The run has ended.");
    ran = going(told);
  }
  for (const change of live) change(told);
  late = setTimeout(() => { if (!$("view-upgrade").hidden) look(); }, going(told) ? 700 : 4000);
}

function heading(text) { return el("h2", { tabindex: "-1" }, text); }

// Every action answers here, in the place where it was asked for.
function action(parts, body, done) {
  return async () => {
    fill($("upgrade-alert"));
    try {
      const found = await call(["collections", context.name, "upgrade", ...parts], body() ?? {});
      say(done);
      context.refreshed().catch(() => {});
      if (found.run) draw(found); else await look();
    } catch (error) { fill($("upgrade-alert"), el("p", { class: "alert" }, error.message)); }
  };
}

// ---- an open upgrade ----

function progress(label, count) {
  const bar = el("progress", {}), told = el("span", {});
  live.push(({ upgrade }) => {
    if (!upgrade) return;
    bar.max = Math.max(1, upgrade.records);
    bar.value = count(upgrade);
    told.textContent = ` ${number(count(upgrade))} of ${number(upgrade.records)}`;
  });
  return el("p", {}, el("label", {}, `${label} `, bar), told);
}

function opened(told) {
  const { upgrade, run } = told;
  const alert = el("div", { id: "upgrade-alert", role: "alert" });
  const state = el("p", { id: "upgrade-state", class: run.state === "failed" ? "warning" : "muted" }, STATES[run.state], run.error ? ` ${run.error}` : "");
  if (!upgrade) return [heading("Getting ready"), el("p", {}, el("label", {}, "Encoding the sample that the map is learned from … ", el("progress", {}))), state, actions(told), alert];
  const committed = upgrade.phase === "committed";
  return [
    heading(`Space ${upgrade.space}: ${committed ? "the new encoder answers" : "the old encoder answers, the new one is prepared"}`),
    progress("Encoded by the new encoder", (one) => one.encoded),
    upgrade.using === "reencode" ? null : progress("Mapped from the old vectors", (one) => one.mapped),
    el("p", { class: "muted" }, `${upgrade.encoder ? `New encoder: ${upgrade.encoder}. ` : ""}Way: ${upgrade.using}. Spaces: ${upgrade.spaces.join(" and ")}; those that have an encoder here can be compared side by side.`),
    state, actions(told), alert, failures(upgrade), committed ? newer() : null,
  ];
}

function newer() {
  const told = el("p", { class: "muted" });
  live.push(({ upgrade }) => { told.textContent = upgrade?.newer_only ? `${number(upgrade.newer_only)} records were written without the old encoder; going back encodes them by it first.` : ""; });
  return told;
}

function failures(upgrade) {
  const failed = Object.entries(upgrade.failed);
  if (!failed.length) return null;
  return [
    el("h3", {}, `${number(upgrade.failed_count)} could not be encoded`), el("ul", {}, failed.map(([id, why]) => el("li", {}, `${id}: ${why}`))),
    upgrade.failed_count > failed.length ? el("p", { class: "muted" }, "And more of them.") : null,
    el("p", {}, button("Let them go without a vector", action(["accept"], () => ({}), "They are found by their words.")), " They are still found by their words."),
  ];
}

function actions(told) {
  const { upgrade, run } = told;
  if (going(told)) return el("p", {}, button("Pause", action(["pause"], () => undefined, "Pausing …"), { id: "upgrade-pause", disabled: run.state === "pausing" }), " Searches and writes go on meanwhile, and are answered as before.");
  const committed = upgrade.phase === "committed";
  const share = el("select", { id: "upgrade-share" }, SHARES.map(([value, label]) => el("option", { value, selected: value === (upgrade.using === "reencode" || committed ? "1" : String(run.share ?? 0)) }, label)));
  const rest = upgrade.encoded >= upgrade.records ? null :
    el("p", { class: "bar" }, el("label", {}, "Records to encode again ", share), button(run.state === "paused" || run.state === "failed" ? "Resume" : "Go on", action(["run"], () => ({ share: Number(share.value) }), "Running."), { id: "upgrade-resume" }));
  const parts = [rest];
  if (!committed) parts.push(el("p", {}, button("Commit", action(["commit"], () => undefined, "The new encoder answers."), { id: "upgrade-commit", class: null }), " Searches use the new encoder from then on. It can be taken back."));
  parts.push(el("p", {}, button("Roll back", action(["rollback"], () => ({}), "As it was before."), { id: "upgrade-rollback" }), " Back to the old encoder and its vectors, to the byte; what the upgrade made is forgotten."));
  if (committed) parts.push(el("p", {}, button("Release", () => { if (confirm("Drop the old vectors? There is no way back then.")) action(["release"], () => undefined, "The upgrade is finished.")(); }, { id: "upgrade-release" }), " Drops the old vectors and ends the upgrade for good."));
  return el("div", { id: "upgrade-actions" }, parts.filter(Boolean));
}

// ---- before there is one ----

function planning(told) {
  const spaces = Object.entries(context.stats.spaces || {}).filter(([, space]) => space.kind !== "tokens" && space.fingerprint);
  const said = el("p", {}, "No upgrade is open: every space is searched with the encoder that its vectors were made by.");
  if (!spaces.length) return [said, el("p", { class: "muted" }, "A rehearsal needs a space whose vectors an encoder made.")];
  if (!told.encoders.length) return [said, el("p", { class: "muted" }, "This server changes to no other encoder; the operator allows some with --upgrade-encoder.")];
  const held = spaces.map(([, space]) => space.encoder);
  const pick = (id, values) => el("select", { id }, values.map((value) => el("option", { value: value[0] }, value[1])));
  const same = (value) => [value, value];
  const place = el("div", { id: "rehearsed" });
  const lines = (id, label, rows) => [el("label", { for: id }, label), el("textarea", { id, rows, class: "wide", spellcheck: "false" })];
  const form = el("form", { id: "rehearse-form", on: { submit: (event) => { event.preventDefault(); rehearse(place); } } },
    heading("Rehearse one"),
    el("p", { class: "muted" }, "Encodes a sample of the records and your queries with another encoder, and says how much of its gain would be had at once, without encoding everything again. Nothing is changed."),
    el("div", { class: "bar" },
      el("label", {}, "Space ", pick("rehearse-space", spaces.map(([name]) => same(name)))),
      el("label", {}, "New encoder ", pick("rehearse-encoder", told.encoders.filter((name) => held.length > 1 || name !== held[0]).map(same))),
      el("label", {}, "Way ", pick("rehearse-using", WAYS)),
      el("label", {}, "Records ", pick("rehearse-pairs", ["500", "200", "2000", "5000"].map(same))),
      el("label", {}, "Decide by ", pick("rehearse-decide", [["unseen", "records that the map has not seen"], ["now", "this collection as it will be"]]))),
    lines("rehearse-queries", "Queries, one per line, ten or more; with fewer than fifty the intervals are wide", 8),
    el("details", {}, el("summary", {}, "Judgements"), lines("rehearse-judgements", "One per line: query, id of a record, grade, with tabs between them. Without any, figures say how near the new encoder's own hits are, not whether they are better.", 4)),
    el("p", {}, el("button", { type: "submit" }, "Rehearse")));
  if (told.rehearsal) fill(place, report(told.rehearsal));
  return [said, form, place, el("div", { id: "upgrade-alert", role: "alert" })];
}

function judgements() {
  const found = {};
  for (const line of $("rehearse-judgements").value.split("\n").filter((one) => one.trim())) {
    const [query, id, grade] = line.split("\t");
    if (!id || !/^\d+\s*$/.test(grade ?? "1")) throw new Error(`A judgement that is no query, id and whole grade with tabs between them: ${line.slice(0, 80)}`);
    (found[query.trim()] ??= {})[id.trim()] = Number(grade ?? 1);
  }
  return Object.keys(found).length ? found : null;
}

async function rehearse(place) {
  say("Rehearsing …");
  fill(place, el("label", {}, "Encoding the sample … ", el("progress", {})));
  try {
    const queries = [...new Set($("rehearse-queries").value.split("\n").map((line) => line.trim()).filter(Boolean))];
    const settings = { encoder: $("rehearse-encoder").value, space: $("rehearse-space").value, using: $("rehearse-using").value, pairs: Number($("rehearse-pairs").value) };
    const found = await call(["collections", context.name, "upgrade", "rehearse"], { ...settings, queries, judgements: judgements(), decide_by: $("rehearse-decide").value });
    fill(place, report(found));
    say(`Rehearsal done: ${VERDICTS[found.action]}.`);
  } catch (error) { fill(place, el("p", { class: "alert", role: "alert" }, error.message)); say(""); }
}

function report(found) {
  const measure = found.metric.startsWith("overlap") ? "the share of the new encoder's own ten nearest that is found" : found.metric;
  const span = ([low, high]) => `${number(low)} to ${number(high)}`;
  const rows = (shares, means) => Object.entries(shares).map(([share, gain]) => [`${Math.round(Number(share) * 100)} %`, number(means[share]), number(gain.share), span(gain.interval)]);
  const byShare = (whose, shares, means) => table(`${whose}, by the share of records encoded again (way: ${found.using})`, ["encoded again", found.metric, "part of the gain", "interval"], rows(shares, means));
  const whole = found.shares["1.00"];
  return [
    el("h3", { class: found.action === "do" ? "good" : "warning" }, VERDICTS[found.action] || found.action), el("p", {}, found.reason),
    table(`Over ${number(found.documents)} records and ${number(found.queries)} queries: ${measure}`, ["how", found.metric], Object.entries(found.arms).map(([name, value]) => [ARMS[name] || name, number(value)])),
    whole ? el("p", {}, `Gain of the new encoder over the old one: ${number(whole.gain)}, interval ${span(whole.gain_interval)}.`) : null,
    found.seen ? byShare(`This collection, ${Math.round(found.seen * 100)} % of which the map is learned from`, found.now, found.now_means) : null,
    byShare(found.seen ? "Records that the map has not seen" : "All records", found.shares, found.means),
    starting(found),
  ];
}

function starting(found) {
  const whole = found.using === "reencode";
  const share = el("select", { id: "start-share", disabled: whole }, SHARES.map(([value, label]) => el("option", { value, selected: value === (whole || found.action === "reencode" ? "1" : "0") }, label)));
  const start = action(["run"], () => ({ ...found.settings, share: Number(share.value) }), "Running.");
  const form = el("form", { id: "start-form", on: { submit: (event) => { event.preventDefault(); start(); } } },
    el("div", { class: "bar" }, el("label", {}, "Records to encode again ", share), el("button", { type: "submit" }, `Start the upgrade to ${found.settings.encoder}`)),
    el("p", { class: "muted" }, "Until it is committed every search is answered as before."));
  return found.action === "don't" ? el("details", {}, el("summary", {}, "Start it all the same"), form) : form;
}
