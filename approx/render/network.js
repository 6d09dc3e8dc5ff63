"use strict";
// The forward pass in float64: the steps of approx.export (dense, stack, growing, rescale), one point at a time.

function unpack(packed) {
  const text = atob(packed.data), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return { shape: packed.shape, data: new Float64Array(bytes.buffer) };
}

function makeNetwork(plan, arrays) {
  const steps = plan.steps.map((step, i) => {
    const get = (name) => (`step${i}.${name}` in arrays ? unpack(arrays[`step${i}.${name}`]) : null);
    return { ...step, weight: get("weight"), bias: get("bias"), readout: get("readout"), offset: get("offset") };
  });

  // x -> value, and the first layer (from 1) in which Step-ReLU sends the point to zero, 0 if none does: the layer that
  // captures it. With `stop` the value is left out once that layer is known.
  function run(point, stop) {
    const seen = { layer: 0, captured: 0 };
    let x = Float64Array.from(point);
    for (const step of steps) {
      if (step.kind === "growing") x = growing(step, x, seen, stop);
      else x = layers(step, x, seen, stop);
      if (stop && seen.captured) return { value: null, layer: seen.captured };
    }
    return { value: x, layer: seen.captured };
  }
  return { dimIn: plan.dim_in, dimOut: plan.dim_out, run };
}

function layers({ kind, activation, weight, bias }, x, seen, stop) {
  const count = kind === "stack" ? weight.shape[0] : 1;
  const [out, into] = weight ? weight.shape.slice(-2) : [x.length, x.length];
  let y = weight ? new Float64Array(out) : x;
  for (let k = 0; k < count; k++) {
    if (weight) affine(weight.data, k * out * into, bias.data, k * out, x, y);
    if (activation) capture(seen, rescale(y, activation));
    if (stop && seen.captured) break;
    if (k + 1 < count) [x, y] = [y, x];
  }
  return y;
}

function capture(seen, zeroed) {
  seen.layer++;
  if (zeroed && !seen.captured) seen.captured = seen.layer;
}

function affine(weight, w, bias, b, x, y) {
  const out = y.length, into = x.length;
  for (let i = 0; i < out; i++) {
    let sum = bias[b + i];
    for (let j = 0; j < into; j++) sum += weight[w + i * into + j] * x[j];
    y[i] = sum;
  }
}

// v -> h(|v|) v / |v| in place; says whether Step-ReLU sent v to zero.
function rescale(v, activation) {
  const d = v.length;
  let square = 0;
  if (activation.name === "step_relu") {
    for (let i = 0; i < d; i++) square += v[i] * v[i];
    if (square < 1) v.fill(0);
    return square < 1;
  }
  let top = 0;
  for (const e of v) top = Math.max(top, Math.abs(e));
  if (top === 0) return false;
  const scale = top < 1e-150 || top > 1e150 ? top : 1;
  for (const e of v) square += (e / scale) * (e / scale);
  const length = Math.sqrt(square), h = profile(scale * length, activation);
  for (let i = 0; i < d; i++) v[i] = h * (v[i] / scale / length);
  return false;
}

function profile(r, activation) {
  const t = r - (activation.shift || 0);
  const sigmoid = (s) => (s >= 0 ? 1 : Math.exp(s)) / (1 + Math.exp(-Math.abs(s)));
  switch (activation.name) {
    case "step_relu": return r < 1 ? 0 : r;
    case "radial_identity": return r;
    case "squashing": return r < 1 ? (r * r) / (1 + r * r) : 1 / (1 + 1 / (r * r));
    case "rational_squash": return r / (1 + r);
    case "radial_sigmoid": return sigmoid(r);
    case "radial_swish": return r * sigmoid(r);
    case "shifted_relu": return Math.max(t, 0);
    case "shifted_sigmoid": return sigmoid(t);
    case "radial_softplus": return Math.max(t, 0) + Math.log1p(Math.exp(-Math.abs(t)));
  }
  throw new Error(`unknown activation ${activation.name}`);
}

// N layers that add one coordinate each, then an affine map: of the coordinates carried along only the sum of their
// squares and their share of the readout are kept.
function growing({ activation, weight, bias, readout, offset }, x, seen, stop) {
  const [layers, grown, head] = weight.shape, outputs = offset.shape[0], width = readout.shape[1];
  const column = (j, o) => readout.data[o * width + j];
  const total = new Float64Array(outputs);
  let carried = 0;
  for (let j = head; j < x.length; j++) {
    carried += x[j] * x[j];
    for (let o = 0; o < outputs; o++) total[o] += column(layers + j, o) * x[j];
  }
  x = x.slice(0, head);
  const y = new Float64Array(grown);
  for (let k = 0; k < layers; k++) {
    affine(weight.data, k * grown * head, bias.data, k * grown, x, y);
    let square = carried;
    for (const e of y) square += e * e;
    const r = Math.sqrt(square);
    let factor = 1;
    if (activation && activation.name === "step_relu") factor = square < 1 ? 0 : 1;
    else if (activation) factor = r > 0 ? profile(r, activation) / r : 0;
    for (let i = 0; i < grown; i++) y[i] = factor === 0 ? 0 : factor * y[i];
    const newest = y[head];
    carried = (factor === 0 ? 0 : factor * factor * carried) + newest * newest;
    for (let o = 0; o < outputs; o++) {
      total[o] = (factor === 0 ? 0 : factor * total[o]) + column(layers + head - 1 - k, o) * newest;
    }
    if (activation) capture(seen, factor === 0);
    if (stop && seen.captured) return null;
    for (let j = 0; j < head; j++) x[j] = y[j];
  }
  const result = new Float64Array(outputs);
  for (let o = 0; o < outputs; o++) {
    result[o] = total[o] + offset.data[o];
    for (let j = 0; j < head; j++) result[o] += column(j, o) * x[j];
  }
  return result;
}
