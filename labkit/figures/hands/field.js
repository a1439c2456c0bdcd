// The plane of two cosines: where gradient descent takes a pair (s_n, s_p) under triplet, AM-softmax and circle loss.
import { clamp, hand, words } from "./common.js";

const sigmoid = (x) => 0.5 * (1 + Math.tanh(x / 2));

/** How hard descent lowers s_n and raises s_p, over γ, and the weights of the two: as labkit.figures.lab07.forces. */
export function forces(loss, sN, sP, margin, gamma) {
  if (loss === "circle") {
    const weightN = Math.max(sN + margin, 0), weightP = Math.max(1 + margin - sP, 0);
    const gate = sigmoid(gamma * (weightN * (sN - margin) - weightP * (sP - 1 + margin)));
    return [gate * weightN, gate * weightP];
  }
  const error = sN - sP + margin;
  const gate = loss === "AM-softmax" ? sigmoid(gamma * error) : error > 0 ? 1 : 0;
  return [gate, gate];
}

/** Where the loss stops pulling: a line, or the arc round (0, 1) of radius √2·m and the level that goes on from it. */
export function boundary(loss, margin) {
  if (loss !== "circle") return [[-1, -1 + margin], [1, 1 + margin]];
  const arc = Array.from({ length: 121 }, (_, k) => 0.75 * Math.PI * k / 120);
  return [...arc.map((a) => [Math.SQRT2 * margin * Math.cos(a), 1 - Math.SQRT2 * margin * Math.sin(a)]), [-1, 1 - margin]];
}

const [LOW, HIGH, ARROWS, CELLS] = [-0.5, 1, 13, 60];
const middle = (k, count) => LOW + (k + 0.5) * (HIGH - LOW) / count;

function render({ model, el }) {
  const h = hand({ model, el }, { label: "Forces on a pair of cosines", width: 480, height: 456 });
  const plane = h.plane({ width: 390, height: 390, left: 70, x: [LOW, HIGH], y: [LOW, HIGH],
    xlabel: "s_n, cosine with the negative", ylabel: "s_p, cosine with the positive" });
  const force = (sN, sP) => forces(h.get("loss"), sN, sP, h.get("margin"), h.get("gamma"));
  h.choice("loss", "loss", ["circle", "AM-softmax", "triplet"]);
  h.slider("margin", "margin m", 0, 1, 0.05);
  h.slider("gamma", "scale γ", 1, 128, 1, { digits: 0 });
  h.point("pair", plane, () => h.get("pair"), (at) => h.set("pair", at), { step: 0.05 });
  h.play("Let it run", () => {
    const [sN, sP] = h.get("pair"), [down, up] = force(sN, sP);
    h.set("pair", [clamp(sN - 0.01 * down, LOW, HIGH), clamp(sP + 0.01 * up, LOW, HIGH)]);
    return Math.hypot(down, up) > 0.01 && !(sN === LOW && sP === HIGH);
  });
  h.watch("loss", "margin", "gamma", "pair");
  h.draw = () => {
    const strength = (x, y) => Math.hypot(...force(x, y));
    // The strongest pull of each loss is in the lower right corner.
    const strongest = Math.max(strength(HIGH, LOW), 1e-12);
    plane.heat(CELLS, CELLS, (x, y) => 0.7 * strength(x, y) / strongest, h.colors.orange,
      { of: ["loss", "margin", "gamma"].map(h.get) });
    const longest = 0.9 * (HIGH - LOW) / ARROWS / strongest;
    for (let i = 0; i < ARROWS; i++) for (let j = 0; j < ARROWS; j++) {
      const [x, y] = [middle(i, ARROWS), middle(j, ARROWS)], [down, up] = force(x, y);
      plane.arrow(x, y, -longest * down, longest * up, h.colors.soft, 1.5);
    }
    plane.line(boundary(h.get("loss"), h.get("margin")), h.colors.blue, { width: 3 });
    const [sN, sP] = h.get("pair"), [down, up] = force(sN, sP);
    plane.arrow(sN, sP, -0.3 * down, 0.3 * up, h.colors.red, 3);
    plane.dot(sN, sP, h.colors.red, { size: 8 });
    plane.axes();
    h.say(`${h.get("loss")}, m = ${words(h.get("margin"))}: at (${words(sN)}, ${words(sP)}) descent lowers s_n with strength ${words(down)} and raises s_p with ${words(up)}`);
  };
}
export default { render };
