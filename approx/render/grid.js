"use strict";
// The points of the picture: the target's values there, the network's, and the layer that captures each.

const data = JSON.parse(document.getElementById("data").textContent);
const network = makeNetwork(data.plan, data.arrays);
const axes = data.axes.map((axis) => unpack(axis).data);
const target = unpack(data.target).data; // (points, m), NaN outside the domain
const outputs = network.dimOut, columns = axes[0].length, rows = axes.length > 1 ? axes[1].length : 1;
const count = columns * rows, plane = axes.length > 1;
const values = new Float64Array(count * outputs).fill(NaN); // the network at every point
const captured = new Int32Array(count); // the layer that captures it, 0 for none
let done = 0; // points computed so far
let order = null, start = null, last = 0; // points sorted by the layer that captures them: layer k from start[k]

function point(i) {
  const x = data.through.slice();
  x[0] = axes[0][i % columns];
  if (plane) x[1] = axes[1][Math.floor(i / columns)];
  return x;
}

function nearest(x) {
  const along = (k) => Math.max(0, Math.min(axes[k].length - 1, Math.round(place(x, k))));
  return (plane ? along(1) * columns : 0) + along(0);
}

function place(x, k) { // coordinate k in steps of the grid, a whole number at its points
  const t = ((x[k] - data.lower[k]) / (data.upper[k] - data.lower[k])) * axes[k].length - 0.5, whole = Math.round(t);
  return Math.abs(t - whole) < 1e-9 * axes[k].length ? whole : t;
}

function background(x, c) { // before any cell is painted
  const [matrix, offset] = data.affine;
  return matrix[c].reduce((sum, a, j) => sum + a * x[j], offset[c]);
}

// ---- computed once: every point runs through the layers until one captures it, every captured value once

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

function compute(milliseconds) { // goes on for so long; says whether all is done
  const stop = performance.now() + milliseconds;
  while (done < count && performance.now() < stop) {
    for (const end = Math.min(count, done + 64); done < end; done++) computePoint(done);
  }
  if (done < count) return false;
  const layers = new Int32Array(captured).sort();
  last = layers[layers.length - 1];
  start = new Int32Array(last + 2);
  for (const k of captured) start[k + 1]++;
  for (let k = 0; k <= last; k++) start[k + 1] += start[k];
  const next = start.slice();
  order = new Int32Array(count);
  for (let i = 0; i < count; i++) order[next[captured[i]]++] = i;
  return true;
}

// ---- values at a point of the grid, and anywhere

const painted = (layer, upTo) => !data.paints || upTo >= last || layer === 0 || layer <= upTo;

function shownValue(i, c, upTo) {
  const value = values[i * outputs + c];
  return Number.isNaN(value) || painted(captured[i], upTo) ? value : background(point(i), c);
}

function targetAt(x) { // linear between the points of the grid; NaN outside the domain
  const result = new Float64Array(outputs), near = nearest(x);
  const sides = axes.map((axis, k) => {
    const t = Math.max(0, Math.min(axis.length - 1, place(x, k))), low = Math.floor(t);
    return t === low ? [[low, 1]] : [[low, low + 1 - t], [low + 1, t - low]];
  });
  const exact = sides.every((side, k) => side.length === 1 && axes[k][side[0][0]] === x[k]);
  for (const [column, u] of sides[0]) {
    for (const [row, v] of plane ? sides[1] : [[0, 1]]) {
      let i = row * columns + column;
      if (Number.isNaN(target[i * outputs])) i = near;
      for (let c = 0; c < outputs; c++) result[c] += u * v * target[i * outputs + c];
    }
  }
  return { values: Array.from(result), exact };
}

function readout(x) { // through all layers, at exactly this point
  const { value, layer } = network.run(x, false), f = targetAt(x);
  const difference = Array.from(value, (v, c) => v - f.values[c]);
  const error = outputs === 1 ? difference[0] : Math.hypot(...difference);
  return { x, target: f.values, exact: f.exact, network: Array.from(value), error, layer };
}
