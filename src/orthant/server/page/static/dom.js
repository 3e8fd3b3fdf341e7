// Elements from data. Everything that comes from a server becomes a text node or an attribute's value, never markup.

export const $ = (id) => document.getElementById(id);

export function el(name, props = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "on") for (const [event, run] of Object.entries(value)) made.addEventListener(event, run);
    else if (key === "class") made.className = value;
    else if (key === "value" || key === "checked" || key === "disabled" || key === "selected") made[key] = value;
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export function svg(name, props = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(props)) made.setAttribute(key, String(value));
  made.append(...children);
  return made;
}

export function button(label, run, props = {}) {
  return el("button", { type: "button", class: "quiet", on: { click: run }, ...props }, label);
}

export function fill(place, ...children) {
  place.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
}

export function options(select, values, chosen) {
  fill(select, values.map(([value, label]) => el("option", { value, selected: value === chosen }, label)));
}

export function number(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
  return Number(value.toPrecision(size >= 100 ? 4 : digits)).toLocaleString("en", { maximumFractionDigits: 6 });
}

export function bytes(count) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let at = 0;
  while (count >= 1000 && at < units.length - 1) { count /= 1000; at += 1; }
  return `${count < 10 && at ? count.toFixed(1) : Math.round(count)} ${units[at]}`;
}

export function shown(value) {
  if (value === null || value === undefined) return "–";
  // Years and codes are numbers too: no separators in what somebody else wrote.
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : number(value);
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

export function say(text) { $("status").textContent = text; }

export function complain(error) {
  const place = $("alert");
  place.hidden = !error;
  place.textContent = error ? (error.message || String(error)) : "";
}

// Title and rest of a text: its first line where it is short, else the id.
export function titled(record) {
  const text = record.text || "";
  const end = text.indexOf("\n");
  if (end > 0 && end <= 160) return [text.slice(0, end), text.slice(end + 1).trim()];
  return [record.id, text];
}

// What to call a record where there is room for one line: rarely its id.
export function brief(record, most = 110) {
  const [title, rest] = titled(record);
  const text = title === record.id && rest ? rest.replace(/\s+/g, " ") : title;
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

export function marked(text, words) {
  const wanted = new Set((words || []).map((word) => word.toLowerCase()));
  if (!wanted.size) return [text];
  return text.split(/([\p{L}\p{N}_]+)/u).map((part) => (wanted.has(part.toLowerCase()) ? el("mark", {}, part) : part));
}

// The stretch of a long text that holds the first match.
export function excerpt(text, words, most = 320) {
  if (text.length <= most) return text;
  let first = -1;
  for (const word of words || []) {
    const at = text.toLowerCase().indexOf(word.toLowerCase());
    if (at >= 0 && (first < 0 || at < first)) first = at;
  }
  const begin = first > most * 0.7 ? Math.max(0, text.lastIndexOf(" ", first - 80)) : 0;
  const cut = text.slice(begin, begin + most);
  return `${begin ? "… " : ""}${cut.slice(0, Math.max(cut.lastIndexOf(" "), most * 0.6))} …`;
}
