// Optimizers racing down a surface from a point that one drags or clicks; rates and momentum under the thumb.
import { hand, words } from "./common.js";

const [COS, SIN] = [Math.cos(Math.PI / 6), Math.sin(Math.PI / 6)];
const bowl = (c, s) => ({
  height: (x, y) => ((c * x + s * y) ** 2 + 100 * (c * y - s * x) ** 2) / 2,
  slope: (x, y) => { const u = c * x + s * y, v = 100 * (c * y - s * x); return [c * u - s * v, s * u + c * v]; },
  start: [-1.5 * c - s, c - 1.5 * s], limits: [[-2, 2], [-1.5, 1.5]], minima: [[0, 0]],
});
/** The surfaces of labkit.figures.lab03: height, slope, start, what is drawn, minima. */
export const SURFACES = {
  valley: bowl(1, 0),
  "tilted valley": bowl(COS, SIN),
  Rosenbrock: {
    height: (x, y) => (1 - x) ** 2 + 100 * (y - x * x) ** 2,
    slope: (x, y) => [2 * (x - 1) - 400 * x * (y - x * x), 200 * (y - x * x)],
    start: [-1.2, 1], limits: [[-1.8, 1.8], [-0.7, 2]], minima: [[1, 1]],
  },
  saddle: {
    height: (x, y) => x * x / 2 - y * y / 2 + y ** 4 / 4,
    slope: (x, y) => [x, y ** 3 - y],
    start: [1, 1e-3], limits: [[-1.3, 1.3], [-1.5, 1.5]], minima: [[0, -1], [0, 1]],
  },
  Himmelblau: {
    height: (x, y) => (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2,
    slope: (x, y) => [4 * x * (x * x + y - 11) + 2 * (x + y * y - 7), 2 * (x * x + y - 11) + 4 * y * (x + y * y - 7)],
    start: [0, 0], limits: [[-5, 5], [-5, 5]],
    minima: [[3, 2], [-2.805118, 3.131313], [-3.77931, -3.283186], [3.584428, -1.848127]],
  },
};

const [BETA2, EPS, DECAY] = [0.999, 1e-8, 0.9];
/** name -> (gradient, state, rate, momentum) -> step of one number, to be subtracted. As labkit.optimizers has them. */
const RULES = {
  "gradient descent": (g, s, rate) => rate * g,
  momentum: (g, s, rate, momentum) => rate * (s.v = momentum * (s.v ?? 0) + g),
  RMSProp: (g, s, rate) => { s.q = DECAY * (s.q ?? 0) + (1 - DECAY) * g * g; return rate * g / (Math.sqrt(s.q) + EPS); },
  Adam: (g, s, rate, beta) => {
    const mean = means(g, s, beta) / (1 - beta ** s.t);
    return rate * mean / (Math.sqrt(s.q / (1 - BETA2 ** s.t)) + EPS);
  },
  RAdam: (g, s, rate, beta) => {
    const mean = means(g, s, beta) / (1 - beta ** s.t), longest = 2 / (1 - BETA2) - 1;
    const length = longest - 2 * s.t * BETA2 ** s.t / (1 - BETA2 ** s.t);
    if (length <= 5) return rate * mean;
    const r = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length);
    return rate * mean * Math.sqrt(r * (1 - BETA2 ** s.t)) / (Math.sqrt(s.q) + EPS);
  },
};
function means(g, s, beta) {
  s.t = (s.t ?? 0) + 1;
  s.q = BETA2 * (s.q ?? 0) + (1 - BETA2) * g * g;
  return s.m = beta * (s.m ?? 0) + (1 - beta) * g;
}

/** The path [[x, y], ...] of an optimizer from start on; it ends where the height is not below 1e6 any more. */
export function descend(surface, optimizer, rate, momentum, steps, start) {
  const { height, slope } = SURFACES[surface], states = [{}, {}], path = [];
  for (let at = start, k = 0; k <= steps && height(...at) < 1e6; k++) {
    path.push(at);
    const gradient = slope(...at);
    at = at.map((value, i) => value - RULES[optimizer](gradient[i], states[i], rate, momentum));
  }
  return path;
}

const LOOKS = { "gradient descent": ["blue", []], momentum: ["red", [7, 4]], RMSProp: ["green", [2, 3]],
  Adam: ["purple", [9, 3, 2, 3]], RAdam: ["brown", [4, 2]] };
const MOST = 200;

function render({ model, el }) {
  const h = hand({ model, el }, { label: "Optimizers racing down a surface", width: 760, height: 370 });
  const left = h.plane({ left: 56, width: 400, height: 310, xlabel: "parameter x", ylabel: "parameter y" });
  const right = h.plane({ left: 525, width: 215, height: 310, x: [0, MOST], y: [-6, 4], xlabel: "step",
    ylabel: "log₁₀ of height above the minimum" });
  const surface = () => SURFACES[h.get("surface")];
  const fit = () => { [left.x, left.y] = surface().limits; };
  fit();
  h.point("start", left, () => h.get("start"), (at) => h.set("start", at), { step: 0.05, digits: 3 });
  h.clicks(left, (at) => h.set("start", at));
  h.choice("surface", "surface", Object.keys(SURFACES)).addEventListener("change", () => h.set("start", surface().start));
  h.slider("momentum", "momentum, β₁", 0, 0.99, 0.01);
  h.slider("steps", "steps", 1, MOST, 1, { digits: 0 });
  h.play("Let them run", () => {
    h.set("steps", h.get("steps") >= MOST ? 1 : h.get("steps") + 1);
    return h.get("steps") < MOST;
  });
  Object.entries(LOOKS).forEach(([name, [color]]) => h.together(() => {
    h.check(`shown.${name}`, name, color);
    h.slider(`rates.${name}`, "rate", -4, 0.5, 0.05, { digits: 4, log: true }).setAttribute("aria-label", `rate of ${name}`);
  }));
  h.watch("surface", "start", "shown", "rates", "momentum", "steps");
  h.draw = () => {
    fit();
    const { height, minima } = surface(), lowest = Math.min(...minima.map((at) => height(...at)));
    const corners = left.x.flatMap((x) => left.y.map((y) => height(x, y) - lowest)), most = Math.max(...corners);
    left.heat(160, 120, (x, y) => 0.5 * Math.ceil(14 * ((height(x, y) - lowest) / most) ** 0.25) / 14, h.colors.soft, { of: [h.get("surface")] });
    const said = [];
    for (const [name, [color, dash]] of Object.entries(LOOKS)) {
      if (!h.get("shown")[name]) continue;
      const path = descend(h.get("surface"), name, h.get("rates")[name], h.get("momentum"), h.get("steps"), h.get("start"));
      const above = path.map((at) => Math.max(height(...at) - lowest, 1e-12));
      left.line(path, h.colors[color], { dash });
      left.clipped(() => path.forEach((at) => left.dot(...at, h.colors[color], { size: 2.5, edge: h.colors[color] })));
      if (path.length) left.clipped(() => left.dot(...path.at(-1), h.colors[color], { shape: "square", size: 6 }));
      right.line(above.map((value, k) => [k, Math.log10(value)]), h.colors[color], { dash });
      const last = path.length > h.get("steps") ? `${above.at(-1).toPrecision(2)} above the minimum` : `diverged in step ${path.length}`;
      said.push(`${name}: ${last}`);
    }
    minima.forEach((at) => left.dot(...at, h.colors.orange, { shape: "diamond", size: 8, edge: h.colors.ink }));
    left.dot(...h.get("start"), h.colors.paper, { size: 6, edge: h.colors.ink });
    left.axes();
    right.axes();
    h.say(`After ${words(h.get("steps"), 0)} steps: ${said.join("; ") || "nobody runs"}.`);
  };
}
export default { render };
