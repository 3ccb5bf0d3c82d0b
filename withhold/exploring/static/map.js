// The map: all items as points on a canvas, pixel by pixel, since there may be a hundred thousand.

const CELLS = 128; // cells along each side of the grid that finds the point under the mouse
const NEAR = 12; // distance in pixels within which a point is hit

const LARGER = 1.7; // how much larger labelled items are

// Offsets of the pixels of a disc from its centre, in an image of a width.
function disc(size, width) {
  const reach = Math.ceil(size), steps = [];
  for (let y = -reach; y <= reach; y++) for (let x = -reach; x <= reach; x++) if (x * x + y * y <= size * size) steps.push(y * width + x);
  return Int32Array.from(steps);
}

export class AtlasMap {
  // `on`, which the page sets, has hover(item, x, y), pick(item) and lasso(items).
  constructor(points, marks) {
    Object.assign(this, { points, marks, places: new Float32Array(0), colours: new Uint32Array(0), order: [] });
    this.view = { x: 0, y: 0, scale: 1 };
    this.chosen = new Set();
    this.focus = null;
    this.drawing = false; // whether a drag draws a lasso
    this.asked = false;
    new ResizeObserver(() => this.resize()).observe(points);
    this.listen();
  }

  get count() { return this.places.length / 2; }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    for (const canvas of [this.points, this.marks]) {
      canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
      canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    }
    this.ratio = ratio;
    this.image = this.points.getContext("2d").createImageData(this.points.width, this.points.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.draw();
  }

  // Positions float [2n] in [-1, 1]; points move there from their old positions.
  place(places) {
    const before = this.places;
    this.target = places;
    if (before.length !== places.length) { this.places = places; this.index(); this.draw(); return; }
    const began = performance.now(), from = before.slice();
    const step = (now) => {
      if (this.target !== places) return;
      const t = Math.min(1, (now - began) / 700), ease = t * t * (3 - 2 * t);
      const moved = new Float32Array(places.length);
      for (let i = 0; i < moved.length; i++) moved[i] = from[i] + (places[i] - from[i]) * ease;
      this.places = t < 1 ? moved : places;
      if (t < 1) requestAnimationFrame(step); else this.index();
      this.draw();
    };
    requestAnimationFrame(step);
  }

  // Colours uint32 [n] (ABGR); the items in the order in which they are drawn, the last one on top; and their labels,
  // since those that have one are larger.
  paint(colours, order, labels) { Object.assign(this, { colours, order, labels }); this.draw(); }

  index() {
    const cells = new Int32Array(CELLS * CELLS + 1), of = new Int32Array(this.count);
    for (let i = 0; i < this.count; i++) cells[(of[i] = this.cell(this.places[2 * i], this.places[2 * i + 1])) + 1]++;
    for (let c = 0; c < CELLS * CELLS; c++) cells[c + 1] += cells[c];
    const rows = new Int32Array(this.count), at = cells.slice();
    for (let i = 0; i < this.count; i++) rows[at[of[i]]++] = i;
    this.grid = { cells, rows };
  }

  cell(x, y) {
    const at = (v) => Math.min(CELLS - 1, Math.max(0, Math.floor((v + 1) / 2 * CELLS)));
    return at(y) * CELLS + at(x);
  }

  get unit() { return Math.min(this.points.width, this.points.height) * 0.46 * this.view.scale; }

  toScreen(x, y) {
    return [this.points.width / 2 + (x - this.view.x) * this.unit, this.points.height / 2 - (y - this.view.y) * this.unit];
  }

  toMap(left, top) { // from CSS pixels
    return [
      (left * this.ratio - this.points.width / 2) / this.unit + this.view.x,
      (this.points.height / 2 - top * this.ratio) / this.unit + this.view.y,
    ];
  }

  draw() {
    if (this.asked || !this.image) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.render(); });
  }

  render() {
    const { pixels, places, colours, labels } = this, { width, height } = this.points;
    const unit = this.unit, left = width / 2 - this.view.x * unit, top = height / 2 + this.view.y * unit;
    const size = Math.max(1.2, Math.min(5, 60 / Math.sqrt(this.count) * Math.sqrt(this.view.scale))) * this.ratio;
    const reach = Math.ceil(LARGER * size), small = disc(size, width), large = disc(LARGER * size, width);
    pixels.fill(0);
    for (let k = 0; k < this.order.length; k++) {
      const i = this.order[k], x = Math.round(left + places[2 * i] * unit), y = Math.round(top - places[2 * i + 1] * unit);
      if (x < reach || y < reach || x >= width - reach || y >= height - reach) continue;
      const at = y * width + x, colour = colours[i], steps = labels[i] < 0 ? small : large;
      for (let d = 0; d < steps.length; d++) pixels[at + steps[d]] = colour;
    }
    this.points.getContext("2d").putImageData(this.image, 0, 0);
    this.renderMarks(size);
  }

  renderMarks(size) {
    const pen = this.marks.getContext("2d"), style = getComputedStyle(this.marks);
    pen.clearRect(0, 0, this.marks.width, this.marks.height);
    pen.strokeStyle = style.getPropertyValue("--ink");
    pen.lineWidth = 1.5 * this.ratio;
    const ring = (item, more) => {
      const [x, y] = this.toScreen(this.places[2 * item], this.places[2 * item + 1]);
      pen.beginPath(); pen.arc(x, y, size + more * this.ratio, 0, 7); pen.stroke();
    };
    for (const item of this.chosen) ring(item, 1);
    if (this.focus !== null) { pen.lineWidth = 2.5 * this.ratio; ring(this.focus, 5); }
    if (this.path?.length > 1) {
      pen.strokeStyle = style.getPropertyValue("--accent");
      pen.beginPath();
      for (const [x, y] of this.path) pen.lineTo(...this.toScreen(x, y));
      pen.closePath(); pen.stroke();
    }
  }

  at(left, top) {
    const [x, y] = this.toMap(left, top), reach = NEAR * this.ratio / this.unit;
    let best = null, nearest = reach * reach;
    const low = this.cell(x - reach, y - reach), high = this.cell(x + reach, y + reach);
    for (let row = Math.floor(low / CELLS); row <= Math.floor(high / CELLS); row++) {
      for (let c = row * CELLS + low % CELLS; c <= row * CELLS + high % CELLS; c++) {
        for (let k = this.grid.cells[c]; k < this.grid.cells[c + 1]; k++) {
          const i = this.grid.rows[k], dx = this.places[2 * i] - x, dy = this.places[2 * i + 1] - y;
          if (dx * dx + dy * dy < nearest) { nearest = dx * dx + dy * dy; best = i; }
        }
      }
    }
    return best;
  }

  within(path) {
    const inside = [];
    for (let i = 0; i < this.count; i++) {
      const x = this.places[2 * i], y = this.places[2 * i + 1];
      let odd = false;
      for (let a = 0, b = path.length - 1; a < path.length; b = a++) {
        const [ax, ay] = path[a], [bx, by] = path[b];
        if ((ay > y) !== (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax) odd = !odd;
      }
      if (odd) inside.push(i);
    }
    return inside;
  }

  whole() { this.view = { x: 0, y: 0, scale: 1 }; this.draw(); }

  zoom(factor, left, top) {
    const [x, y] = this.toMap(left, top);
    this.view.scale = Math.min(400, Math.max(0.5, this.view.scale * factor));
    const [nx, ny] = this.toMap(left, top);
    this.view.x += x - nx; this.view.y += y - ny;
    this.draw();
  }

  listen() {
    const { marks } = this;
    let last = null, moved = 0;
    marks.addEventListener("pointerdown", (event) => {
      marks.setPointerCapture(event.pointerId);
      last = [event.offsetX, event.offsetY]; moved = 0;
      if (this.drawing || event.shiftKey) this.path = [this.toMap(...last)];
    });
    marks.addEventListener("pointermove", (event) => {
      const here = [event.offsetX, event.offsetY];
      if (last === null) { const item = this.grid ? this.at(...here) : null; this.on.hover(item, ...here); return; }
      moved += Math.abs(here[0] - last[0]) + Math.abs(here[1] - last[1]);
      if (this.path) this.path.push(this.toMap(...here));
      else {
        this.view.x -= (here[0] - last[0]) * this.ratio / this.unit;
        this.view.y += (here[1] - last[1]) * this.ratio / this.unit;
      }
      last = here; this.on.hover(null); this.draw();
    });
    const end = (event) => {
      if (last === null) return;
      if (this.path && moved > 10) this.on.lasso(this.within(this.path));
      else if (moved <= 4 && this.grid) { const item = this.at(event.offsetX, event.offsetY); if (item !== null) this.on.pick(item); }
      last = null; this.path = null; this.draw();
    };
    marks.addEventListener("pointerup", end);
    marks.addEventListener("pointercancel", () => { last = null; this.path = null; this.draw(); });
    marks.addEventListener("pointerleave", () => this.on.hover(null));
    marks.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * 0.0016), event.offsetX, event.offsetY);
    }, { passive: false });
    marks.addEventListener("keydown", (event) => {
      const step = 60 * this.ratio / this.unit, way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (way) { this.view.x += way[0] * step; this.view.y += way[1] * step; event.preventDefault(); this.draw(); }
      if (event.key === "+" || event.key === "-") this.zoom(event.key === "+" ? 1.3 : 1 / 1.3, marks.clientWidth / 2, marks.clientHeight / 2);
    });
  }
}
