// State shared by all parts of the page: the initial state from the server, and its updates.

import { array, get } from "./api.js";
import { Palette } from "./colours.js";
import { AtlasMap } from "./map.js";

export const $ = (id) => document.getElementById(id);
const [told, places, labels, answers, sure] = await Promise.all([get("/state"), ...["places", "labels", "answers", "sure"].map(array)]);
export const state = told;
export const data = { places, labels, answers, sure };
export const palette = new Palette();
export const map = new AtlasMap($("points"), $("marks"));
export const noun = { image: "image", video: "video", audio: "sound", text: "text" }[state.kind];

// The classes with items, as [name, number]; a mistyped class disappears when its items are relabelled.
export const used = () => state.classes.map((name, number) => [name, number]).filter(([, number]) => state.counts[number] > 0);

export function tab(name) {
  for (const button of document.querySelectorAll("[data-tab]")) button.setAttribute("aria-selected", button.dataset.tab === name);
  for (const panel of document.querySelectorAll(".panel")) panel.hidden = panel.id !== `panel-${name}`;
  for (const player of document.querySelectorAll("audio, video")) player.pause();
  if (name !== "items") { map.chosen.clear(); map.draw(); }
  document.dispatchEvent(new CustomEvent("tab", { detail: name }));
}
for (const button of document.querySelectorAll("[data-tab]")) button.onclick = () => tab(button.dataset.tab);
