// Lists of items, and the viewer of one item with its nearest neighbours.

import { get, post } from "./api.js";
import { grid, make, shown } from "./items.js";
import { classButton, current, give, likely } from "./labelling.js";
import { $, data, map, noun, state, tab, used } from "./page.js";
import { attempt, counted, toast } from "./words.js";

const PAGE = 200; // items of a list that are loaded at a time
let selection = [];

export async function select(items, title, note = "") {
  selection = items;
  tab("items");
  map.chosen = new Set(items.slice(0, 3000)); map.draw();
  $("items-title").textContent = `${title}: ${counted(items.length, noun)}`;
  $("items-note").textContent = note;
  $("label-all").hidden = !items.length;
  $("items").replaceChildren();
  await more();
}

// The next items of the selection, so that all can be checked before labelling all.
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

$("label-all").onsubmit = async (event) => {
  event.preventDefault();
  const name = $("all-name").value.trim();
  if (!name || !selection.length) return;
  const number = state.classes.indexOf(name), others = selection.filter((i) => data.labels[i] >= 0 && data.labels[i] !== number).length;
  $("all-name").blur(); // so that backspace undoes it
  if (await give(selection, selection.map(() => name))) {
    toast(`${counted(selection.length, noun)} labelled ${name}${others ? `, ${others.toLocaleString()} of which had another label` : ""}. Undo with backspace.`);
  }
};

export async function open(item) {
  const known = await attempt(() => get(`/item/${item}`));
  if (!known) return;
  for (const player of document.querySelectorAll("audio, video")) player.pause();
  map.focus = item; map.draw();
  const near = make("ul", { className: "grid" }), classes = make("ol", { className: "classes" });
  const label = make("p", { textContent: known.label === null ? "No label." : `Label: ${known.label}` });
  const set = async (name) => { if (await give([item], [name])) label.textContent = name ? `Label: ${name}` : "No label."; };
  open.set = set;
  for (const [name, number] of used()) classes.append(make("li", {}, classButton(name, number, () => set(name))));
  if (known.label !== null) classes.append(make("li", {}, make("button", { textContent: "Remove label", onclick: () => set("") })));
  grid(near, state.kind, known.near, open);
  $("view").replaceChildren(
    make("button", { className: "close", title: "Close (Esc)", textContent: "Close", onclick: () => $("viewer").close() }),
    make("h2", { textContent: known.name }), shown(state.kind, known), label,
    make("p", { className: "quiet", textContent: likely(known) }), classes,
    make("h2", { textContent: "Nearest items" }), near,
  );
  if (!$("viewer").open) $("viewer").showModal();
  $("viewer").scrollTop = 0;
}
document.addEventListener("class", (event) => open.set(event.detail));
$("viewer").onclose = () => { $("view").replaceChildren(); map.focus = current; map.draw(); };
$("viewer").onclick = (event) => { if (event.target === $("viewer")) $("viewer").close(); };

$("words").placeholder = state.words ? "Search by words" : "Search names";
$("search").onsubmit = async (event) => {
  event.preventDefault();
  const words = $("words").value.trim();
  const found = words && await attempt(() => get("/search", { words }));
  if (found) select(found.map((item) => item.item), `“${words}”`, state.words ? "The nearest items." : "");
};
