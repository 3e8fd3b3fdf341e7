// Requests to this server, and nowhere else. A key lives as long as the tab.

import { $ } from "./dom.js";

const KEY = "orthant-key";
const ROOT = new URL("..", import.meta.url);

export class Failure extends Error {
  constructor(status, kind, text) { super(text); this.status = status; this.kind = kind; }
}

export function address(...parts) { return new URL(parts.map(encodeURIComponent).join("/"), ROOT); }

// The same record in the feed, whose pages need no script.
export function feedOf(collection, id) {
  const url = address("feed", collection, "item");
  url.searchParams.set("id", id);
  return url;
}

async function failure(answer) {
  try {
    const told = (await answer.json()).error;
    return new Failure(answer.status, told.type, told.message);
  } catch { return new Failure(answer.status, "Error", `The server answered with status ${answer.status}.`); }
}

function headers(more) {
  const key = sessionStorage.getItem(KEY);
  return key ? { ...more, Authorization: `Bearer ${key}` } : more;
}

export async function call(parts, body, { signal, raw, query } = {}) {
  const url = address(...parts);
  for (const [name, value] of Object.entries(query || {})) url.searchParams.set(name, value);
  const send = raw || (body === undefined ? undefined : JSON.stringify(body));
  const type = raw ? "application/octet-stream" : "application/json";
  for (;;) {
    let answer;
    try {
      answer = await fetch(url, {
        method: send === undefined ? "GET" : "POST", body: send, signal,
        headers: headers(send === undefined ? {} : { "Content-Type": type }),
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Failure(0, "Unreachable", "The server does not answer. Is it still running?");
    }
    if (answer.ok) return answer.json();
    if (answer.status !== 401) throw await failure(answer);
    await askForKey();
  }
}

let asking = null;

// One dialog for all requests that were refused; it closes only with a key.
export function askForKey() {
  asking ??= new Promise((resolve) => {
    const dialog = $("key");
    $("key-button").hidden = false;
    $("key-form").onsubmit = (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEY, $("key-text").value.trim());
      $("key-text").value = "";
      dialog.close();
      asking = null;
      resolve();
    };
    dialog.oncancel = (event) => event.preventDefault();
    dialog.showModal();
  });
  return asking;
}

// What has a progress in bytes: `fetch` does not tell how much of a body has gone.
export function upload(parts, file, query, progress) {
  const url = address(...parts);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", url);
    for (const [name, value] of Object.entries(headers({ "Content-Type": "application/octet-stream" }))) request.setRequestHeader(name, value);
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onerror = () => reject(new Failure(0, "Unreachable", "The connection was lost."));
    request.onload = () => {
      const told = request.response;
      if (request.status === 200) resolve(told);
      else reject(new Failure(request.status, told?.error?.type, told?.error?.message || `Status ${request.status}.`));
    };
    request.send(file);
  });
}
