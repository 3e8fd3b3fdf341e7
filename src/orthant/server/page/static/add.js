// Files dropped on the page: documents go as they are, records are read here and sent in batches.

import { call, upload } from "./api.js";
import { $, el, number, say } from "./dom.js";

const BATCH = 500;
const BATCH_CHARACTERS = 4_000_000;
const PIECE = 1 << 20;
let context = null;
let queue = Promise.resolve();

export async function show(given) { context = given; }

function entry(file) {
  const bar = el("progress", { max: 1, value: 0, "aria-label": `Progress of ${file.name}` });
  const told = el("span", { class: "muted" }, "waits");
  const item = el("li", {}, el("strong", {}, file.name), bar, told);
  $("loads").prepend(item);
  return {
    share: (value, text) => { bar.value = value; told.textContent = text; },
    done: (text) => { bar.value = 1; item.className = "good"; told.textContent = text; say(`${file.name}: ${text}`); },
    failed: (text) => { item.className = "bad"; told.textContent = text; say(`${file.name}: ${text}`); },
  };
}

function take(files) {
  for (const file of files) {
    const shown = entry(file), into = context;
    queue = queue.then(async () => {
      try {
        const kind = file.name.toLowerCase().split(".").pop();
        shown.done(["jsonl", "ndjson", "csv", "tsv"].includes(kind) ? await records(into, file, kind, shown) : await documents(into, file, shown));
        await into.refreshed();
      } catch (error) { shown.failed(error.message || String(error)); }
    });
  }
}

async function documents(into, file, shown) {
  const report = await upload(["collections", into.name, "documents"], file, { file: file.name }, (share) => shown.share(share * 0.9, share < 1 ? "sending" : "indexing …"));
  if (report.unchanged) return "is held already, unchanged";
  return `${number(report.chunks_written)} chunks ${report.updated ? "replace the former ones" : "added"}`;
}

async function records(into, file, kind, shown) {
  let batch = [], size = 0, stored = 0, replaced = 0, place = 0;
  const send = async () => {
    if (!batch.length) return;
    const body = { ids: batch.map((one) => one.id), texts: batch.map((one) => one.text), metadata: batch.map((one) => one.metadata) };
    const report = await call(["collections", into.name, "upsert"], body);
    stored += report.records; replaced += report.replaced; batch = []; size = 0;
    shown.share(place / file.size, `${number(stored)} records stored`);
  };
  try {
    for await (const [row, line, at] of kind === "csv" || kind === "tsv" ? cells(file, kind === "csv" ? "," : "\t") : objects(file)) {
      place = at;
      batch.push(record(row, line));
      size += (row.text || "").length + 200;
      if (batch.length >= BATCH || size >= BATCH_CHARACTERS) await send();
    }
    await send();
  } catch (error) {
    throw new Error(stored ? `${error.message} (${number(stored)} records before it are stored)` : error.message);
  }
  return `${number(stored)} records stored${replaced ? `, ${number(replaced)} of them replaced` : ""}`;
}

function record(row, line) {
  const { id, _id, text, metadata, title, ...rest } = row;
  const key = id ?? _id;
  if (key === undefined || key === null || key === "") throw new Error(`Line ${number(line)} has no id.`);
  const whole = text ?? null;
  const more = title === undefined ? {} : { title };
  return { id: String(key), text: whole === null ? null : String(whole), metadata: { ...rest, ...more, ...(metadata && typeof metadata === "object" ? metadata : {}) } };
}

async function* pieces(file) {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  for (let at = 0; at < file.size; at += PIECE) {
    const part = await file.slice(at, at + PIECE).arrayBuffer();
    let text;
    try { text = decoder.decode(part, { stream: at + PIECE < file.size }); } catch { throw new Error("The file is not UTF-8."); }
    yield [text, Math.min(file.size, at + PIECE)];
  }
}

async function* objects(file) {
  let rest = "", line = 0;
  const read = (text) => {
    let row;
    try { row = JSON.parse(text); } catch { throw new Error(`Line ${number(line)} is no JSON.`); }
    if (typeof row !== "object" || row === null || Array.isArray(row)) throw new Error(`Line ${number(line)} is no JSON object.`);
    return row;
  };
  for await (const [text, at] of pieces(file)) {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const one of lines) { line += 1; if (one.trim()) yield [read(one), line, at]; }
  }
  line += 1;
  if (rest.trim()) yield [read(rest), line, file.size];
}

// Cells with quotes, line breaks within them, and numbers as numbers.
async function* cells(file, delimiter) {
  let row = [], cell = "", quoted = false, closed = false, heads = null, line = 1;
  const finish = () => { row.push(closed ? cell : typed(cell)); cell = ""; closed = false; };
  const give = () => {
    const values = row;
    row = [];
    if (values.length === 1 && values[0] === null) return null;
    if (!heads) { heads = values.map((value) => String(value ?? "").trim()); return null; }
    if (values.length !== heads.length) throw new Error(`Line ${number(line)} has ${values.length} cells, and the heading has ${heads.length}.`);
    return Object.fromEntries(heads.map((head, i) => [head, values[i]]).filter(([head, value]) => value !== null || head === "text"));
  };
  for await (const [text, at] of pieces(file)) {
    for (const letter of text.replaceAll("\r", "")) {
      if (quoted && letter !== '"') { cell += letter; if (letter === "\n") line += 1; } else if (letter === '"') {
        if (quoted) { quoted = false; closed = true; } else { if (closed) cell += '"'; quoted = true; closed = false; }
      } else if (letter === delimiter) finish();
      else if (letter === "\n") { finish(); const made = give(); if (made) yield [made, line, at]; line += 1; } else cell += letter;
    }
  }
  if (quoted) throw new Error("A quotation mark is never closed.");
  if (cell || row.length) { finish(); const made = give(); if (made) yield [made, line, file.size]; }
}

function typed(text) {
  if (text === "") return null;
  return /^-?(0|[1-9]\d{0,14})(\.\d{1,15})?$/.test(text) ? Number(text) : text;
}

const drop = $("drop");
for (const kind of ["dragenter", "dragover"]) addEventListener(kind, (event) => { if (!$("view-add").hidden) { event.preventDefault(); drop.classList.add("over"); } });
for (const kind of ["dragleave", "drop"]) addEventListener(kind, (event) => { if (!$("view-add").hidden) { event.preventDefault(); if (kind === "drop" || !event.relatedTarget) drop.classList.remove("over"); } });
addEventListener("drop", (event) => { if (!$("view-add").hidden) take(event.dataTransfer.files); });
$("files").addEventListener("change", () => { take($("files").files); $("files").value = ""; });
