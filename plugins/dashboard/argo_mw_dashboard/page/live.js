// What the server sends: a stream of events, read with the token in a header. A browser's own
// EventSource can send no header, and a token in a URL or a cookie would be seen by others.

const KEPT = "argo-mw-token";
const PATIENCE = 30_000; // milliseconds that a button waits for what it does

export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    keepToken(given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEPT);
}

export function keepToken(token) {
  sessionStorage.setItem(KEPT, token);
}

export function forgetToken() {
  sessionStorage.removeItem(KEPT);
}

export class Refused extends Error {}
export class Unanswered extends Error {}

async function answered(response) {
  if (response.ok) return response;
  let why = `the server answered ${response.status}`;
  try {
    why = (await response.json()).why ?? why;
  } catch { /* it is no JSON */ }
  throw response.status === 401 ? new Refused(why) : new Error(why);
}

function bearing(token, more = {}) {
  return { Authorization: `Bearer ${token}`, ...more };
}

// Calls heard(name, data) for each event until the stream ends or the signal aborts it.
export async function follow(token, instance, heard, signal) {
  const url = `/api/live?instance=${encodeURIComponent(instance)}`;
  const response = await answered(await fetch(url, { headers: bearing(token), signal }));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const fields = new Map(part.split("\n").map((line) => {
        const at = line.indexOf(": ");
        return [line.slice(0, at), line.slice(at + 2)];
      }));
      heard(fields.get("event"), JSON.parse(fields.get("data")));
    }
  }
}

export async function press(token, panel, button, key) {
  const response = await fetch("/api/press", {
    method: "POST",
    signal: AbortSignal.timeout(PATIENCE),
    headers: bearing(token, { "Content-Type": "application/json" }),
    body: JSON.stringify({ panel, button, key }),
  }).catch((error) => { throw new Unanswered(error.message); });
  return (await (await answered(response)).json()).done;
}
