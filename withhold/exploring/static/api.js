// What goes to the server, and what comes back.

const KINDS = { places: Float32Array, labels: Int16Array, answers: Int16Array, clusters: Int16Array, origin: Int16Array, sure: Uint8Array };

export class Refused extends Error {}

async function answered(response) {
  if (response.ok) return response;
  let reason = `The server answered ${response.status}.`;
  try { reason = (await response.json()).error ?? reason; } catch { /* no sentence came with it */ }
  throw new Refused(reason);
}

export async function get(path, values = {}) {
  const query = new URLSearchParams(values).toString();
  return (await answered(await fetch(query ? `${path}?${query}` : path))).json();
}

export async function post(path, body = {}) {
  const headers = { "content-type": "application/json", "x-withhold": "1" };
  return (await answered(await fetch(path, { method: "POST", headers, body: JSON.stringify(body) }))).json();
}

// A number of every item, as the server has it: little endian, as are all machines that browsers run on.
export async function array(name) {
  return new KINDS[name](await (await answered(await fetch(`/array/${name}`))).arrayBuffer());
}

// Calls `heard` with every event, and `connected` with whether there is a connection.
export function listen(heard, connected) {
  const source = new EventSource("/events");
  source.onopen = () => connected(true);
  source.onerror = () => connected(false);
  source.onmessage = (message) => heard(JSON.parse(message.data));
}
