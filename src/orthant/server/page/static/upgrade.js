// Where the replacement of an encoder stands.

import { call } from "./api.js";
import { $, el, fill, number, shown } from "./dom.js";

let late = 0;

export async function show(context) {
  clearTimeout(late);
  const { upgrade } = await call(["collections", context.name, "upgrade"]);
  if (!upgrade) {
    fill($("upgraded"), el("p", {}, "No upgrade is open: every space is searched with the encoder that its vectors were made by."),
      el("p", { class: "muted" }, "One is rehearsed and run by ", el("code", {}, "orthant upgrade"), "; while it runs, this page shows how far it is."));
    return;
  }
  const bar = (label, count) => el("p", {}, el("label", {}, label, " ", el("progress", { max: Math.max(1, upgrade.records), value: count })), ` ${number(count)} of ${number(upgrade.records)}`);
  const failed = Object.entries(upgrade.failed);
  fill($("upgraded"),
    el("h2", {}, `Space ${upgrade.space}: ${upgrade.phase === "committed" ? "the new encoder answers" : "the old encoder answers, the new one is prepared"}`),
    bar("Encoded by the new encoder", upgrade.encoded),
    upgrade.using === "reencode" ? null : bar("Mapped from the old vectors", upgrade.mapped),
    el("p", { class: "muted" }, `Way: ${upgrade.using}. The two can be compared side by side in Compare, as spaces ${upgrade.spaces.join(" and ")}.`),
    failed.length ? [el("h3", {}, "Could not be encoded"), el("ul", {}, failed.map(([id, why]) => el("li", {}, `${id}: ${shown(why)}`)))] : null);
  late = setTimeout(() => { if (!$("view-upgrade").hidden) show(context).catch(() => {}); }, 2000);
}
