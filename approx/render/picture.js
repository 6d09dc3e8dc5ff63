"use strict";
// Drawing, in three layers: axes and what no slider changes, the map with one pixel a point, curve and mark on top.

const state = { view: "network", component: 0, layer: 0, at: null, playing: false };
const element = (id) => document.getElementById(id);
const picture = element("picture"), map = element("map");
const base = element("axes").getContext("2d"), top2d = element("marks").getContext("2d");
let box = null, scale = null, here = null; // where things are, the range of the colours, the readout at the mark
let pixels = null, words = null, shown = -1; // colours of the map as last painted, and for which layer
const fresh = { base: false, marks: false };

const VIRIDIS = ["440154", "48186a", "472d7b", "424086", "3b528b", "33638d", "2c728e", "26828e", "21918c", "1fa088",
  "28ae80", "3fbc73", "5ec962", "84d44b", "addc30", "d8e219", "fde725"];
const RED_BLUE = ["053061", "175290", "2a71b2", "3f8ec0", "6bacd1", "9bc9e0", "c2ddec", "e0ecf3", "f7f6f6", "fbe5d8",
  "fbccb4", "f5aa89", "e48066", "d05548", "ba2832", "930e26", "67001f"];
const table = (anchors) => { // 256 colours as 32-bit words of RGBA pixels
  const parts = anchors.map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const t = (i / 255) * (parts.length - 1), k = Math.min(Math.floor(t), parts.length - 2);
    const [r, g, b] = parts[k].map((low, c) => Math.round(low + (t - k) * (parts[k + 1][c] - low)));
    return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
};
const TABLES = { network: table(VIRIDIS), target: table(VIRIDIS), error: table(RED_BLUE) };
const rgb = (word) => `rgb(${word & 255},${(word >> 8) & 255},${(word >> 16) & 255})`;
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const short = (v) => (v === 0 ? "0" : Math.abs(v) >= 1e5 || Math.abs(v) < 1e-3 ? v.toExponential(1)
  : String(parseFloat(v.toPrecision(4))));

// ---- what is drawn

function quantity(i) {
  const c = state.component, f = target[i * outputs + c];
  return state.view === "target" ? f : shownValue(i, c, state.layer) - (state.view === "error" ? f : 0);
}

function quantityHere() {
  const c = state.component, value = painted(here.layer, state.layer) ? here.network[c] : background(here.x, c);
  return state.view === "target" ? here.target[c] : value - (state.view === "error" ? here.target[c] : 0);
}

function range() {
  const c = state.component;
  let low = Infinity, high = -Infinity;
  const see = (v) => { if (v < low) low = v; if (v > high) high = v; };
  for (let i = 0; i < count; i++) {
    const f = target[i * outputs + c], F = values[i * outputs + c];
    if (Number.isNaN(F)) continue;
    if (state.view === "error") see(Math.abs(F - f));
    else { see(f); see(F); }
  }
  if (state.view === "error") {
    const most = Math.max(data.eps || 0, high, 1e-300);
    return [-most, most];
  }
  return low < high ? [low, high] : [low - 0.5, low + 0.5];
}

// ---- the frame: sizes, axes, colour bar, legend

function measure() {
  const ratio = window.devicePixelRatio || 1, width = picture.clientWidth;
  const aspect = plane ? (data.upper[1] - data.lower[1]) / (data.upper[0] - data.lower[0]) : 0.6;
  const font = Math.max(11, Math.min(20, width / 45)), [left, right] = plane ? [4.6 * font, 5.2 * font] : [3.6 * font, font];
  const bottom = 2.8 * font, top = 0.8 * font, fair = aspect > 0.25 && aspect < 4 ? aspect : 1;
  const inner = width - left - right, room = Math.max(240, 0.8 * window.innerHeight - top - bottom);
  const tall = Math.min(inner * fair, room), wide = plane ? Math.min(inner, tall / fair) : inner;
  const height = Math.round(top + tall + bottom);
  picture.style.height = `${height}px`;
  for (const { canvas } of [base, top2d]) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  }
  map.hidden = !plane;
  Object.assign(map.style, { left: `${left}px`, top: `${top}px`, width: `${wide}px`, height: `${tall}px` });
  const margin = plane ? 0 : 0.05 * (scale[1] - scale[0]);
  const vertical = plane ? [data.lower[1], data.upper[1]] : [scale[0] - margin, scale[1] + margin];
  const toX = (x) => left + ((x - data.lower[0]) / (data.upper[0] - data.lower[0])) * wide;
  const toY = (y) => top + tall - ((y - vertical[0]) / (vertical[1] - vertical[0])) * tall;
  return { ratio, width, height, font, left, top, wide, tall, vertical, toX, toY };
}

function ticks(low, high, most) {
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const result = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) result.push(k * step);
  return result;
}

function write(text, x, y, align, baseline) {
  base.textAlign = align;
  base.textBaseline = baseline;
  base.fillText(text, x, y);
}

function drawBase() {
  const { ratio, width, height, font, left, top, wide, tall, vertical, toX, toY } = box;
  base.setTransform(ratio, 0, 0, ratio, 0, 0);
  base.clearRect(0, 0, width, height);
  base.fillStyle = ink("--ink");
  base.strokeStyle = ink("--line");
  base.font = `${font}px system-ui, sans-serif`;
  base.lineWidth = 2;
  base.strokeRect(left, top, wide, tall);
  for (const x of ticks(data.lower[0], data.upper[0], wide / (5 * font))) {
    write(short(x), toX(x), top + tall + 0.3 * font, "center", "top");
  }
  const unit = data.axis_unit ? ` (${data.axis_unit})` : "";
  write((plane ? "x1" : "x") + unit, left + wide / 2, top + tall + 1.5 * font, "center", "top");
  for (const y of ticks(...vertical, tall / (3 * font))) write(short(y), left - 0.4 * font, toY(y), "right", "middle");
  if (plane) {
    base.save();
    base.translate(0.5 * font, top + tall / 2);
    base.rotate(-Math.PI / 2);
    write(`x2${unit}`, 0, 0, "center", "middle");
    base.restore();
    drawBar(left + wide + font);
  } else drawLegend();
}

function drawBar(x) {
  const { font, top, tall } = box;
  for (let k = 0; k < 256; k++) {
    base.fillStyle = rgb(TABLES[state.view][k]);
    base.fillRect(x, top + tall - ((k + 1) / 256) * tall, font, tall / 256 + 1);
  }
  base.fillStyle = ink("--ink");
  write(data.unit, x, top + tall + 0.3 * font, "left", "top");
  for (const v of ticks(...scale, tall / (3 * font))) {
    write(short(v), x + 1.3 * font, top + tall * (1 - (v - scale[0]) / (scale[1] - scale[0])), "left", "middle");
  }
}

function drawLegend() { // and the curves that stay
  const thick = Math.max(2, box.font / 7), network = ink("--accent"), target = ink("--target"), soft = ink("--soft");
  const names = { network: [["target", target], ["network", network]], target: [["target", target]],
    error: [["network - target", network], ...(data.eps ? [["± eps", soft]] : [])] };
  if (state.view === "error") for (const e of data.eps ? [-data.eps, data.eps] : []) curve(base, () => e, soft, 1);
  else curve(base, targetValue, target, state.view === "target" ? thick : 1.5);
  names[state.view].forEach(([name, style], k) => {
    base.fillStyle = style;
    write(name, box.left + 0.6 * box.font, box.top + (0.5 + 1.3 * k) * box.font, "left", "top");
  });
}

const targetValue = (i) => target[i * outputs + state.component];

function curve(context, value, style, width, side = () => 0) { // broken where `side` changes
  const { left, top, toX, toY } = box;
  context.strokeStyle = style;
  context.lineWidth = width;
  context.beginPath();
  let before = null;
  for (let i = 0; i < count; i++) {
    const v = value(i), piece = Number.isNaN(v) ? null : side(i);
    if (piece !== null) context[before === piece ? "lineTo" : "moveTo"](toX(axes[0][i]), toY(v));
    before = piece;
  }
  context.stroke();
}

// ---- the map: only points whose cell appears or goes are painted again, unless all must be

function colour(i) {
  const v = quantity(i);
  if (Number.isNaN(v)) return 0;
  const t = (v - scale[0]) / (scale[1] - scale[0]);
  return TABLES[state.view][Math.max(0, Math.min(255, Math.round(255 * t)))];
}

function paintMap() {
  const context = map.getContext("2d");
  if (!pixels) {
    [map.width, map.height] = [columns, rows];
    pixels = new ImageData(columns, rows);
    words = new Uint32Array(pixels.data.buffer);
  }
  let from = 0, to = count;
  if (shown >= 0) {
    const [low, high] = [Math.min(shown, state.layer), Math.max(shown, state.layer)];
    [from, to] = data.paints && state.view !== "target" ? [start[low + 1], start[high + 1]] : [0, 0];
  }
  shown = state.layer;
  let [x0, x1, y0, y1] = [columns, -1, rows, -1];
  for (let k = from; k < to; k++) {
    const i = order[k], x = i % columns, y = rows - 1 - Math.floor(i / columns); // rows of the image run downwards
    words[y * columns + x] = colour(i);
    if (x < x0) x0 = x;
    if (x > x1) x1 = x;
    if (y < y0) y0 = y;
    if (y > y1) y1 = y;
  }
  if (from < to) context.putImageData(pixels, 0, 0, x0, y0, x1 - x0 + 1, y1 - y0 + 1);
}

// ---- on top: the curve of the network, the mark and the outline of its cell

function drawMarks() {
  const { ratio, width, height, font, toX, toY } = box, thick = Math.max(2, font / 7);
  top2d.setTransform(ratio, 0, 0, ratio, 0, 0);
  top2d.clearRect(0, 0, width, height);
  if (!plane && state.view !== "target") {
    const side = (i) => (data.paints && captured[i] <= state.layer ? captured[i] : 0);
    curve(top2d, quantity, ink("--accent"), thick, side);
  }
  if (here === null) return;
  if (plane && data.paints && here.layer > 0 && here.layer <= last) outline(here.layer);
  const y = plane ? here.x[1] : quantityHere();
  if (Number.isNaN(y)) return;
  for (const [line, style] of [[4, "#fff"], [2, "#000"]]) {
    top2d.lineWidth = line;
    top2d.strokeStyle = style;
    top2d.beginPath();
    top2d.arc(toX(here.x[0]), toY(y), 0.45 * font, 0, 2 * Math.PI);
    top2d.stroke();
  }
}

function outline(k) { // the part of cell k that is its own
  const { wide, tall, toX, toY } = box, w = wide / columns, h = tall / rows;
  for (const [line, style] of [[3.5, "#fff"], [1.5, "#000"]]) {
    top2d.fillStyle = style;
    for (let j = start[k]; j < start[k + 1]; j++) {
      const i = order[j], x = toX(axes[0][i % columns]) - w / 2, y = toY(axes[1][Math.floor(i / columns)]) - h / 2;
      const other = (step, inside) => !inside || captured[i + step] !== k;
      if (other(-1, i % columns > 0)) top2d.fillRect(x, y, line, h);
      if (other(1, i % columns < columns - 1)) top2d.fillRect(x + w - line, y, line, h);
      if (other(-columns, i >= columns)) top2d.fillRect(x, y + h - line, w, line);
      if (other(columns, i < count - columns)) top2d.fillRect(x, y, w, line);
    }
  }
}

// ---- one picture a frame, and in it only what has changed

function draw() {
  if (order === null) return;
  if (!fresh.base) {
    scale = range();
    box = measure();
    drawBase();
    shown = -1;
  }
  if (plane) paintMap();
  if (!fresh.base || !fresh.marks) drawMarks();
  fresh.base = fresh.marks = true;
}

let waiting = false;
function redraw(what) { // "base": everything, "marks": mark and curve, nothing: the map if its layer has changed
  if (what) fresh[what] = false;
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
}
