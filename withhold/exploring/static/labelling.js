// Labelling: one item at a time, with keys for its class.

import { get, post } from "./api.js";
import { swatch } from "./colours.js";
import { find } from "./finder.js";
import { make, shown } from "./items.js";
import { $, data, map, noun, palette, state, tab, used } from "./page.js";
import { attempt, counted, toast } from "./words.js";

const AHEAD = 4; // items left in the queue when the next ones are requested
const KEYS = 9;
const skipped = new Set();
const undone = []; // actions to undo, the last one last: {items: [[item, label before], ...]}, or {skipped: item}
let queue = [];
export let current = null; // the item to label now

export async function give(items, labels) {
  const before = items.map((item) => [item, data.labels[item] < 0 ? "" : state.classes[data.labels[item]]]);
  const done = await attempt(() => post("/label", { items, labels }));
  if (!done) return done;
  undone.push({ items: before });
  if (done.alike) toast(`${done.alike.join(" and ")} are two different classes. If they should be one, click the wrong one in the legend and label all its items.`);
  return done;
}

async function undo() {
  const last = undone.pop();
  if (!last) return toast("Nothing to undo.");
  if (last.skipped !== undefined) { skipped.delete(last.skipped); return back(last.skipped); }
  const [items, labels] = [last.items.map(([item]) => item), last.items.map(([, label]) => label)];
  if (!await attempt(() => post("/label", { items, labels }))) { undone.push(last); return undefined; }
  if (items.length > 1) return toast(`Restored the labels of ${counted(items.length, noun)}.`);
  return labels[0] === "" ? back(items[0]) : undefined;
}

// Returns to an item; the current one comes next.
async function back(item) {
  if (current !== null) queue.unshift(current);
  await ask(item);
}

export function classButton(name, number, onclick) {
  return make("button", { type: "button", title: name, onclick }, swatch(palette.css(number)), make("span", { textContent: name }));
}

export function classes() {
  $("classes").replaceChildren(...used().map(([name, number], place) => {
    const button = classButton(name, number, () => answer(name));
    if (place < KEYS) button.append(make("kbd", { textContent: String(place + 1) }));
    button.append(make("small", { className: "quiet", textContent: String(state.counts[number]) }));
    button.classList.toggle("likely", current !== null && data.answers[current] === number);
    return make("li", {}, button);
  }));
  if (used().length && !$("first").hidden && !$("class-name").value) $("class-name").blur(); // number keys work from now on
  $("first").hidden = used().length > 0;
  $("class-names").replaceChildren(...used().map(([name]) => make("option", { value: name })));
}

export const likely = (known) => known.likely.filter(([, share]) => share >= 0.005).map(([name, share]) => `${name} ${Math.round(100 * share)}%`).join(", ");

async function choose() {
  try { return await get("/queue", { strategy: $("strategy").value }); } catch (error) { return { failed: error.message }; }
}

async function fill() {
  let found = await (fill.coming ?? choose());
  if (found.failed && fill.coming) found = await choose(); // the server may be back
  fill.coming = null;
  fill.failed = found.failed;
  if (found.failed) return;
  const left = found.filter(({ item }) => data.labels[item] < 0 && !skipped.has(item));
  queue = left.map(({ item }) => item);
  fill.why = new Map(left.map(({ item, note }) => [item, note]));
  fill.size = queue.length;
  if (found.length && !left.length) await fill();
}

export async function ask(item = undefined) {
  if (item === undefined) {
    queue = queue.filter((i) => data.labels[i] < 0);
    if (!queue.length) {
      $("place").textContent = "Choosing items to label ...";
      await fill();
    }
    item = queue.shift() ?? null;
    if (queue.length === AHEAD) fill.coming = choose(); // takes seconds for very many items
  }
  current = item;
  map.focus = item; map.draw();
  if (item === null) {
    $("stage").replaceChildren(make("p", { textContent: fill.failed ?? "All items are labelled or skipped." }));
    $("guess").textContent = $("place").textContent = "";
    return classes();
  }
  const known = await attempt(() => get(`/item/${item}`));
  if (current !== item || !known) return undefined;
  $("stage").replaceChildren(shown(state.kind, known), make("small", { className: "quiet", textContent: known.name }));
  $("guess").textContent = likely(known);
  $("place").textContent = `${fill.size - queue.length} of ${fill.size}${fill.why?.get(item) ? `: ${fill.why.get(item)}` : ""}`;
  classes();
  if (!used().length && !$("panel-label").hidden) $("class-name").focus(); // the first class has to be typed
  return undefined;
}

export async function answer(name) {
  const item = current;
  if (item === null || answer.busy) return;
  answer.busy = true;
  try { if (await give([item], [name])) await ask(); } finally { answer.busy = false; }
}

async function skip() {
  if (current === null) return;
  skipped.add(current);
  undone.push({ skipped: current });
  await attempt(() => post("/skip", { items: [current] }));
  await ask();
}

$("skip").onclick = skip;
$("undo").onclick = undo;
$("strategy").onchange = async () => { queue = []; fill.coming = null; await ask(); };
$("new-class").onsubmit = (event) => {
  event.preventDefault();
  const name = $("class-name").value.trim();
  $("class-name").value = ""; $("class-name").blur();
  if (name) answer(name);
};

// Keys, which are ignored while typing. In the viewer, digits label its item.

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || $("finder").open) return;
  const [name] = /^[1-9]$/.test(event.key) ? used()[Number(event.key) - 1] ?? [] : [];
  const labelling = !$("panel-label").hidden;
  if ($("viewer").open) { if (!name) return; document.dispatchEvent(new CustomEvent("class", { detail: name })); }
  else if (name && labelling) answer(name);
  else if (event.key === " " && labelling && event.target.tagName !== "BUTTON") skip();
  else if (event.key === "Backspace") undo();
  else if (event.key === "n" && labelling) $("class-name").focus();
  else if (event.key === "/") find(used().map(([each]) => each), (each) => { tab("label"); answer(each); });
  else return;
  event.preventDefault();
});
