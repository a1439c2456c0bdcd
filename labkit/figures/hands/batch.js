// A batch in the plane and all its triplets: drag points, choose a mining, see who pulls and who pushes.
import { clamp, hand, words } from "./common.js";

const minus = (u, v) => [u[0] - v[0], u[1] - v[1]];
const size = (v) => Math.sqrt(v[0] * v[0] + v[1] * v[1]);

/** The triplets [a, p, n] that a mining takes from the distances: as labkit.losses.triplet takes them. */
export function mined(distances, labels, mining) {
  const least = (row, from) => from.reduce((best, i) => (row[i] < row[best] ? i : best));
  const most = (row, from) => from.reduce((best, i) => (row[i] > row[best] ? i : best));
  return distances.flatMap((row, a) => {
    const positives = labels.flatMap((label, i) => (label === labels[a] && i !== a ? [i] : []));
    const negatives = labels.flatMap((label, i) => (label === labels[a] ? [] : [i]));
    if (!positives.length || !negatives.length) return [];
    if (mining === "hard") return [[a, most(row, positives), least(row, negatives)]];
    return positives.flatMap((p) => {
      if (mining === "all") return negatives.map((n) => [a, p, n]);
      const farther = negatives.filter((n) => row[n] > row[p]);
      return [[a, p, farther.length ? least(row, farther) : most(row, negatives)]];
    });
  });
}

/** Loss, forces and pairs of a batch of points [[x, y], ...]: as labkit.losses.TripletLoss has them. */
export function batch(points, labels, mining, margin) {
  const distances = points.map((p) => points.map((q) => size(minus(p, q))));
  const kinds = { easy: 0, semihard: 0, hard: 0 };
  for (const [a, p, n] of mined(distances, labels, "all")) {
    const [dp, dn] = [distances[a][p], distances[a][n]];
    kinds[dn < dp ? "hard" : dn < dp + margin ? "semihard" : "easy"] += 1;
  }
  const chosen = mined(distances, labels, mining);
  const hinges = chosen.map(([a, p, n]) => Math.max(distances[a][p] - distances[a][n] + margin, 0));
  const active = hinges.filter((hinge) => hinge > 0).length;
  const weights = points.map(() => points.map(() => 0)); // of each distance in the loss: above 0 pulls, below 0 pushes
  chosen.forEach(([a, p, n], k) => { if (hinges[k] > 0) { weights[a][p] += 1 / active; weights[a][n] -= 1 / active; } });
  const gradients = points.map(() => [0, 0]);
  weights.forEach((row, i) => row.forEach((weight, j) => {
    const d = distances[i][j] || 1, toward = minus(points[i], points[j]).map((one) => weight * one / d);
    gradients[i] = gradients[i].map((one, k) => one + toward[k]);
    gradients[j] = gradients[j].map((one, k) => one - toward[k]);
  }));
  return { loss: hinges.reduce((sum, one) => sum + one, 0) / Math.max(active, 1), active, chosen, distances, weights, gradients, kinds };
}

const LOOKS = [["blue", "circle"], ["orange", "square"], ["purple", "triangle"]];
const [STEP, SIDE, FAR] = [2, 2, 3.5]; // length of the arrows' step; half the plane's width; largest distance drawn

function render({ model, el }) {
  const h = hand({ model, el }, { label: "A batch and its triplets", width: 760, height: 392 });
  const left = h.plane({ left: 56, width: 324, height: 324, x: [-SIDE, SIDE], y: [-SIDE, SIDE], xlabel: "first number", ylabel: "second number" });
  const right = h.plane({ left: 436, width: 312, height: 324, x: [0, FAR], y: [0, FAR], xlabel: "d(a,p), anchor to positive", ylabel: "d(a,n), anchor to negative" });
  const points = () => h.get("points"), alone = () => h.get("alone"), anchor = () => h.get("anchor");
  const result = () => batch(points(), h.get("labels"), h.get("mining"), h.get("margin"));
  const counted = {};
  h.get("labels").forEach((label, i) => {
    counted[label] = (counted[label] ?? 0) + 1;
    h.point(`point ${counted[label]} of class ${"ABC"[label]}`, left, () => points()[i],
      (at) => h.set("points", points().map((one, k) => (k === i ? at : one)))).addEventListener("focus", () => h.set("anchor", i));
  });
  h.choice("mining", "mining", ["all", "hard", "semihard"]);
  h.slider("margin", "margin α", 0, 2, 0.05);
  h.check("alone", "one anchor only");
  const descend = (rate) => {
    const { gradients, loss } = result();
    h.set("points", points().map((p, i) => p.map((x, k) => clamp(x - rate * gradients[i][k], -SIDE, SIDE))));
    return loss > 0;
  };
  h.button("One step", () => descend(0.5));
  h.play("Let it run", () => descend(0.02));
  h.button("Mix them", () => h.set("points", points().map(() => [0, 0].map(() => 3 * Math.random() - 1.5))));
  h.watch("points", "mining", "margin", "alone", "anchor");
  h.draw = () => {
    const { loss, active, chosen, distances, weights, gradients, kinds } = result(), margin = h.get("margin"), labels = h.get("labels");
    const kept = ([a]) => !alone() || a === anchor();
    const heaviest = Math.max(...weights.flat().map(Math.abs), 1e-9);
    for (const pull of [false, true]) weights.forEach((row, i) => row.forEach((_, j) => {
      const weight = j < i ? (kept([i]) ? row[j] : 0) + (kept([j]) ? weights[j][i] : 0) : 0;
      if (pull ? weight > 0 : weight < 0) left.line([points()[i], points()[j]], pull ? h.colors.blue : h.colors.red,
        { width: 0.8 + 1.6 * Math.abs(weight) / heaviest, dash: pull ? [] : [5, 4] });
    }));
    points().forEach((at, i) => {
      const [color, shape] = LOOKS[labels[i]], [x, y] = gradients[i];
      left.arrow(...at, -STEP * x, -STEP * y, h.colors.ink, 2.5);
      left.dot(...at, h.colors[color], { shape, size: 8, edge: alone() && i === anchor() ? h.colors.ink : h.colors.paper });
      left.text(...at, "ABC"[labels[i]], h.colors.ink, { dx: 15, dy: -11 });
    });
    left.axes();
    right.heat(120, 120, (dp, dn) => 0.75 * clamp((dp - dn + margin) / 3, 0, 1), h.colors.orange, { of: [margin] });
    right.line([[0, 0], [FAR, FAR]], h.colors.ink, { width: 1.5 });
    right.line([[0, margin], [FAR, FAR + margin]], h.colors.ink, { width: 1.5, dash: [6, 5] });
    const used = new Set(chosen.map(String)), { ink, paper, soft } = h.colors;
    right.clipped(() => {
      for (const triplet of mined(distances, labels, "all").filter(kept)) {
        const [a, p, n] = triplet, taken = used.has(String(triplet)), at = [distances[a][p], distances[a][n]];
        if (taken) right.dot(...at, at[1] < at[0] + margin ? ink : soft, { size: 4 });
        else right.dot(...at, paper, { size: 2.5, edge: soft });
      }
    });
    right.text(0.72 * FAR, 0.2 * FAR, "hard", h.colors.ink, { bold: true });
    if (margin > 0.15) right.text(0.8 * FAR - margin / 2, 0.8 * FAR + margin / 2 - 0.05, "semi-hard", h.colors.ink, { bold: true });
    right.text(0.2 * FAR, 0.93 * FAR, "easy", h.colors.ink, { bold: true });
    right.axes();
    h.say(`Of ${kinds.easy + kinds.semihard + kinds.hard} triplets ${kinds.hard} are hard, ${kinds.semihard} semi-hard, ${kinds.easy} easy. Mining ${h.get("mining")} takes ${chosen.length}, of which ${active} are active: loss ${words(loss, 3)}.`);
  };
}
export default { render };
