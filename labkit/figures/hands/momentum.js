// Momentum's plane of rate and friction: how fast a bowl with two curvatures is solved, and the path across it.
import { clamp, hand, words } from "./common.js";

/** By what a step shrinks the distance at last, for x = rate·curvature: as labkit.figures.lab03.contraction. */
export function contraction(x, momentum) {
  const half = (1 + momentum - x) / 2, inside = half * half - momentum;
  return inside < 0 ? Math.sqrt(momentum) : Math.abs(half) + Math.sqrt(inside);
}

/** How momentum behaves there: "diverges", "swings" across the minimum, or is "monotone". */
export function behavior(x, momentum) {
  if (contraction(x, momentum) >= 1) return "diverges";
  return x <= (1 - Math.sqrt(momentum)) ** 2 ? "monotone" : "swings";
}

/** [rate, momentum] that are best for the curvatures 1 and kappa (Polyak 1964): as labkit.figures.lab03.polyak. */
export function polyak(kappa) {
  const root = Math.sqrt(kappa);
  return [4 / (root + 1) ** 2, ((root - 1) / (root + 1)) ** 2];
}

/** The path [[x, y], ...] down ½(x² + kappa·y²): as labkit.optimizers.SGD goes. */
export function roll(rate, momentum, kappa, steps, start = [-1.5, 1]) {
  const path = [start];
  let velocity = [0, 0];
  for (let k = 0; k < steps; k++) {
    const [x, y] = path[k];
    velocity = [momentum * velocity[0] + x, momentum * velocity[1] + kappa * y];
    path.push([x - rate * velocity[0], y - rate * velocity[1]]);
  }
  return path;
}

const [LOW, HIGH, MOST] = [-3.5, 0.7, 200]; // of log₁₀(rate·curvature); steps

function render({ model, el }) {
  const h = hand({ model, el }, { label: "Momentum's plane of rate and friction", width: 760, height: 400 });
  const plane = h.plane({ left: 56, width: 340, height: 330, x: [LOW, HIGH], y: [0, 1],
    xlabel: "log₁₀ of rate η times curvature λ", ylabel: "momentum α" });
  const bowl = h.plane({ left: 462, top: 12, width: 274, height: 150, x: [-2, 2], y: [-1.5, 1.5] });
  const fall = h.plane({ left: 462, top: 200, width: 274, height: 144, x: [0, MOST], y: [-6, 2], xlabel: "step",
    ylabel: "log₁₀ of distance" });
  const put = (exponent, momentum) => { h.set("rate", 10 ** exponent); h.set("momentum", clamp(momentum, 0, 0.999)); };
  const wide = () => Math.log10(h.get("kappa"));
  const said = (curvature) => () => {
    const x = h.get("rate") * curvature();
    return `η times λ ${x.toPrecision(2)}, momentum ${words(h.get("momentum"))}: ${behavior(x, h.get("momentum"))}`;
  };
  const ends = { "flat direction, λ = 1": () => 1, "steep direction, λ = κ": () => h.get("kappa") };
  for (const [name, curvature] of Object.entries(ends)) {
    h.point(name, plane, () => [Math.log10(h.get("rate") * curvature()), h.get("momentum")],
      ([x, y]) => put(clamp(x - Math.log10(curvature()), LOW, HIGH - wide()), y), { step: 0.05, said: said(curvature) });
  }
  h.slider("kappa", "condition number κ", 0, 3, 0.05, { digits: 0, log: true });
  h.slider("rate", "rate η", -3.5, 0.7, 0.01, { digits: 4, log: true });
  h.slider("momentum", "momentum α", 0, 0.999, 0.001, { digits: 3 });
  h.slider("steps", "steps", 0, MOST, 1, { digits: 0 });
  h.button("Best for this κ", () => { const [rate, momentum] = polyak(h.get("kappa")); put(Math.log10(rate), momentum); });
  h.button("Best without momentum", () => put(Math.log10(2 / (h.get("kappa") + 1)), 0));
  h.play("Let it run", () => {
    h.set("steps", h.get("steps") >= MOST ? 0 : h.get("steps") + 1);
    return h.get("steps") < MOST;
  });
  h.watch("rate", "momentum", "kappa", "steps");
  h.draw = () => {
    const [rate, momentum, kappa] = ["rate", "momentum", "kappa"].map(h.get), { colors } = h;
    const edge = (at) => Array.from({ length: 201 }, (_, k) => k / 200).map((a) => [Math.log10(at(a)), a]);
    // The greener, the less of the distance a step leaves.
    plane.heat(170, 165, (x, y) => { const c = contraction(10 ** x, y); return c >= 1 ? 0 : 0.65 * (1 - c) ** 0.45; }, colors.green, { of: [] });
    plane.line(edge((a) => 2 * (1 + a)), colors.red, { width: 3 });
    plane.line(edge((a) => Math.max((1 - Math.sqrt(a)) ** 2, 1e-9)), colors.blue);
    plane.line(edge((a) => (1 + Math.sqrt(a)) ** 2), colors.soft, { width: 1.5, dash: [6, 4] });
    plane.text(-2.6, 0.2, "monotone", colors.blue, { bold: true });
    plane.text(-0.62, 0.82, "swings", colors.ink, { bold: true });
    plane.text(HIGH, 0.06, "diverges", colors.red, { bold: true, align: "right", dx: -2 });
    const [best, alpha] = polyak(kappa);
    for (const x of [best, best * kappa]) plane.dot(Math.log10(x), alpha, colors.orange, { shape: "diamond", size: 8, edge: colors.ink });
    const [flat, steep] = [Math.log10(rate), Math.log10(rate * kappa)];
    plane.line([[flat, momentum], [steep, momentum]], colors.ink, { width: 1.5 });
    plane.dot(flat, momentum, colors.ink, { size: 8 });
    plane.dot(steep, momentum, colors.ink, { shape: "square", size: 7 });
    plane.axes();
    const path = roll(rate, momentum, kappa, h.get("steps")), away = path.map((at) => Math.hypot(...at));
    bowl.heat(120, 70, (x, y) => 0.5 * Math.ceil(12 * ((x * x + kappa * y * y) / (4 + 2.25 * kappa)) ** 0.25) / 12, colors.soft, { of: [kappa] });
    bowl.line(path, colors.red, { width: 1.5 });
    bowl.clipped(() => path.forEach((at) => bowl.dot(...at, colors.red, { size: 2, edge: colors.red })));
    bowl.dot(0, 0, colors.orange, { shape: "diamond", size: 7, edge: colors.ink });
    bowl.axes(4);
    fall.line(away.map((d, k) => [k, Math.log10(clamp(d, 1e-12, 1e12))]), colors.red);
    fall.axes(4);
    const each = [contraction(rate, momentum), contraction(rate * kappa, momentum)], slower = Math.max(...each);
    const left = slower < 1 ? `${words(Math.ceil(Math.log(1000) / -Math.log(slower)), 0)} steps for a thousandth` : "it diverges";
    h.say(`A step leaves ${words(each[0], 3)} of the flat direction (${behavior(rate, momentum)}) and ${words(each[1], 3)} of the steep one (${behavior(rate * kappa, momentum)}): ${left}. Best for κ = ${words(kappa, 0)}: η = ${words(best, 4)}, α = ${words(alpha)}.`);
  };
}
export default { render };
