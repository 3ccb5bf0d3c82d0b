// The page: what is shown where, and what a key or a click does.

import { array, get, listen, post } from "./api.js";
import { Palette, swatch } from "./colours.js";
import { find } from "./finder.js";
import { grid, make, preview, shown } from "./items.js";
import { AtlasMap } from "./map.js";
import { Errors, Learn, keep } from "./panels.js";
import { attempt, counted, toast } from "./words.js";

const $ = (id) => document.getElementById(id);
const [state, places, labels, answers, sure] = await Promise.all([get("/state"), ...["places", "labels", "answers", "sure"].map(array)]);
const palette = new Palette();
const data = { labels, answers, sure };
const AHEAD = 4; // items that are left to label when the next ones are asked for
const skipped = new Set();
const PAGE = 200; // items of a list that are asked for at a time
const details = new Map(); // what the server said of items that were hovered over
const undone = []; // what was labelled here, last: [[item, label before], ...]
let queue = [], current = null, selection = [];

const noun = { image: "image", video: "video", audio: "sound", text: "text" }[state.kind];

function about() {
  const given = state.counts.reduce((a, b) => a + b, 0);
  $("about").textContent = `${counted(state.count, noun)}, seen by ${state.run}`;
  $("saved").classList.toggle("bad", state.connected === false);
  $("saved").textContent = state.connected !== false ? given ? `${counted(given, "label")}, kept` : "No labels yet"
    : state.ended ? "This page has ended: open the address that `withhold explore` printed last"
      : "No connection: labels cannot be kept";
}

// The map.

const map = new AtlasMap($("points"), $("marks"), {
  hover: (item, x, y) => hover(item, x, y),
  pick: (item) => open(item),
  lasso: (items) => select(items, "Lasso"),
});

function paint() {
  const by = $("colour").value, numbers = data[by];
  if (!numbers) return;
  map.paint(by === "sure" ? palette.values(numbers) : palette.classes(numbers), drawn(by, numbers), data.labels);
  const names = by === "labels" || by === "answers" ? state.classes : by === "origin" ? state.origin : null;
  const counts = new Map();
  if (by !== "sure") for (const n of numbers) counts.set(n, (counts.get(n) ?? 0) + 1);
  const rows = [...counts].filter(([n]) => n >= 0).sort((a, b) => b[1] - a[1]).slice(0, 30);
  $("legend").replaceChildren(...rows.map(([n, count]) => {
    const row = make("li", { title: `Show these items: ${names ? names[n] : n}` }, swatch(palette.css(n)), make("span", { textContent: names ? names[n] : `cluster ${n}` }), make("small", { textContent: count.toLocaleString() }));
    row.onclick = () => select([...numbers.keys()].filter((i) => numbers[i] === n), names ? names[n] : `Cluster ${n}`);
    return row;
  }));
}

// Labelled items lie on top of the others.
function drawn(by, numbers) {
  const every = [...numbers.keys()];
  return by === "labels" ? [...every.filter((i) => numbers[i] < 0), ...every.filter((i) => numbers[i] >= 0)] : every;
}

$("colour").onchange = async () => {
  const by = $("colour").value;
  if (!data[by]) data[by] = await attempt(() => array(by));
  paint();
};
$("whole").onclick = () => map.whole();
$("lasso").onclick = () => { map.drawing = !map.drawing; $("lasso").setAttribute("aria-pressed", map.drawing); };

const tip = $("tip");
function hover(item, x, y) {
  if (item === null) { tip.hidden = true; hover.item = null; return; }
  if (hover.item !== item) {
    hover.item = item;
    const put = (known) => { if (hover.item === item) tip.replaceChildren(...preview(state.kind, known, named(item))); };
    if (state.kind !== "text") put({ item, name: "" });
    else if (details.has(item)) put(details.get(item));
    else post("/list", { items: [item] }).then(([known]) => { details.set(item, known); put(known); });
  }
  const field = $("field");
  tip.style.left = `${Math.min(x + 16, field.clientWidth - 200)}px`;
  tip.style.top = `${Math.min(y + 16, Math.max(0, field.clientHeight - 210))}px`;
  tip.hidden = false;
}

function named(item) {
  if (data.labels[item] >= 0) return state.classes[data.labels[item]];
  return data.answers[item] >= 0 ? `${state.classes[data.answers[item]]}? ${Math.round(data.sure[item] / 2.55)}%` : "no label";
}

// Lists of items.

async function select(items, title, note = "") {
  selection = items;
  map.chosen = new Set(items.slice(0, 3000)); map.draw();
  tab("items");
  $("items-title").textContent = `${title}: ${counted(items.length, noun)}`;
  $("items-note").textContent = note;
  $("label-all").hidden = !items.length;
  $("items").replaceChildren();
  await more();
}

// The next items of the selection, so that all can be seen before all get a label.
async function more() {
  const of = selection, begin = $("items").childElementCount;
  const known = await attempt(() => post("/list", { items: of.slice(begin, begin + PAGE) }));
  if (of !== selection || begin !== $("items").childElementCount) return;
  grid($("items"), state.kind, known ?? [], open, begin > 0);
  const left = of.length - $("items").childElementCount;
  $("more").hidden = left <= 0;
  $("more").textContent = `Show ${Math.min(PAGE, left)} more of ${left.toLocaleString()}`;
}
$("more").onclick = more;

$("label-all").onsubmit = (event) => {
  event.preventDefault();
  const name = $("all-name").value.trim();
  if (name && selection.length) give(selection, selection.map(() => name)).then(() => toast(`${counted(selection.length, noun)} labelled ${name}. Undo with backspace.`));
};

async function open(item) {
  const known = await attempt(() => get(`/item/${item}`));
  if (!known) return;
  map.focus = item; map.draw();
  const near = make("ul", { className: "grid" }), classes = make("ol", { className: "classes" });
  const label = make("p", { textContent: known.label === null ? "No label." : `Label: ${known.label}` });
  state.classes.forEach((name, n) => classes.append(make("li", {}, classButton(name, n, async () => { await give([item], [name]); label.textContent = `Label: ${name}`; }))));
  if (known.label !== null) classes.append(make("li", {}, make("button", { textContent: "Take the label back", onclick: async () => { await give([item], [""]); label.textContent = "No label."; } })));
  grid(near, state.kind, known.near, open);
  $("view").replaceChildren(
    make("h2", { textContent: known.name }), shown(state.kind, known), label,
    make("p", { className: "quiet", textContent: likely(known) }), classes,
    make("h2", { textContent: "Nearest items" }), near,
  );
  if (!$("viewer").open) $("viewer").showModal();
  $("viewer").scrollTop = 0;
}
$("viewer").onclose = () => { $("view").replaceChildren(); map.focus = current; map.draw(); };
$("viewer").onclick = (event) => { if (event.target === $("viewer")) $("viewer").close(); };

const likely = (known) => known.likely.map(([name, share]) => `${name} ${Math.round(100 * share)}%`).join(", ");

// Labels.

async function give(items, labels) {
  const before = items.map((item) => [item, data.labels[item] < 0 ? "" : state.classes[data.labels[item]]]);
  const done = await attempt(() => post("/label", { items, labels }));
  if (done) undone.push(before);
  return done;
}

async function undo() {
  const last = undone.pop();
  if (!last) { toast("There is nothing to undo."); return; }
  if (!await attempt(() => post("/label", { items: last.map(([item]) => item), labels: last.map(([, label]) => label) }))) { undone.push(last); return; }
  if (last.length === 1 && last[0][1] === "") { queue.unshift(current === null ? null : current); queue = queue.filter((item) => item !== null); await ask(last[0][0]); }
}

function classButton(name, number, onclick) {
  return make("button", { type: "button", title: name, onclick }, swatch(palette.css(number)), make("span", { textContent: name }));
}

function classes() {
  $("classes").replaceChildren(...state.classes.map((name, n) => {
    const button = classButton(name, n, () => answer(name));
    if (n < 9) button.append(make("kbd", { textContent: String(n + 1) }));
    button.append(make("small", { className: "quiet", textContent: String(state.counts[n] ?? 0) }));
    button.classList.toggle("likely", current !== null && data.answers[current] === n);
    return make("li", {}, button);
  }));
  $("first").hidden = state.classes.length > 0;
  $("class-names").replaceChildren(...state.classes.map((name) => make("option", { value: name })));
}

// The queue: one item at a time, large.

async function fill() {
  const found = await (fill.coming ?? choose());
  fill.coming = null;
  const left = found.filter(({ item }) => data.labels[item] < 0 && !skipped.has(item));
  queue = left.map(({ item }) => item);
  fill.why = new Map(left.map(({ item, note }) => [item, note]));
  fill.size = queue.length;
  if (found.length && !left.length) await fill();
}

const choose = async () => await attempt(() => get("/queue", { strategy: $("strategy").value })) ?? [];

async function ask(item = undefined) {
  if (item === undefined) {
    queue = queue.filter((i) => data.labels[i] < 0);
    if (!queue.length) {
      $("place").textContent = "Choosing what to label next ...";
      await fill();
    }
    item = queue.shift() ?? null;
    if (queue.length === AHEAD) fill.coming = choose(); // of very many items that takes seconds
  }
  current = item;
  map.focus = item; map.draw();
  if (item === null) {
    $("stage").replaceChildren(make("p", { textContent: "Every item has a label, or was skipped." }));
    $("guess").textContent = $("place").textContent = "";
    classes();
    return;
  }
  const known = await attempt(() => get(`/item/${item}`));
  if (current !== item || !known) return;
  $("stage").replaceChildren(shown(state.kind, known), make("small", { className: "quiet", textContent: known.name }));
  $("guess").textContent = known.likely.length ? `${likely(known)}` : "";
  $("place").textContent = `${fill.size - queue.length} of ${fill.size}${fill.why?.get(item) ? `: ${fill.why.get(item)}` : ""}`;
  classes();
}

async function answer(name) {
  const item = current;
  if (item === null || answer.busy) return;
  answer.busy = true;
  try { if (await give([item], [name])) await ask(); } finally { answer.busy = false; }
}

async function skip() {
  if (current === null) return;
  skipped.add(current);
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

// Keys, which never fire while one types.

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const number = /^[1-9]$/.test(event.key) ? Number(event.key) - 1 : null;
  const labelling = !$("panel-label").hidden;
  if (number !== null && labelling && state.classes[number] !== undefined) answer(state.classes[number]);
  else if (event.key === " " && labelling && event.target.tagName !== "BUTTON") skip();
  else if (event.key === "Backspace") undo();
  else if (event.key === "n" && labelling) $("class-name").focus();
  else if (event.key === "/") find(state.classes, (name) => { tab("label"); answer(name); });
  else return;
  event.preventDefault();
});

// Tabs, and search.

function tab(name) {
  for (const button of document.querySelectorAll("[data-tab]")) button.setAttribute("aria-selected", button.dataset.tab === name);
  for (const panel of document.querySelectorAll(".panel")) panel.hidden = panel.id !== `panel-${name}`;
  if (name === "learn") learn.draw();
  if (name === "errors") errors.look();
  if (name !== "items") { map.chosen.clear(); map.draw(); }
}
for (const button of document.querySelectorAll("[data-tab]")) button.onclick = () => tab(button.dataset.tab);

$("words").placeholder = state.words ? "Search by words" : "Search names";
$("search").onsubmit = async (event) => {
  event.preventDefault();
  const words = $("words").value.trim();
  const found = words && await attempt(() => get("/search", { words }));
  if (found) select(found.map((item) => item.item), `“${words}”`, state.words ? "The nearest ones." : "");
};

// What happens elsewhere: in another tab, in the classifier, in a training.

async function heard(event) {
  if (event.classes) { state.classes = event.classes; state.counts = event.counts; }
  if (event.labels) {
    for (const [item, label] of event.labels) data.labels[item] = label;
    about(); classes();
    if ($("colour").value === "labels") paint();
  }
  if (event.route) state.route = event.route;
  if (event.curve) { state.curve = event.curve; learn.draw(); }
  if (event.run && event.run !== state.run) { state.run = event.run; delete data.clusters; about(); }
  if (event.training) learn.show(event.training);
  if (event.versions?.answers > state.versions.answers) {
    state.versions.answers = event.versions.answers;
    [data.answers, data.sure] = await Promise.all([array("answers"), array("sure")]);
    if (["answers", "sure"].includes($("colour").value)) paint();
    classes();
  }
  if (event.versions?.map > state.versions.map) {
    state.versions.map = event.versions.map;
    map.place(await array("places"));
  }
}

async function again() { // what was missed while there was no connection
  const [now, labels] = await Promise.all([get("/state"), array("labels")]);
  data.labels = labels;
  await heard({ ...now, labels: [] });
}

const learn = new Learn(state), errors = new Errors(state, { select, open });
keep(state, noun);
for (const name of state.strategies) $("strategy").append(make("option", { value: name, textContent: name }));
if (state.origin.length) document.querySelector('#colour option[value="origin"]').hidden = false;
about();
map.place(places);
paint();
requestAnimationFrame(() => performance.mark("painted"));
classes();
listen(heard, (connected, ended) => {
  if (connected && state.connected === false) attempt(again);
  Object.assign(state, { connected, ended }); about();
});
if (state.training) learn.show(state.training);
await ask();
document.body.dataset.ready = "yes";
