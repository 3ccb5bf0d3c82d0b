// Two small charts, drawn on canvases.

function pen(canvas) {
  const ratio = window.devicePixelRatio || 1, style = getComputedStyle(canvas);
  canvas.width = canvas.clientWidth * ratio; canvas.height = canvas.clientHeight * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.font = "11px system-ui, sans-serif";
  return { context, width: canvas.clientWidth, height: canvas.clientHeight, colour: (name) => style.getPropertyValue(name).trim() };
}

// Points [{x, y, low, high}] with lines between them; y is formatted by `format`.
export function line(canvas, points, format, xTitle) {
  const { context, width, height, colour } = pen(canvas);
  if (!points.length) { context.fillStyle = colour("--muted"); context.fillText("Not measured yet.", 4, 20); return; }
  const lows = points.map((p) => p.low ?? p.y), highs = points.map((p) => p.high ?? p.y);
  let [least, most] = [Math.min(...lows), Math.max(...highs)];
  if (most - least < 1e-9) { least -= 0.5; most += 0.5; }
  const first = points[0].x, last = points.at(-1).x, box = { left: 44, right: width - 10, top: 10, bottom: height - 24 };
  const x = (v) => last > first ? box.left + (v - first) / (last - first) * (box.right - box.left) : (box.left + box.right) / 2;
  const y = (v) => box.bottom - (v - least) / (most - least) * (box.bottom - box.top);
  context.strokeStyle = colour("--rule"); context.fillStyle = colour("--muted");
  for (const part of [0, 0.5, 1]) {
    const value = least + part * (most - least);
    context.beginPath(); context.moveTo(box.left, y(value)); context.lineTo(box.right, y(value)); context.stroke();
    context.textAlign = "right"; context.fillText(format(value), box.left - 6, y(value) + 4);
  }
  context.textAlign = "center";
  context.fillText(first.toLocaleString(), x(first), height - 8);
  if (last > first) context.fillText(`${last.toLocaleString()} ${xTitle}`, box.right - 30, height - 8);
  if (points[0].low !== undefined) {
    context.fillStyle = colour("--accent"); context.globalAlpha = 0.16; context.beginPath();
    for (const p of points) context.lineTo(x(p.x), y(p.high));
    for (const p of [...points].reverse()) context.lineTo(x(p.x), y(p.low));
    context.fill(); context.globalAlpha = 1;
  }
  context.strokeStyle = context.fillStyle = colour("--accent"); context.lineWidth = 2; context.beginPath();
  for (const p of points) context.lineTo(x(p.x), y(p.y));
  context.stroke();
  if (points.length < 40) for (const p of points.filter((each) => each.low !== undefined)) { context.beginPath(); context.moveTo(x(p.x), y(p.low)); context.lineTo(x(p.x), y(p.high)); context.stroke(); }
  if (points.length < 40) for (const p of points) { context.beginPath(); context.arc(x(p.x), y(p.y), 3, 0, 7); context.fill(); }
}
