// Colours of classes, and of numbers.

const SERIES = 10;
const SHARES = [[180, 50, 31], [224, 161, 0], [63, 179, 161], [59, 91, 219]];

function parsed(text) {
  const hex = text.trim().replace("#", "");
  return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

const packed = ([r, g, b]) => (255 << 24 | b << 16 | g << 8 | r) >>> 0;

export class Palette {
  constructor() {
    const style = getComputedStyle(document.documentElement);
    this.series = Array.from({ length: SERIES }, (_, i) => parsed(style.getPropertyValue(`--series-${i}`)));
    this.rest = parsed(style.getPropertyValue("--rest"));
  }

  // [r, g, b] of a class; beyond ten classes, hues that are far from each other.
  of(number) {
    if (number < 0) return this.rest;
    if (number < SERIES) return this.series[number];
    const hue = number * 137.508 % 360, light = 0.45 + 0.12 * (number % 3);
    const channel = (n) => { const k = (n + hue / 30) % 12; return light - 0.6 * Math.min(light, 1 - light) * Math.max(-1, Math.min(k - 3, 9 - k, 1)); };
    return [0, 8, 4].map((n) => Math.round(255 * channel(n)));
  }

  css(number) { return `rgb(${this.of(number).join(" ")})`; }

  // Colours uint32 of classes [n].
  classes(numbers) {
    const most = numbers.reduce((a, b) => Math.max(a, b), -1);
    const table = Array.from({ length: most + 2 }, (_, i) => packed(this.of(i - 1)));
    return Uint32Array.from(numbers, (number) => table[number + 1]);
  }

  // [r, g, b] of a share from 0, which is warm, to 1.
  share(value) {
    const at = value * (SHARES.length - 1), low = Math.min(Math.floor(at), SHARES.length - 2), part = at - low;
    return SHARES[low].map((c, i) => Math.round(c + (SHARES[low + 1][i] - c) * part));
  }

  value(share) { return `rgb(${this.share(share).join(" ")})`; }

  // Colours uint32 of values [n] from 0 to 255.
  values(numbers) {
    const table = Array.from({ length: 256 }, (_, v) => packed(this.share(v / 255)));
    return Uint32Array.from(numbers, (value) => table[value]);
  }
}

// A square of a colour, without an inline style, which the content security policy forbids.
export function swatch(colour) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), square = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  svg.setAttribute("viewBox", "0 0 10 10"); svg.setAttribute("aria-hidden", "true");
  for (const [name, value] of Object.entries({ width: 10, height: 10, rx: 3, fill: colour })) square.setAttribute(name, value);
  svg.append(square);
  return svg;
}
