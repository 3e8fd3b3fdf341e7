// Which collection and which view: all of it stands in the address, so that it can be kept, sent and gone back from.

import { address, askForKey, call } from "./api.js";
import { $, complain, options, say } from "./dom.js";
import * as add from "./add.js";
import * as compare from "./compare.js";
import * as diagnose from "./diagnose.js";
import * as map from "./map.js";
import * as search from "./search.js";
import * as upgrade from "./upgrade.js";

const VIEWS = { search, map, compare, diagnose, add, upgrade };
const held = { names: [], about: new Map(), dated: new Set() };

export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\//, "").split("?");
  const [collection = "", view = "search"] = path.split("/").map((part) => { try { return decodeURIComponent(part); } catch { return ""; } });
  return { collection, view: Object.hasOwn(VIEWS, view) ? view : "search", params: new URLSearchParams(query) };
}

export function link(collection, view, params) {
  const query = params ? new URLSearchParams(Object.entries(params).filter(([, value]) => value !== "" && value !== null && value !== undefined)).toString() : "";
  return `#/${encodeURIComponent(collection)}/${view}${query ? `?${query}` : ""}`;
}

// Everything a view has to know of its collection, asked once and again after a write.
async function about(name, fresh) {
  if (fresh || !held.about.has(name)) held.about.set(name, await call(["collections", name, "stats"]));
  return held.about.get(name);
}

let turn = 0;
let shown = null;

async function show() {
  if (location.hash && !location.hash.startsWith("#/")) return;
  const now = ++turn;
  const asked = parse(location.hash);
  complain(null);
  try {
    if (!held.names.length) {
      const { collections } = await call(["collections"]);
      held.names = collections.map((one) => one.name);
      held.dated = new Set(collections.filter((one) => one.date_field).map((one) => one.name));
      options($("collection"), held.names.map((name) => [name, name]), asked.collection);
    }
    if (!held.names.length) { say("No collection is served, or none that this key may read."); return; }
    if (!held.names.includes(asked.collection)) {
      location.replace(link(held.names[0], asked.view));
      return;
    }
    if (asked.view !== shown) say("");
    shown = asked.view;
    const stats = await about(asked.collection, false);
    if (now !== turn) return;
    $("collection").value = asked.collection;
    for (const anchor of document.querySelectorAll("nav a[data-view]")) {
      anchor.href = link(asked.collection, anchor.dataset.view);
      if (anchor.dataset.view === asked.view) anchor.setAttribute("aria-current", "page");
      else anchor.removeAttribute("aria-current");
    }
    const feed = held.dated.has(asked.collection);
    $("feed-link").hidden = !feed;
    if (feed) $("feed-link").href = address("feed", asked.collection);
    for (const view of Object.keys(VIEWS)) $(`view-${view}`).hidden = view !== asked.view;
    document.title = `${asked.collection} · Orthant`;
    const context = {
      name: asked.collection, stats, params: asked.params, feed,
      go: (view, params) => { location.hash = link(asked.collection, view, params); },
      refreshed: () => about(asked.collection, true),
    };
    await VIEWS[asked.view].show(context);
  } catch (error) {
    if (now === turn && error.name !== "AbortError") complain(error);
  }
}

addEventListener("hashchange", show);
$("collection").addEventListener("change", () => { location.hash = link($("collection").value, parse(location.hash).view); });
$("key-button").addEventListener("click", async () => { await askForKey(); held.names = []; held.about.clear(); show(); });
addEventListener("keydown", (event) => {
  const typing = event.target instanceof Element && event.target.closest("input, textarea, select, dialog");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    const box = document.querySelector("section:not([hidden]) input[type=search]");
    if (box) { event.preventDefault(); box.focus(); box.select(); }
  }
});
addEventListener("unhandledrejection", (event) => { if (event.reason?.name !== "AbortError") complain(event.reason); });
show();
