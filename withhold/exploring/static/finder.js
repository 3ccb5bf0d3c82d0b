// A dialog that finds a class.

import { make } from "./items.js";

const $ = (id) => document.getElementById(id);

// Searches `classes` by a part of their names, and calls `chosen` with the selected one.
export function find(classes, chosen) {
  const box = $("find"), list = $("found");
  let at = 0, names = [];
  const fillList = () => {
    const words = box.value.toLowerCase();
    names = classes.filter((name) => name.toLowerCase().includes(words));
    at = Math.min(at, Math.max(0, names.length - 1));
    list.replaceChildren(...names.map((name, n) => { const row = make("li", { textContent: name, onclick: () => choose(name) }); row.setAttribute("aria-selected", n === at); return row; }));
  };
  const choose = (name) => { $("finder").close(); chosen(name); };
  box.value = ""; box.oninput = () => { at = 0; fillList(); };
  box.onkeydown = (event) => {
    if (event.key === "ArrowDown") at = Math.min(names.length - 1, at + 1);
    else if (event.key === "ArrowUp") at = Math.max(0, at - 1);
    else if (event.key === "Enter" && names[at]) choose(names[at]);
    else return;
    event.preventDefault(); fillList();
  };
  fillList(); $("finder").showModal(); box.focus();
}
