// Requests to the server.

const KINDS = { places: Float32Array, labels: Int16Array, answers: Int16Array, clusters: Int16Array, origin: Int16Array, sure: Uint8Array };

export class Refused extends Error {}

const GONE = "The server does not respond. Run `withhold explore` again and open the address that it prints.";

async function answered(asked) {
  const response = await asked.catch(() => { throw new Refused(GONE); });
  if (response.ok) return response;
  let reason = `The server returned status ${response.status}.`;
  try { reason = (await response.json()).error ?? reason; } catch { /* no message in the response */ }
  throw new Refused(reason);
}

export async function get(path, values = {}) {
  const query = new URLSearchParams(values).toString();
  return (await answered(fetch(query ? `${path}?${query}` : path))).json();
}

export async function post(path, body = {}) {
  const headers = { "content-type": "application/json", "x-withhold": "1" };
  return (await answered(fetch(path, { method: "POST", headers, body: JSON.stringify(body) }))).json();
}

// An array with a number for every item: little endian, as on all machines that browsers run on.
export async function array(name) {
  return new KINDS[name](await (await answered(fetch(`/array/${name}`))).arrayBuffer());
}

// Calls `heard` with every event, and `connected` with whether there is a connection and whether it is closed for good.
export function listen(heard, connected) {
  const source = new EventSource("/events");
  source.onopen = () => connected(true, false);
  source.onerror = () => connected(false, source.readyState === EventSource.CLOSED);
  source.onmessage = (message) => heard(JSON.parse(message.data));
}
