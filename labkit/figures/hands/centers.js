// Points of three classes and their centers: how softmax pushes, how the center loss pulls, and where the centers go.
import { hand, words } from "./common.js";

const [COS, SIN] = [Math.cos(2 * Math.PI / 3), Math.sin(2 * Math.PI / 3)];
/** The weight rows of the softmax layer: they stay as they are. */
const ROWS = [[1, 0], [COS, SIN], [COS, -SIN]];
const minus = (u, v) => [u[0] - v[0], u[1] - v[1]];
const along = (u, v) => u[0] * v[0] + u[1] * v[1];
const mean = (all) => [0, 1].map((k) => all.reduce((sum, x) => sum + x[k], 0) / all.length);
/** The class of point i: the first third is of class 0, and so on. */
const classOf = (points, i) => Math.floor(i * ROWS.length / points.length);

/** Both losses, and `push` and `pull`: minus their gradients by each point, times the number of points. */
export function forces(points, centers) {
  let [softmax, center] = [0, 0];
  const push = [], pull = [];
  points.forEach((x, i) => {
    const own = classOf(points, i), scores = ROWS.map((row) => along(row, x)), most = Math.max(...scores);
    const parts = scores.map((score) => Math.exp(score - most)), sum = parts.reduce((a, b) => a + b);
    push.push([0, 1].map((k) => ROWS[own][k] - ROWS.reduce((all, row, j) => all + parts[j] / sum * row[k], 0)));
    pull.push(minus(centers[own], x));
    softmax += most + Math.log(sum) - scores[own];
    center += along(pull[i], pull[i]) / 2;
  });
  return { softmax: softmax / points.length, center: center / points.length, push, pull };
}

/** Where the centers are after one update with the rate α: as labkit.losses.CenterLoss.update. */
export function follow(points, centers, rate) {
  return centers.map((center, j) => {
    const own = points.filter((_, i) => classOf(points, i) === j);
    return [0, 1].map((k) => center[k] - rate * own.reduce((sum, x) => sum + center[k] - x[k], 0) / (1 + own.length));
  });
}

/** Scatter within and between the classes: as labkit.evaluation.scatter. */
export function scatter(points) {
  const means = ROWS.map((_, j) => mean(points.filter((_, i) => classOf(points, i) === j))), middle = mean(points);
  const squares = (differences) => differences.reduce((sum, v) => sum + along(v, v), 0) / points.length;
  const own = points.map((_, i) => means[classOf(points, i)]);
  return [squares(points.map((x, i) => minus(x, own[i]))), squares(own.map((one) => minus(one, middle)))];
}

const LOOKS = [["blue", "circle"], ["orange", "square"], ["red", "triangle"]];
const WEIGHTS = { "softmax + λ · center loss": [1, 1], "softmax alone": [1, 0], "center loss alone": [0, 1] };
const STEP = 0.5; // of a point, times its forces: what the arrows show

function render({ model, el }) {
  const h = hand({ model, el }, { label: "Points of three classes and their centers", width: 760, height: 436 });
  const plane = h.plane({ left: 56, width: 690, height: 372, x: [-5, 5], y: [-2.7, 2.7],
    xlabel: "embedding, first dimension", ylabel: "second dimension" });
  const put = (trait, i) => (at) => h.set(trait, h.get(trait).map((old, k) => (k === i ? at : old)));
  const at = (trait, i) => () => h.get(trait)[i];
  h.get("points").forEach((_, i, all) => {
    const own = classOf(all, i);
    h.point(`class ${own}, point ${i - own * all.length / ROWS.length + 1}`, plane, at("points", i), put("points", i));
  });
  ROWS.forEach((_, j) => h.point(`center of class ${j}`, plane, at("centers", j), put("centers", j)));
  /** Weights of push and pull. */
  const weights = () => { const [push, pull] = WEIGHTS[h.get("loss")]; return [push, pull * h.get("weight")]; };
  /** One step of all points, and then of the centers; false where it ends: all stand still, or one leaves the plane. */
  const go = (size) => {
    const points = h.get("points"), { push, pull } = forces(points, h.get("centers")), [a, b] = weights();
    const next = points.map((x, i) => x.map((one, k) => one + size * (a * push[i][k] + b * pull[i][k])));
    const centers = follow(next, h.get("centers"), h.get("rate"));
    if (next.some(([x, y]) => Math.abs(x) > plane.x[1] || Math.abs(y) > plane.y[1])) return false;
    const most = (now, before) => Math.max(...now.map((one, i) => Math.hypot(...minus(one, before[i]))));
    const moved = Math.max(most(next, points), most(centers, h.get("centers")));
    h.set("points", next); h.set("centers", centers);
    return moved > 1e-4;
  };
  h.choice("loss", "loss", Object.keys(WEIGHTS));
  h.slider("weight", "λ", 0, 1, 0.01);
  h.slider("rate", "rate of the centers α", 0, 1, 0.05);
  h.button("One step", () => go(STEP));
  h.play("Let it run", () => go(STEP / 10));
  h.button("Centers to 0", () => h.set("centers", ROWS.map(() => [0, 0])));
  h.watch("points", "centers", "loss", "weight", "rate");
  h.draw = () => {
    const points = h.get("points"), centers = h.get("centers"), { softmax, center, push, pull } = forces(points, centers);
    const [a, b] = weights(), [within, between] = scatter(points);
    ROWS.forEach((row) => plane.line([[0, 0], row.map((one) => 9 * one)], h.colors.soft, { width: 1, dash: [2, 4] }));
    points.forEach((x, i) => plane.line([x, centers[classOf(points, i)]], h.colors[LOOKS[classOf(points, i)][0]], { width: 1 }));
    centers.forEach((x, j) => plane.dot(...x, h.colors[LOOKS[j][0]], { shape: "diamond", size: 9, edge: h.colors.ink }));
    points.forEach((x, i) => {
      const [color, shape] = LOOKS[classOf(points, i)];
      plane.arrow(...x, STEP * a * push[i][0], STEP * a * push[i][1], h.colors.ink, 2);
      plane.arrow(...x, STEP * b * pull[i][0], STEP * b * pull[i][1], h.colors.purple, 2);
      plane.dot(...x, h.colors[color], { shape, size: 6 });
    });
    centers.forEach((x, j) => plane.text(...x, `c${"₀₁₂"[j]}`, h.colors[LOOKS[j][0]], { dx: 18, dy: 14, bold: true }));
    plane.axes();
    const parts = [a ? `softmax ${words(softmax)}` : "", b || !a ? `λ ${words(b)} × center loss ${words(center)}` : ""];
    const ratio = between > 1e-9 ? words(within / between, 3) : "not defined: all classes in one place";
    h.say(`${parts.filter(Boolean).join(" + ")} = loss ${words(a * softmax + b * center)}. S_W / S_B ${ratio}, `
      + `√S_B ${words(Math.sqrt(between))}. Arrows: a step, ${a ? "black by softmax" : ""}${a && b ? ", " : ""}${b ? "purple by center loss" : ""}.`);
  };
}
export default { render };
