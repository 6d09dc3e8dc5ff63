"use strict";
// What is shown: a picture on a fixed grid of points, painted cell by cell, and the values at a point.

const data = JSON.parse(document.getElementById("data").textContent);
const network = makeNetwork(data.plan, data.arrays);
const axes = data.axes.map((axis) => unpack(axis).data);
const target = unpack(data.target).data; // (points, m), NaN outside the domain
const outputs = network.dimOut, columns = axes[0].length, rows = axes.length > 1 ? axes[1].length : 1;
const count = columns * rows, plane = axes.length > 1;
const values = new Float64Array(count * outputs).fill(NaN); // the network at every point of the grid
const captured = new Int32Array(count); // the layer that captures it, 0 for none
const element = (id) => document.getElementById(id);
const canvas = element("picture"), context = canvas.getContext("2d");
const state = { view: "network", component: 0, layer: 0, at: null, playing: false, done: 0 };
let order = null, start = null, last = 0; // points sorted by the layer that captures them
let scale = null, pixels = null, words = null, image = null, shown = -1; // colours of the map as last painted

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

const point = (i) => {
  const x = data.through.slice();
  x[0] = axes[0][i % columns];
  if (plane) x[1] = axes[1][Math.floor(i / columns)];
  return x;
};
const background = (i, c) => {
  const x = point(i), [matrix, offset] = data.affine;
  return matrix[c].reduce((sum, a, j) => sum + a * x[j], offset[c]);
};

// ---- the grid, computed once: every point runs through the layers until one captures it, every captured value once

const known = new Map();
function computePoint(i) {
  if (Number.isNaN(target[i * outputs])) return;
  const x = point(i), found = network.run(x, data.paints);
  let value = found.value;
  if (value === null) {
    if (!known.has(found.layer)) known.set(found.layer, network.run(x, false).value);
    value = known.get(found.layer);
  }
  captured[i] = found.layer;
  for (let c = 0; c < outputs; c++) values[i * outputs + c] = value[c];
}

function compute(milliseconds) {
  const stop = performance.now() + milliseconds;
  while (state.done < count && performance.now() < stop) {
    for (const end = Math.min(count, state.done + 64); state.done < end; state.done++) computePoint(state.done);
  }
  if (state.done < count) {
    element("accuracy").textContent = `evaluating the network: ${Math.floor((100 * state.done) / count)} %`;
    return false;
  }
  const layers = new Int32Array(captured).sort();
  last = layers[layers.length - 1];
  start = new Int32Array(last + 2);
  for (const k of captured) start[k + 1]++;
  for (let k = 0; k <= last; k++) start[k + 1] += start[k];
  const next = start.slice();
  order = new Int32Array(count);
  for (let i = 0; i < count; i++) order[next[captured[i]]++] = i;
  state.layer = last;
  element("layer").max = last;
  element("painting").hidden = !data.paints || last === 0;
  const grid = plane ? `${columns} x ${rows} points` : `${columns} points`;
  element("accuracy").textContent =
    `The network is evaluated here in float64 from its stored weights; the target is stored exactly at ${grid}.`;
  return true;
}

// ---- values as shown at the current layer

function shownValue(i, c, layer = state.layer) {
  const all = !data.paints || layer >= last || captured[i] === 0 || captured[i] <= layer;
  return Number.isNaN(values[i * outputs + c]) ? NaN : all ? values[i * outputs + c] : background(i, c);
}

function quantity(i) {
  const c = state.component, f = target[i * outputs + c];
  return state.view === "target" ? f : state.view === "network" ? shownValue(i, c) : shownValue(i, c) - f;
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

// ---- drawing

const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const short = (v) => (v === 0 ? "0" : Math.abs(v) >= 1e5 || Math.abs(v) < 1e-3 ? v.toExponential(1)
  : String(parseFloat(v.toPrecision(4))));

function ticks(low, high, most) {
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const result = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) result.push(k * step);
  return result;
}

function frame() {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth;
  const aspect = plane ? (data.upper[1] - data.lower[1]) / (data.upper[0] - data.lower[0]) : 0.6;
  const font = Math.max(11, Math.min(20, width / 45)), left = 3.6 * font, right = plane ? 5.2 * font : font;
  const bottom = 2.8 * font, top = 0.8 * font, fair = aspect > 0.25 && aspect < 4 ? aspect : 1;
  const inner = width - left - right, room = Math.max(240, 0.8 * window.innerHeight - top - bottom);
  const tall = Math.min(inner * fair, room), wide = plane ? Math.min(inner, tall / fair) : inner;
  const height = Math.round(top + tall + bottom);
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
  }
  return { ratio, width, height, font, left, top, wide, tall };
}

function axesOf(box, vertical) {
  const { font, left, top, wide, tall } = box;
  const toX = (x) => left + ((x - data.lower[0]) / (data.upper[0] - data.lower[0])) * wide;
  const toY = (y) => top + tall - ((y - vertical[0]) / (vertical[1] - vertical[0])) * tall;
  context.fillStyle = ink("--ink");
  context.strokeStyle = ink("--line");
  context.font = `${font}px system-ui, sans-serif`;
  context.lineWidth = 1;
  context.strokeRect(left, top, wide, tall);
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const x of ticks(data.lower[0], data.upper[0], wide / (5 * font))) {
    context.fillText(short(x), toX(x), top + tall + 0.3 * font);
  }
  context.fillText(plane ? "x1" : "x", left + wide / 2, top + tall + 1.5 * font);
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const y of ticks(vertical[0], vertical[1], tall / (3 * font))) context.fillText(short(y), left - 0.4 * font, toY(y));
  if (plane) {
    context.save();
    context.translate(0.7 * font, top + tall / 2);
    context.rotate(-Math.PI / 2);
    context.textAlign = "center";
    context.fillText("x2", 0, 0);
    context.restore();
  }
  return { toX, toY };
}

function colour(i) {
  const v = quantity(i);
  if (Number.isNaN(v)) return 0;
  const t = (v - scale[0]) / (scale[1] - scale[0]);
  return TABLES[state.view][Math.max(0, Math.min(255, Math.round(255 * t)))];
}

function pixel(i) { // rows of the image run downwards
  return (rows - 1 - Math.floor(i / columns)) * columns + (i % columns);
}

function paintMap() { // only the points whose cell appears or goes change, unless something else did
  if (!image) {
    image = new OffscreenCanvas(columns, rows);
    pixels = new ImageData(columns, rows);
    words = new Uint32Array(pixels.data.buffer);
  }
  let from = 0, to = count;
  if (shown >= 0 && data.paints && state.view !== "target") {
    const [low, high] = [Math.min(shown, state.layer), Math.max(shown, state.layer)];
    from = start[low + 1];
    to = start[high + 1];
  } else if (shown >= 0) from = to;
  for (let k = from; k < to; k++) words[pixel(order[k])] = colour(order[k]);
  shown = state.layer;
  image.getContext("2d").putImageData(pixels, 0, 0);
}

function drawMap(box) {
  const { left, top, wide, tall, font } = box;
  paintMap();
  context.imageSmoothingEnabled = false;
  context.drawImage(image, left, top, wide, tall);
  const { toX, toY } = axesOf(box, [data.lower[1], data.upper[1]]);
  const bar = left + wide + font;
  for (let k = 0; k < 256; k++) {
    context.fillStyle = rgb(TABLES[state.view][k]);
    context.fillRect(bar, top + tall - ((k + 1) / 256) * tall, font, tall / 256 + 1);
  }
  context.fillStyle = ink("--ink");
  context.textAlign = "left";
  context.textBaseline = "middle";
  for (const v of ticks(scale[0], scale[1], tall / (3 * font))) {
    context.fillText(short(v), bar + 1.3 * font, top + tall * (1 - (v - scale[0]) / (scale[1] - scale[0])));
  }
  if (state.at === null) return;
  if (data.paints && captured[state.at] > 0) outline(captured[state.at], toX, toY, box);
  mark(toX(axes[0][state.at % columns]), toY(axes[1][Math.floor(state.at / columns)]), font);
}

function outline(k, toX, toY, { wide, tall }) { // the part of cell k that is its own
  const w = wide / columns, h = tall / rows;
  context.fillStyle = ink("--ink");
  for (let j = start[k]; j < start[k + 1]; j++) {
    const i = order[j], x = toX(axes[0][i % columns]) - w / 2, y = toY(axes[1][Math.floor(i / columns)]) - h / 2;
    const other = (step, inside) => !inside || captured[i + step] !== k;
    if (other(-1, i % columns > 0)) context.fillRect(x, y, 1.5, h);
    if (other(1, i % columns < columns - 1)) context.fillRect(x + w - 1.5, y, 1.5, h);
    if (other(-columns, i >= columns)) context.fillRect(x, y + h - 1.5, w, 1.5);
    if (other(columns, i < count - columns)) context.fillRect(x, y, w, 1.5);
  }
}

function mark(x, y, font) {
  for (const [width, style] of [[4, "#fff"], [2, "#000"]]) {
    context.lineWidth = width;
    context.strokeStyle = style;
    context.beginPath();
    context.arc(x, y, 0.45 * font, 0, 2 * Math.PI);
    context.stroke();
  }
}

function drawCurve(box) {
  const margin = 0.05 * (scale[1] - scale[0]), vertical = [scale[0] - margin, scale[1] + margin];
  const { toX, toY } = axesOf(box, vertical);
  const line = (value, style, width) => {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.beginPath();
    let before = null;
    for (let i = 0; i < count; i++) {
      const v = value(i), jump = before !== null && value.jumps && side(i) !== before;
      if (!Number.isNaN(v)) context[before === null || jump ? "moveTo" : "lineTo"](toX(axes[0][i]), toY(v));
      before = Number.isNaN(v) ? null : side(i);
    }
    context.stroke();
  };
  const side = (i) => (data.paints && captured[i] > 0 && captured[i] <= state.layer ? captured[i] : 0);
  const c = state.component, thick = Math.max(2, box.font / 7);
  const painted = (i) => quantity(i);
  painted.jumps = data.paints && state.view !== "target";
  if (state.view === "error") {
    for (const e of data.eps ? [-data.eps, data.eps] : []) line(() => e, ink("--soft"), 1);
    line(painted, ink("--accent"), thick);
  } else {
    line((i) => target[i * outputs + c], "#d55e00", state.view === "target" ? thick : 1.5);
    if (state.view === "network") line(painted, ink("--accent"), thick);
  }
  const names = { network: [["target", "#d55e00"], ["network", ink("--accent")]], target: [["target", "#d55e00"]],
    error: [["network - target", ink("--accent")], ...(data.eps ? [["± eps", ink("--soft")]] : [])] };
  context.textAlign = "left";
  context.textBaseline = "top";
  names[state.view].forEach(([name, style], k) => {
    context.fillStyle = style;
    context.fillText(name, box.left + 0.6 * box.font, box.top + (0.5 + 1.3 * k) * box.font);
  });
  if (state.at !== null) mark(toX(axes[0][state.at]), toY(quantity(state.at)), box.font);
}

function draw() {
  const box = frame();
  context.setTransform(box.ratio, 0, 0, box.ratio, 0, 0);
  context.clearRect(0, 0, box.width, box.height);
  if (state.done < count) return;
  scale = scale || range();
  (plane ? drawMap : drawCurve)(box);
}

let waiting = false;
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
}

// ---- words

const digits = (v) => (Number.isFinite(v) ? String(v) : "-");

function readout(i) {
  const { value, layer } = network.run(point(i), false); // the whole network, at this point
  const f = Array.from({ length: outputs }, (_, c) => target[i * outputs + c]);
  const difference = Array.from(value, (v, c) => v - f[c]);
  const error = outputs === 1 ? difference[0] : Math.hypot(...difference);
  return { x: point(i), target: f, network: Array.from(value), error, layer };
}

function tell() {
  element("painted").textContent = `cells painted: layers 1 to ${state.layer} of ${last}`;
  element("layer").value = state.layer;
  element("play").textContent = state.playing ? "Pause" : "Play";
  for (const button of document.querySelectorAll("[data-view]")) {
    button.setAttribute("aria-pressed", button.dataset.view === state.view);
  }
  for (const button of document.querySelectorAll("[data-component]")) {
    button.setAttribute("aria-pressed", Number(button.dataset.component) === state.component);
  }
  const body = element("readout").tBodies[0];
  body.replaceChildren();
  if (state.at === null || state.done < count) return;
  const row = (name, text) => {
    const cells = body.insertRow();
    cells.append(Object.assign(document.createElement("th"), { textContent: name }));
    cells.insertCell().textContent = text;
  };
  const unit = data.unit ? ` ${data.unit}` : "";
  row("x", point(state.at).map((v) => String(parseFloat(v.toPrecision(8)))).join(", "));
  if (Number.isNaN(target[state.at * outputs])) return row("", "outside the domain");
  const here = readout(state.at);
  row("target", here.target.map(digits).join(", ") + unit);
  row("network", here.network.map(digits).join(", ") + unit);
  row(outputs > 1 ? "error, length" : "error", digits(here.error) + unit);
  if (!data.paints) return;
  row("painted by", here.layer ? `layer ${here.layer}` : "no cell: the affine map outside");
  if (state.layer < last) row("so far", `${Array.from(here.network, (_, c) => digits(shownValue(state.at, c))).join(", ")}`);
}

// ---- what the user does

function change(update) {
  const before = { ...state };
  Object.assign(state, update);
  state.layer = Math.max(0, Math.min(last, state.layer));
  if (state.view !== before.view || state.component !== before.component) { shown = -1; scale = null; }
  tell();
  redraw();
}

function pointAt(event) {
  const { left, top, wide, tall } = frame(), place = canvas.getBoundingClientRect();
  const clamp = (t, n) => Math.max(0, Math.min(n - 1, Math.floor(t * n)));
  const column = clamp((event.clientX - place.left - left) / wide, columns);
  const row = plane ? clamp(1 - (event.clientY - place.top - top) / tall, rows) : 0;
  return row * columns + column;
}

function move(right, up) {
  const at = state.at === null ? Math.floor(rows / 2) * columns + Math.floor(columns / 2) : state.at;
  const column = Math.max(0, Math.min(columns - 1, (at % columns) + right));
  const row = Math.max(0, Math.min(rows - 1, Math.floor(at / columns) + up));
  change({ at: row * columns + column });
}

function play() {
  if (!state.playing) return change({ playing: true, layer: state.layer >= last ? 0 : state.layer }), requestAnimationFrame(tick);
  change({ playing: false });
}

function tick() {
  if (!state.playing) return;
  const layer = state.layer + Math.max(1, Math.round(last / 600)); // ten seconds at 60 frames per second
  change({ layer, playing: layer < last });
  if (state.playing) requestAnimationFrame(tick);
}

const KEYS = {
  ArrowRight: (s) => move(s, 0), ArrowLeft: (s) => move(-s, 0), ArrowUp: (s) => move(0, s), ArrowDown: (s) => move(0, -s),
  ".": () => change({ layer: state.layer + 1 }), ",": () => change({ layer: state.layer - 1 }),
  ">": () => change({ layer: state.layer + Math.ceil(last / 10) }),
  "<": () => change({ layer: state.layer - Math.ceil(last / 10) }),
  " ": play, n: () => change({ view: "network" }), t: () => change({ view: "target" }), e: () => change({ view: "error" }),
};

function begin() {
  element("title").textContent = data.name;
  element("facts").textContent = [data.note, data.network, data.eps ? `eps = ${data.eps}` : ""].filter(Boolean).join(" · ");
  for (const view of ["network", "target", "error"]) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: view[0].toUpperCase() + view.slice(1) });
    button.dataset.view = view;
    button.onclick = () => change({ view });
    element("views").append(button);
  }
  for (let c = 0; outputs > 1 && c < outputs; c++) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: `y${c + 1}` });
    button.dataset.component = c;
    button.onclick = () => change({ component: c });
    element("components").append(button);
  }
  element("layer").oninput = (event) => change({ layer: Number(event.target.value), playing: false });
  element("play").onclick = play;
  element("all").onclick = () => change({ layer: last, playing: false });
  for (const kind of ["pointermove", "pointerdown"]) {
    canvas.addEventListener(kind, (event) => { if (state.done === count) change({ at: pointAt(event) }); });
  }
  document.addEventListener("keydown", (event) => {
    const key = KEYS[event.key], typing = event.target.matches("input, button") && /^Arrow| /.test(event.key);
    if (!key || typing || event.ctrlKey || event.metaKey || event.altKey || state.done < count) return;
    event.preventDefault();
    key(event.shiftKey ? 10 : 1);
  });
  window.addEventListener("resize", redraw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  const work = () => (compute(30) ? change({}) : setTimeout(work));
  work();
}

begin();
