"use strict";
// Words beside the picture, and what the user does.

// ---- words

const digits = (v, exact = true) => (Number.isFinite(v) ? (exact ? String(v) : `≈ ${parseFloat(v.toPrecision(4))}`) : "-");

function tell() {
  element("painted").textContent = `cells painted: ${state.layer ? `layers 1 to ${state.layer}` : "none"} of ${last}`;
  element("layer").value = state.layer;
  element("play").textContent = state.playing ? "Pause" : "Play";
  for (const name of ["view", "component"]) {
    for (const button of document.querySelectorAll(`[data-${name}]`)) {
      button.setAttribute("aria-pressed", button.dataset[name] === String(state[name]));
    }
  }
}

function tellMark() {
  const body = element("readout").tBodies[0], rows = [], unit = data.unit ? ` ${data.unit}` : "";
  if (here !== null) {
    const { x, target, exact, network, error, layer } = here;
    rows.push(["x", x.map((v) => String(parseFloat(v.toPrecision(12)))).join(", ")]);
    if (Number.isNaN(target[0])) rows.push(["", "outside the domain"]);
    else {
      rows.push(["target", target.map((v) => digits(v, exact)).join(", ") + unit]);
      rows.push(["network", network.map((v) => digits(v)).join(", ") + unit]);
      rows.push([outputs > 1 ? "error, length" : "error", digits(error, exact) + unit]);
      if (data.paints) rows.push(["painted by", layer ? `layer ${layer}` : "no cell: the affine map outside"]);
      if (!painted(layer, state.layer)) {
        rows.push(["so far", network.map((_, c) => digits(background(x, c))).join(", ") + unit]);
      }
    }
  }
  body.replaceChildren(...rows.map(([name, text]) => {
    const row = document.createElement("tr");
    row.append(Object.assign(document.createElement("th"), { textContent: name }));
    row.insertCell().textContent = text;
    return row;
  }));
}

// ---- what the user does

function change(update) {
  const before = { ...state };
  Object.assign(state, update);
  state.layer = Math.max(0, Math.min(last, state.layer));
  const changed = (...names) => names.some((name) => state[name] !== before[name]);
  if (changed("at")) here = state.at === null ? null : readout(state.at);
  if (changed("at") || (here !== null && changed("layer"))) tellMark();
  tell();
  if (changed("view", "component")) redraw("base");
  else redraw(changed("at") || (changed("layer") && !plane) ? "marks" : null);
}

function pointAt(event) { // in decimals much finer than a pixel, so that the point read is the point evaluated
  const frame = picture.getBoundingClientRect(), x = data.through.slice();
  const along = (k, t) => {
    const low = data.lower[k], high = data.upper[k], finest = Math.log10((high - low) / axes[k].length) - 1;
    const exact = low + Math.max(0, Math.min(1, t)) * (high - low);
    return Math.max(low, Math.min(high, Number(exact.toFixed(Math.max(0, Math.min(100, -Math.floor(finest)))))));
  };
  x[0] = along(0, (event.clientX - frame.left - box.left) / box.wide);
  if (plane) x[1] = along(1, 1 - (event.clientY - frame.top - box.top) / box.tall);
  return x;
}

function move(right, up) {
  const at = state.at === null ? Math.floor(rows / 2) * columns + Math.floor(columns / 2) : nearest(state.at);
  const column = Math.max(0, Math.min(columns - 1, (at % columns) + right));
  const row = Math.max(0, Math.min(rows - 1, Math.floor(at / columns) + up));
  change({ at: point(row * columns + column) });
}

function play() {
  if (state.playing) return change({ playing: false });
  change({ playing: true, layer: state.layer >= last ? 0 : state.layer });
  requestAnimationFrame(tick);
}

function tick() {
  if (!state.playing) return;
  const layer = state.layer + Math.max(1, Math.round(last / 600)); // ten seconds at 60 frames per second
  change({ layer, playing: layer < last });
  if (state.playing) requestAnimationFrame(tick);
}

const step = (by) => change({ layer: state.layer + by, playing: false });
const KEYS = {
  ArrowRight: (s) => move(s, 0), ArrowLeft: (s) => move(-s, 0), ArrowUp: (s) => move(0, s), ArrowDown: (s) => move(0, -s),
  ".": () => step(1), ",": () => step(-1), ">": () => step(Math.ceil(last / 10)), "<": () => step(-Math.ceil(last / 10)),
  " ": play, n: () => change({ view: "network" }), t: () => change({ view: "target" }), e: () => change({ view: "error" }),
};

// ---- the start

function addButton(group, text, name, value) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
  button.dataset[name] = value;
  button.onclick = () => change({ [name]: value });
  element(group).append(button);
}

function ready() {
  const grid = plane ? `${columns} x ${rows} points` : `${columns} points`;
  element("accuracy").textContent = "The network is evaluated here in float64 from its stored weights. The target is " +
    `stored exactly at ${grid}, those that the arrow keys visit; ≈ marks what is interpolated between them.`;
  element("layer").max = last;
  element("painting").hidden = !data.paints || last === 0;
  for (const kind of ["pointermove", "pointerdown"]) {
    picture.addEventListener(kind, (event) => change({ at: pointAt(event) }));
  }
  document.addEventListener("keydown", (event) => {
    const key = KEYS[event.key], sliding = event.target.matches("input") && event.key.startsWith("Arrow");
    const pressing = event.target.matches("button") && event.key === " ";
    if (!key || sliding || pressing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    key(event.shiftKey ? 10 : 1);
  });
  new ResizeObserver(() => { if (box && picture.clientWidth !== box.width) redraw("base"); }).observe(picture);
  window.addEventListener("resize", () => redraw("base"));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw("base"));
  change({ layer: last });
}

function begin() {
  element("title").textContent = data.name;
  element("facts").textContent = [data.note, data.network, data.eps ? `eps = ${data.eps}` : ""].filter(Boolean).join(" · ");
  for (const view of ["network", "target", "error"]) addButton("views", view[0].toUpperCase() + view.slice(1), "view", view);
  for (let c = 0; outputs > 1 && c < outputs; c++) addButton("components", `y${c + 1}`, "component", c);
  element("layer").oninput = (event) => change({ layer: Number(event.target.value), playing: false });
  element("play").onclick = play;
  element("all").onclick = () => change({ layer: last, playing: false });
  const work = () => {
    if (compute(30)) return ready();
    element("accuracy").textContent = `evaluating the network: ${Math.floor((100 * done) / count)} %`;
    setTimeout(work);
  };
  work();
}

begin();
