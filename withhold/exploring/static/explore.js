// The page: the map, and events from the server.

import { array, get, listen, post } from "./api.js";
import { swatch } from "./colours.js";
import { make, preview } from "./items.js";
import { answer, ask, classes, current } from "./labelling.js";
import { open, select } from "./lists.js";
import { $, data, map, noun, palette, state } from "./page.js";
import { Errors, Learn, keep } from "./panels.js";
import { attempt, counted } from "./words.js";

const details = new Map(); // details of items that were hovered over

function about() {
  const given = state.counts.reduce((a, b) => a + b, 0);
  $("about").textContent = `${counted(state.count, noun)}, encoder ${state.run}`;
  $("saved").classList.toggle("bad", state.connected === false);
  $("saved").textContent = state.connected !== false ? given ? `${counted(given, "label")}, saved` : "No labels yet"
    : state.ended ? "This page has expired. Open the address that `withhold explore` printed last."
      : "No connection to the server, so labels cannot be saved. Run `withhold explore` again and open the address that it prints.";
}

// The map.

map.on = { hover, pick: open, lasso: (items) => { lasso(false); select(items, "Lasso"); } };

function paint() {
  const by = $("colour").value, numbers = data[by];
  if (!numbers) return;
  map.paint(by === "sure" ? palette.values(numbers) : palette.classes(numbers), drawn(by, numbers), data.labels);
  $("legend").replaceChildren(...(by === "sure" ? scale() : legend(by, numbers)));
}

function scale() {
  if (!data.sure.some((value) => value > 0)) return [];
  return [0, 25, 50, 75, 100].map((share) => make("li", { className: "fixed" }, swatch(palette.value(share / 100)), make("span", { textContent: `${share}% confidence` })));
}

function legend(by, numbers) {
  const names = by === "labels" || by === "answers" ? state.classes : by === "origin" ? state.origin : null;
  const counts = new Map();
  for (const n of numbers) counts.set(n, (counts.get(n) ?? 0) + 1);
  const rows = [...counts].filter(([n]) => n >= 0).sort((a, b) => b[1] - a[1]).slice(0, 30);
  return rows.map(([n, count]) => {
    const name = names ? names[n] : `cluster ${n}`;
    const row = make("li", { title: `Show these items: ${name}` }, swatch(palette.css(n)), make("span", { textContent: name }), make("small", { textContent: count.toLocaleString() }));
    row.onclick = () => select([...numbers.keys()].filter((i) => numbers[i] === n), name);
    return row;
  });
}

// Labelled items are drawn on top of the others.
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
function lasso(on) { map.drawing = on; $("lasso").setAttribute("aria-pressed", on); }
$("lasso").onclick = () => lasso(!map.drawing);

function hover(item, x, y) {
  const tip = $("tip"), field = $("field");
  if (item === null) { tip.hidden = true; hover.item = null; return; }
  if (hover.item !== item) {
    hover.item = item;
    const put = (known) => { if (hover.item === item) tip.replaceChildren(...preview(state.kind, known, named(item))); };
    if (state.kind !== "text") put({ item, name: "" });
    else if (details.has(item)) put(details.get(item));
    else attempt(() => post("/list", { items: [item] })).then((known) => { if (known) { details.set(item, known[0]); put(known[0]); } });
  }
  tip.style.left = `${Math.min(x + 16, field.clientWidth - 200)}px`;
  tip.style.top = `${Math.min(y + 16, Math.max(0, field.clientHeight - 210))}px`;
  tip.hidden = false;
}

function named(item) {
  if (data.labels[item] >= 0) return state.classes[data.labels[item]];
  return data.answers[item] >= 0 ? `${state.classes[data.answers[item]]}? ${Math.round(data.sure[item] / 2.55)}%` : "no label";
}

// Events: from another tab, the classifier, or a training.

async function heard(event) {
  if (event.classes) { state.classes = event.classes; state.counts = event.counts; }
  if (event.labels) {
    for (const [item, label] of event.labels) data.labels[item] = label;
    about(); classes();
    if ($("colour").value === "labels") paint();
    if (current !== null && data.labels[current] >= 0 && !answer.busy) { // keep the item, or the next key press would label the next one
      $("guess").textContent = `Labelled ${state.classes[data.labels[current]]} elsewhere.`;
    }
  }
  if (event.curve) { state.curve = event.curve; learn.draw(); }
  if (event.runs) { state.runs = event.runs; learn.runs(); }
  if (event.run && event.run !== state.run) { state.run = event.run; delete data.clusters; about(); learn.runs(); }
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

async function again() { // catch up after a lost connection
  const [now, labels] = await Promise.all([get("/state"), array("labels")]);
  data.labels = labels;
  await heard({ ...now, labels: [] });
}

const learn = new Learn(state), errors = new Errors(state, { select, open });
document.addEventListener("tab", ({ detail }) => { if (detail === "learn") learn.draw(); if (detail === "errors") errors.look(); });
keep(state, noun, ask);
for (const name of state.strategies) $("strategy").append(make("option", { value: name, textContent: name }));
if (state.origin.length) document.querySelector('#colour option[value="origin"]').hidden = false;
about();
map.place(data.places);
paint();
requestAnimationFrame(() => performance.mark("painted"));
classes();
listen((event) => attempt(() => heard(event)), (connected, ended) => {
  if (connected && state.connected === false) attempt(again);
  Object.assign(state, { connected, ended }); about();
});
if (state.training) learn.show(state.training);
await ask();
document.body.dataset.ready = "yes";
