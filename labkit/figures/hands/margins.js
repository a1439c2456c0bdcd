// Margins as angles: classes are directions on a circle; drag them and an embedding, see where a class wins.
import { clamp, hand, words } from "./common.js";

const degrees = Math.PI / 180;
const cosine = (a, b) => Math.cos((a - b) * degrees);
const apart = (a, b) => ((a - b + 540) % 360 + 360) % 360 - 180; // from b to a, -180 to 180 degrees

const psi = (c, m) => {
  let [before, multiple, k] = [1, c, 0];
  for (let i = 1; i < m; i++) {
    [before, multiple] = [multiple, 2 * c * multiple - before];
    if (c <= Math.cos(i * Math.PI / m)) k += 1;
  }
  return (1 - 2 * (k % 2)) * multiple - 2 * k;
};
const TARGETS = {
  softmax: (c) => c,
  "L-, A-Softmax": psi,
  "AM-Softmax": (c, m) => c - m,
  ArcFace: (c, m) => (c >= -Math.cos(m) ? c * Math.cos(m) - Math.sqrt(Math.max(1 - c * c, 0)) * Math.sin(m) : c - m * Math.sin(m)),
};

/** What stands instead of the cosine c with the own row: as labkit.figures.lab08.margin_rules. */
export function target(rule, c, margin) {
  return TARGETS[rule](c, margin);
}

/** The cross entropy of an embedding of class 1 at an angle (degrees, as the rows): as labkit.losses.softmax.margin_loss. */
export function loss(rule, rows, angle, margin, scale) {
  const scores = rows.map((row, i) => scale * (i ? cosine(angle, row) : target(rule, cosine(angle, row), margin)));
  const most = Math.max(...scores);
  return most - scores[0] + Math.log(scores.reduce((sum, one) => sum + Math.exp(one - most), 0));
}

/** Which class, 1 to C, wins at an angle even with its margin; 0 where none does. As labkit.figures.lab08 colors it. */
export function winner(rule, rows, angle, margin) {
  const cosines = rows.map((row) => cosine(angle, row));
  return cosines.findIndex((c, i) => cosines.every((other, j) => i === j || target(rule, c, margin) > other)) + 1;
}

const COLORS = ["blue", "red", "green", "purple", "orange", "brown"], MOST = 10, STEPS = 720;
const TRAITS = { "L-, A-Softmax": "times", "AM-Softmax": "cosine", ArcFace: "angle" };

function render({ model, el }) {
  const h = hand({ model, el }, { label: "Margins as angles", width: 760, height: 400 });
  const disc = h.plane({ left: 8, top: 8, width: 384, height: 384, x: [-1.35, 1.35], y: [-1.35, 1.35] });
  const side = { left: 462, width: 284, height: 146, x: [-180, 180] };
  const logits = h.plane({ ...side, y: [-2.7, 1.1], ylabel: "logit / s" });
  const losses = h.plane({ ...side, top: 205, xlabel: "angle from row 1 (degrees)", ylabel: "loss" });
  const rule = () => h.get("rule"), rows = () => h.get("rows");
  const margin = () => (rule() === "softmax" ? 0 : h.get(TRAITS[rule()]));
  const color = (i) => h.colors[COLORS[i === rows().length - 1 && i % 6 === 0 ? 3 : i % 6]]; // unlike both neighbors
  const spread = (count) => h.set("rows", Array.from({ length: count }, (_, i) => 90 - 360 * i / count + 180 / count));
  const grip = (name, size, get, set, shown) => h.point(name, disc,
    () => [size * Math.cos(get() * degrees), size * Math.sin(get() * degrees)],
    ([x, y]) => set(Math.atan2(y, x) / degrees), {
      shown, said: () => `${words(apart(get(), 0), 0)} degrees`, step: 5,
      move: ([x, y], dx, dy) => { const a = Math.atan2(y, x) + (dy - dx) * degrees; return [Math.cos(a), Math.sin(a)]; },
    });
  for (let i = 0; i < MOST; i++) grip(`row of class ${i + 1}`, 1.06, () => rows()[i],
    (angle) => h.set("rows", rows().map((row, j) => (j === i ? angle : row))), () => i < rows().length);
  grip("embedding of class 1", 0.6, () => h.get("point"), (angle) => h.set("point", angle));
  h.choice("rule", "loss", Object.keys(TARGETS));
  h.slider("times", "m of L-, A-Softmax", 1, 4, 1, { digits: 0 });
  h.slider("cosine", "m of AM-Softmax", 0, 1, 0.01);
  h.slider("angle", "m of ArcFace", 0, 1.5, 0.05, { unit: "radians" });
  h.slider("scale", "scale s", 1, 64, 1, { digits: 0 });
  h.button("One class more", () => spread(Math.min(rows().length + 1, MOST)));
  h.button("One class fewer", () => spread(Math.max(rows().length - 1, 2)));
  h.button("Spread evenly", () => spread(rows().length));
  h.watch("rule", "rows", "point", "times", "cosine", "angle", "scale");
  const sector = (from, to, fill, alpha, inner = 0) => {
    const c = h.context, [x, y] = [disc.px(0), disc.py(0)], unit = disc.width / 2.7;
    c.save();
    Object.assign(c, { fillStyle: fill, globalAlpha: alpha });
    c.beginPath();
    c.arc(x, y, unit, -from * degrees, -to * degrees, true); c.arc(x, y, unit * inner, -to * degrees, -from * degrees);
    c.fill(); c.restore();
  };
  h.draw = () => {
    const m = margin(), own = rows()[0], point = h.get("point"), around = (k) => 360 * k / STEPS;
    const wins = Array.from({ length: STEPS }, (_, k) => winner(rule(), rows(), around(k + 0.5), m));
    for (let from = 0, k = 1; k <= STEPS; k++) {
      if (k < STEPS && wins[k] === wins[from]) continue;
      const won = wins[from];
      sector(around(from), around(k), won ? color(won - 1) : h.colors.soft, won ? 0.3 : 0.12);
      if (won) sector(around(from), around(k), color(won - 1), 1, 0.95);
      from = k;
    }
    rows().forEach((row, i) => {
      const [x, y] = [Math.cos(row * degrees), Math.sin(row * degrees)];
      disc.arrow(0, 0, x, y, color(i), 2.5);
      disc.dot(1.06 * x, 1.06 * y, color(i), { size: 9 });
      disc.text(1.24 * x, 1.24 * y, String(i + 1), color(i), { bold: true });
    });
    disc.line([[0, 0], [0.6 * Math.cos(point * degrees), 0.6 * Math.sin(point * degrees)]], h.colors.ink, { width: 3 });
    disc.dot(0.6 * Math.cos(point * degrees), 0.6 * Math.sin(point * degrees), h.colors.ink, { size: 8 });
    const across = Array.from({ length: 361 }, (_, k) => k - 180);
    const rival = (angle) => Math.max(...rows().slice(1).map((row) => cosine(angle, row)));
    const with_margin = (angle) => target(rule(), cosine(angle, 0), m), here = apart(point, own);
    logits.line(across.map((angle) => [angle, cosine(angle, 0)]), h.colors.soft, { width: 1.5, dash: [2, 4] });
    logits.line(across.map((angle) => [angle, rival(angle + own)]), h.colors.red, { dash: [7, 4] });
    logits.line(across.map((angle) => [angle, with_margin(angle)]), h.colors.blue);
    losses.y = [0, 2.2 * h.get("scale")];
    losses.line(across.map((angle) => [angle, loss(rule(), rows(), own + angle, m, h.get("scale"))]), h.colors.ink);
    logits.clipped(() => logits.dot(here, with_margin(here), h.colors.blue, { size: 6 }));
    losses.clipped(() => losses.dot(here, loss(rule(), rows(), point, m, h.get("scale")), h.colors.ink, { size: 6 }));
    logits.text(-174, -2.4, "own row, with margin", h.colors.blue, { align: "left" });
    logits.text(-174, -1.85, "best other row", h.colors.red, { align: "left" });
    logits.axes(4);
    losses.axes(4);
    const share = wins.filter((won) => won === 1).length / STEPS * 360, won = winner(rule(), rows(), point, m);
    h.say(`${rule()}: class 1 wins within ${words(share, 0)}° of the circle. The embedding is ${words(Math.abs(here), 0)}° from its row: ${won === 1 ? "it wins with its margin" : won ? `class ${won} wins` : "no class wins with its margin"}, loss ${words(loss(rule(), rows(), point, m, h.get("scale")))}.`);
  };
}
export default { render };
