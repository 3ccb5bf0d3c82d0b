// The panels for training, errors, and export and import.

import { get, post } from "./api.js";
import { line } from "./charts.js";
import { grid, make } from "./items.js";
import { attempt, counted } from "./words.js";

const $ = (id) => document.getElementById(id);
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}%`;

function time(seconds) {
  const minutes = Math.floor(seconds / 60);
  return minutes ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.round(seconds)} s`;
}

export class Learn {
  constructor(state) {
    this.state = state;
    for (const name of state.methods) $("what").append(make("option", { value: name, textContent: name }));
    $("what").onchange = () => this.note();
    $("train").onsubmit = async (event) => {
      event.preventDefault();
      await attempt(() => post("/train", { what: $("what").value, minutes: Number($("minutes").value) }));
    };
    $("stop").onclick = () => attempt(() => post("/stop"));
    $("shown").onchange = async () => {
      $("shown").disabled = true;
      await attempt(() => post("/show", { run: $("shown").value }));
      $("shown").disabled = false;
      this.runs();
    };
    this.note();
    this.runs();
  }

  runs() {
    const { runs, run } = this.state;
    $("shown").replaceChildren(...runs.map((name) => make("option", { value: name, textContent: name, selected: name === run })));
    $("seen-by").hidden = runs.length < 2;
  }

  note() {
    $("what-note").textContent = $("what").value === "learn"
      ? "learn compares several ways to train a classifier from these labels, and keeps the best."
      : `${$("what").value} starts from the encoder that the page shows.`;
  }

  draw() {
    const { curve: every, run } = this.state, own = every.filter((p) => p.run === run), curve = own.length ? own : every;
    const points = curve.map((p) => ({ x: p.labels, y: p.accuracy, low: p.low, high: p.high }));
    points.sort((a, b) => a.x - b.x);
    line($("curve"), points, (v) => percent(v, 0), "labels");
    const last = curve.at(-1);
    $("accuracy").textContent = last
      ? `${percent(last.accuracy)} (${percent(last.low, 0)} to ${percent(last.high, 0)}) with ${last.labels} labels, cross-validated, ${last.route} on features of ${last.run}.${this.uneven()}`
      : "Accuracy is measured by cross-validation after every 20 labels, once two classes have three labels each.";
  }

  // If most labels are of one class, as after a lasso, the other classes have few labels to measure on.
  uneven() {
    const { classes, counts } = this.state, all = counts.reduce((a, b) => a + b, 0), most = Math.max(...counts);
    const of = counts.filter((count) => count > 0).length;
    if (most < 0.4 * all || most < 2 * all / of) return "";
    return ` ${percent(most / all, 0)} of the labels are ${classes[counts.indexOf(most)]}. If you labelled them together, they are easier than the other items, and this accuracy is too high.`;
  }

  show(training) {
    $("training").hidden = false;
    $("start").disabled = training.running || Boolean(training.adopting);
    $("stop").hidden = !training.running;
    $("stop").disabled = training.stopped;
    $("progress").hidden = !training.running;
    $("progress").value = training.share;
    $("training-note").textContent = training.adopting ? "Done. Computing its features of all items."
      : training.running && training.stopped ? "Stopping."
        : training.running ? `${training.name}: ${time(training.seconds)}, ${training.left ? `about ${time(training.left)} left` : "finishing"}`
          : `${training.name} ${training.stopped ? "stopped" : training.failed ? "failed" : "finished"} after ${time(training.seconds)}.`;
    $("said").textContent = training.said;
    $("loss").hidden = training.curve.length < 2;
    if (training.curve.length > 1) line($("loss"), training.curve.map(([x, y]) => ({ x, y })), (v) => v.toPrecision(3), "steps");
    const head = make("tr", {}, ...["route", "accuracy", "95 % interval"].map((text) => make("th", { textContent: text })));
    const rows = training.routes.map((row) => make("tr", {}, ...[
      row.route, "needs" in row ? "skipped" : percent(row.accuracy), "needs" in row ? `needs ${time(60 * row.needs)}` : `${percent(row.low)} to ${percent(row.high)}`,
    ].map((text) => make("td", { textContent: text }))));
    $("routes").replaceChildren(...(rows.length ? [make("thead", {}, head), make("tbody", {}, ...rows)] : []));
  }
}

export class Errors {
  constructor(state, on) {
    Object.assign(this, { state, on });
    $("again").onclick = () => this.look();
  }

  async look() {
    $("errors-note").textContent = "Searching ...";
    const found = await attempt(() => get("/errors"));
    if (!found) { $("errors-note").textContent = ""; return; }
    $("panel-errors").dataset.known = "yes";
    $("errors-note").textContent = found.accuracy
      ? `${percent(found.accuracy[0])} of ${found.accuracy[3]} labels are predicted correctly (${percent(found.accuracy[1], 0)} to ${percent(found.accuracy[2], 0)}).`
      : "To find errors, label at least three items of each of two classes.";
    this.confusion(found);
    for (const name of ["suspects", "unsure", "strange"]) grid($(name), this.state.kind, found[name], this.on.open);
  }

  confusion({ classes, confusion }) {
    const used = [...new Set(confusion.flatMap(({ told, said }) => [told, said]))].sort((a, b) => a - b);
    const cells = new Map(confusion.map((cell) => [`${cell.told} ${cell.said}`, cell]));
    const head = make("tr", {}, make("th"), ...used.map((n) => make("th", { textContent: classes[n], title: classes[n] })));
    const rows = used.map((told) => make("tr", {}, make("th", { textContent: classes[told], title: classes[told] }), ...used.map((said) => {
      const cell = cells.get(`${told} ${said}`), place = make("td", { className: !cell ? "" : told === said ? "right" : "wrong" });
      if (cell) place.append(make("button", { textContent: cell.count, onclick: () => this.on.select(cell.items, `${classes[told]} predicted as ${classes[said]}`) }));
      return place;
    })));
    $("confusion").replaceChildren(...(used.length ? [make("thead", {}, head), make("tbody", {}, ...rows)] : []));
  }
}

// Export and import of labels; `noun` is the word for an item, and `ask` shows the next item to label.
export function keep(state, noun, ask) {
  $("file").textContent = state.labels;
  $("folders").onclick = async () => {
    const done = await attempt(() => post("/folders"));
    if (done) $("keep-note").textContent = `${counted(done.count, "link")} in ${done.folder}`;
  };
  $("import").onchange = async () => {
    const [file] = $("import").files;
    const done = file && await attempt(async () => post("/take", { text: await file.text() }));
    if (done) $("keep-note").textContent = `${counted(done.labelled, noun)} labelled${done.lost ? `; ${counted(done.lost, "row")} without a matching item` : ""}.`;
    $("import").value = "";
    if (done) await ask();
  };
}
