// A signal through a deep net: sizes and histograms layer by layer, and the gradient back, under gain, activation and depth.
import { clamp, hand, words } from "./common.js";

const [UNITS, INPUTS, DEEPEST, BARS] = [96, 4, 100, 41];
/** name -> [function, its slope from what it gave, half the width of its histogram]. As in labkit.figures.lab02. */
const ACTIVATIONS = {
  linear: [(z) => z, () => 1, 3],
  tanh: [Math.tanh, (y) => 1 - y * y, 1],
  relu: [(z) => Math.max(z, 0), (y) => (y > 0 ? 1 : 0), 3],
  "leaky relu (0.2)": [(z) => (z > 0 ? z : 0.2 * z), (y) => (y > 0 ? 1 : 0.2), 3],
};

/** `count` numbers of mean 0 and variance 1, evenly spread: MurmurHash3's last mixing of first, first + 1, ... */
export function drawn(first, count) {
  return Array.from({ length: count }, (_, k) => {
    let h = (first + k) | 0;
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return Math.sqrt(12) * (((h ^ (h >>> 16)) >>> 0) + 0.5) / 4294967296 - Math.sqrt(3);
  });
}
const rms = (values) => Math.sqrt(values.reduce((sum, one) => sum + one * one, 0) / values.length);
const ONE = UNITS * INPUTS;
let net = { seed: null };
/** The net of a seed. Inputs and gradients are [unit][input] in one row, of size 1; weights [layer][unit][unit below], turned: W transposed. */
function netOf(seed) {
  if (net.seed === seed) return net;
  const first = seed * 2 ** 20, place = (k) => (k % INPUTS) * UNITS + Math.floor(k / INPUTS);
  const [inputs, gradients] = [0, ONE].map((from) => {
    const numbers = drawn(first + from, ONE), size = rms(numbers);
    return Float64Array.from(numbers, (_, k) => numbers[place(k)] / size);
  });
  const weights = Float64Array.from(drawn(first + 2 * ONE, DEEPEST * UNITS ** 2), (one) => one / Math.sqrt(UNITS));
  const turned = weights.map((_, k) => weights[k - k % UNITS ** 2 + (k % UNITS) * UNITS + Math.floor(k % UNITS ** 2 / UNITS)]);
  return net = { seed, inputs, gradients, weights, turned };
}
/** One layer of the four inputs at once: gain · W x. */
function through(weights, layer, x, gain) {
  const y = new Float64Array(ONE);
  for (let i = 0; i < UNITS; i++) {
    let a = 0, b = 0, c = 0, d = 0;
    for (let k = 0, at = (layer * UNITS + i) * UNITS; k < ONE; k += INPUTS, at++) {
      const w = weights[at];
      a += w * x[k]; b += w * x[k + 1]; c += w * x[k + 2]; d += w * x[k + 3];
    }
    y[4 * i] = gain * a; y[4 * i + 1] = gain * b; y[4 * i + 2] = gain * c; y[4 * i + 3] = gain * d;
  }
  return y;
}
/** Root mean squares of layers 0 (the inputs) to depth and of the gradients to them, and the outputs. labkit: lab02.send. */
export function send(depth, gain, activation, seed) {
  const { inputs, gradients, weights, turned } = netOf(seed), [act, slope] = ACTIVATIONS[activation], outputs = [inputs];
  for (let layer = 0; layer < depth; layer++) outputs.push(through(weights, layer, outputs[layer], gain).map(act));
  const backward = [rms(gradients)];
  for (let layer = depth, g = gradients; layer > 0; layer--) {
    g = through(turned, layer - 1, g.map((one, k) => one * slope(outputs[layer][k])), gain);
    backward.unshift(rms(g));
  }
  return { forward: outputs.map(rms), backward, outputs };
}
/** How many values fall into each of so many equal parts of [-reach, reach]; those beyond count at the ends. */
export function histogram(values, reach, bars) {
  const counts = new Array(bars).fill(0), edge = (k) => (k === bars ? reach : k * (2 * reach / bars) - reach);
  for (const value of values) {
    let k = clamp(Math.floor((value + reach) / (2 * reach) * bars), 0, bars - 1);
    if (k > 0 && value < edge(k)) k -= 1; else if (k < bars - 1 && value >= edge(k + 1)) k += 1;
    counts[k] += 1;
  }
  return counts;
}
/** Mean cosine of the outputs of different inputs. */
export function alike(outputs) {
  const rows = Array.from({ length: INPUTS }, (_, i) => outputs.filter((_, k) => k % INPUTS === i));
  const directions = rows.map((row) => row.map((one) => one / Math.max(Math.sqrt(row.length) * rms(row), 1e-300)));
  let sum = 0;
  directions.forEach((u, i) => directions.slice(0, i).forEach((v) => { sum += u.reduce((all, one, k) => all + one * v[k], 0); }));
  return sum / (INPUTS * (INPUTS - 1) / 2);
}

const deviation = (values) => Math.sqrt(Math.max(rms(values) ** 2 - (values.reduce((sum, one) => sum + one) / values.length) ** 2, 0));
const power = (x) => (x >= 0.01 && x < 1000 ? String(+x.toPrecision(2)) : x.toExponential(1).replace("-", "\u2212").replace("+", ""));
const LAYOUTS = [ // width and height; then left, top, width and height of sizes, histograms over layers, histogram, outputs
  [760, 400, [62, 20, 400, 200], [62, 250, 400, 104], [540, 20, 210, 160], [540, 250, 210, 104]],
  [400, 620, [58, 20, 328, 160], [58, 208, 328, 80], [58, 356, 328, 84], [58, 496, 328, 84]],
];

function render({ model, el }) {
  const h = hand({ model, el }, { label: "A signal through a deep net", width: 760, height: 400 });
  const over = { x: [-0.5, DEEPEST + 0.5] };
  const sizes = h.plane({ ...over, y: [-8, 8], ylabel: "log₁₀ of the size", title: "size (root mean square) over the layers" });
  const spread = h.plane({ ...over, xlabel: "layer (0: the inputs)", ylabel: "output" });
  const bars = h.plane({ xlabel: "output of a unit", ylabel: "units (%)" });
  const rows = h.plane({ x: [0.5, UNITS + 0.5], y: [0.5, INPUTS + 0.5], xlabel: "unit" });
  const values = () => ["depth", "gain", "activation", "seed"].map(h.get);
  const layer = () => Math.min(h.get("layer"), h.get("depth"));
  let known = "", sent = null;
  const result = () => {
    if (known === String(values())) return sent;
    [known, sent] = [String(values()), send(...values())];
    const reach = ACTIVATIONS[h.get("activation")][2];
    const counts = sent.outputs.map((one) => histogram(one, reach, BARS));
    return Object.assign(sent, { reach, counts, highest: counts.map((one) => Math.max(...one)) });
  };
  const level = (size) => clamp(Math.log10(Math.max(size, 1e-99)), -8, 8);
  h.point("layer to look at", sizes, () => [layer(), level(result().forward[layer()])], ([x]) => h.set("layer", Math.min(Math.round(x), h.get("depth"))),
    { step: 1, said: () => `layer ${layer()} of ${h.get("depth")}, size ${power(result().forward[layer()])}` });
  h.point("end of the net", sizes, () => [h.get("depth"), -7.3], ([x]) => h.set("depth", clamp(Math.round(x), 1, DEEPEST)),
    { step: 1, said: () => `${h.get("depth")} layers` });
  h.choice("activation", "activation", Object.keys(ACTIVATIONS));
  h.slider("gain", "gain", 0.5, 2.5, 0.01);
  h.slider("depth", "depth", 1, DEEPEST, 1, { digits: 0, unit: "layers" });
  h.play("Send a signal", () => { h.set("layer", layer() < h.get("depth") ? layer() + 1 : 0); return layer() < h.get("depth"); });
  h.button("Other weights", () => h.set("seed", (h.get("seed") + 1) % 1000));
  h.watch("activation", "gain", "depth", "layer", "seed");
  h.draw = () => {
    const [width, height, ...boxes] = LAYOUTS[h.stage.getBoundingClientRect().width < 560 ? 1 : 0], depth = h.get("depth"), at = layer();
    if (h.width !== width) h.resize(width, height);
    [sizes, spread, bars, rows].forEach((plane, k) => ["left", "top", "width", "height"].forEach((key, i) => { plane[key] = boxes[k][i]; }));
    const { forward, backward, outputs, counts, highest, reach } = result(), own = counts[at], c = h.context;
    const curve = (all) => all.map((size, k) => [k, level(size)]);
    sizes.line([[0, 0], [DEEPEST, 0]], h.colors.soft, { width: 1 });
    sizes.line(curve(backward), h.colors.red, { dash: [7, 4], width: 2.5 });
    sizes.line(curve(forward), h.colors.blue, { width: 3 });
    spread.y = [-reach, reach];
    const part = (k, y) => (counts[k] ? counts[k][clamp(Math.floor((y + reach) / (2 * reach) * BARS), 0, BARS - 1)] / highest[k] : 0);
    spread.heat(DEEPEST + 1, BARS, (x, y) => part(Math.round(x), y), h.colors.blue, { smooth: false });
    for (const plane of [sizes, spread]) {
      plane.line([[depth, plane.y[0]], [depth, plane.y[1]]], h.colors.ink, { width: 1.5, dash: [2, 3] });
      plane.line([[at, plane.y[0]], [at, plane.y[1]]], h.colors.orange, { width: 2 });
    }
    sizes.dot(at, level(forward[at]), h.colors.orange, { size: 8, edge: h.colors.ink });
    sizes.dot(depth, -7.3, h.colors.ink, { size: 7, shape: "triangle" });
    sizes.text(2, 7, "signal, forward", h.colors.blue, { align: "left", bold: true });
    sizes.text(2, 5.5, "gradient, backward (dashed)", h.colors.red, { align: "left", bold: true });
    Object.assign(bars, { x: [-reach, reach], y: [0, 105 * highest[at] / ONE], title: `layer ${at}: std ${power(deviation(outputs[at]))}` });
    Object.assign(c, { fillStyle: h.colors.blue });
    own.forEach((count, k) => {
      const [left, top] = [bars.px((2 * k / BARS - 1) * reach), bars.py(100 * count / ONE)];
      c.fillRect(left, top, bars.width / BARS - 0.5, bars.top + bars.height - top);
    });
    const largest = Math.max(...outputs[at].map(Math.abs), 1e-300);
    const output = (x, y) => outputs[at][(Math.round(x) - 1) * INPUTS + INPUTS - Math.round(y)] / largest;
    rows.heat(UNITS, INPUTS, (x, y) => output(x, y), h.colors.blue, { smooth: false });
    rows.heat(UNITS, INPUTS, (x, y) => -output(x, y), h.colors.red, { smooth: false });
    rows.title = `${INPUTS} inputs, mean cosine ${words(alike(outputs[at]))}`;
    [sizes, spread, bars, rows].forEach((plane) => plane.axes(4));
    h.say(`${h.get("activation")}, gain ${words(h.get("gain"))}: after ${depth} layers the signal is × ${power(forward[depth])}, back at the inputs the gradient is × ${power(backward[0])}. Layer ${at}: size ${power(forward[at])}, std ${power(deviation(outputs[at]))}, mean cosine of the ${INPUTS} inputs ${words(alike(outputs[at]))}.`);
  };
}
export default { render };
