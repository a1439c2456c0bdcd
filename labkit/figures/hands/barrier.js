// The exponential triplet loss over the distances of a positive and a negative pair; the triplet loss to compare with.
import { clamp, hand, words } from "./common.js";

const DELTA = 0.01; // how far before 1 the barrier goes over to its tangent
/** φ(t) and its slope: as labkit.losses.exponential_triplet.barrier. */
const barrier = (t) => (t <= 1 - DELTA ? [-Math.log1p(-t), 1 / (1 - t)]
  : [-Math.log(DELTA) + (t - (1 - DELTA)) / DELTA, 1 / DELTA]);

/** [loss, slope over p, slope over q] of a positive pair at distance p, a negative one at q, both divided by d_max. */
export function exponential(p, q, cN, positive, negative) {
  const near = Math.max(p - cN, 0) / (1 - cN), far = Math.max(0.5 - q, 0) / 0.5;
  const [pull, up] = barrier(near), [push, down] = barrier(far);
  return [positive * pull + negative * push, near > 0 ? positive * up / (1 - cN) : 0,
    far > 0 ? -negative * down / 0.5 : 0];
}

/** The same of the triplet loss, as a share of d_max. */
export function standard(p, q, margin = 0.2) {
  const loss = p - q + margin;
  return loss > 0 ? [loss, 1, -1] : [0, 0, 0];
}

const [HIGHEST, CLASSES] = [6, 10];

function render({ model, el }) {
  const h = hand({ model, el }, { label: "The exponential triplet loss over two distances", width: 760, height: 392 });
  const left = h.plane({ left: 56, width: 320, height: 320, x: [0, 1], y: [0, 1], xlabel: "positive pair, p",
    ylabel: "negative pair, q" });
  const right = h.plane({ left: 440, width: 306, height: 320, x: [0, 1], y: [0, HIGHEST], xlabel: "distance / d_max",
    ylabel: "loss (cut off at 6)" });
  const isStandard = () => h.get("loss") === "triplet, margin 0.2", cN = () => h.get("overlap") / CLASSES;
  /** The loss as a function of p and q, under what the controls say. */
  const chosen = () => {
    const constants = [cN(), h.get("positive_weight"), h.get("negative_weight")];
    return isStandard() ? standard : (p, q) => exponential(p, q, ...constants);
  };
  const here = () => Math.min(chosen()(h.get("p"), h.get("q"))[0], HIGHEST);
  const one = { step: 0.05, one: true };
  h.point("both distances", left, () => [h.get("p"), h.get("q")], ([p, q]) => { h.set("p", p); h.set("q", q); }, { step: 0.05 });
  h.point("distance p of the positive pair", right, () => [h.get("p"), here()], ([p]) => h.set("p", p), one);
  h.point("distance q of the negative pair", right, () => [h.get("q"), here()], ([q]) => h.set("q", q), one);
  h.point("width c_n of a class", right, () => [cN(), 0], ([x]) => h.set("overlap", clamp(CLASSES * x, 0, 9.5)), one);
  h.choice("loss", "loss", ["exponential", "triplet, margin 0.2"]);
  h.slider("overlap", "overlap c_o", 0, 9.5, 0.1);
  h.slider("positive_weight", "weight C_pos", 0, 3, 0.25);
  h.slider("negative_weight", "weight C_neg", 0, 3, 0.25);
  h.play("Let it run", () => {
    const [p, q] = [h.get("p"), h.get("q")], [, up, down] = chosen()(p, q);
    h.set("p", clamp(p - 0.002 * up, 0, 1)); h.set("q", clamp(q - 0.002 * down, 0, 1));
    return h.get("p") !== p || h.get("q") !== q;
  });
  h.watch("loss", "overlap", "positive_weight", "negative_weight", "p", "q");
  h.draw = () => {
    const loss = chosen(), high = (p, q) => Math.min(loss(p, q)[0], HIGHEST);
    const [p, q] = [h.get("p"), h.get("q")], [height, up, down] = loss(p, q);
    const fine = Array.from({ length: 201 }, (_, k) => k / 200);
    // Steps of shade, as height lines; a loss of 0 stays white.
    left.heat(106, 106, (x, y) => 0.8 * (Math.ceil(high(x, y) / HIGHEST * 18) / 18) ** 0.6, h.colors.orange,
      { of: ["loss", "overlap", "positive_weight", "negative_weight"].map(h.get) });
    if (isStandard()) left.line([[0, 0.2], [0.8, 1]], h.colors.green, { width: 3 });
    else left.line([[0, 0.5], [cN(), 0.5], [cN(), 1]], h.colors.green, { width: 3 });
    left.line([[0, q], [1, q]], h.colors.blue, { width: 1.5 });
    left.line([[p, 0], [p, 1]], h.colors.red, { width: 1.5, dash: [6, 4] });
    left.clipped(() => left.arrow(p, q, -0.05 * up, -0.05 * down, h.colors.ink, 3));
    left.dot(p, q, h.colors.ink, { size: 7 });
    left.text(0.02, 0.95, "no loss", h.colors.green, { bold: true, align: "left" });
    left.axes();
    for (const [place, name] of isStandard() ? [] : [[cN(), "c_n"], [0.5, "½"]]) {
      right.line([[place, 0], [place, HIGHEST]], h.colors.soft, { width: 1, dash: [2, 4] });
      right.text(place, 0.94 * HIGHEST, name, h.colors.ink, { align: "left", dx: 5 });
    }
    right.line(fine.map((x) => [x, high(x, q)]), h.colors.blue);
    right.line(fine.map((x) => [x, high(p, x)]), h.colors.red, { dash: [7, 4] });
    [[p, up], [q, down]].forEach(([x, slope]) =>
      right.line([[x - 0.1, height - 0.1 * slope], [x + 0.1, height + 0.1 * slope]], h.colors.ink, { width: 1.5 }));
    if (!isStandard()) right.dot(cN(), 0, h.colors.green, { shape: "diamond", size: 7 });
    right.dot(q, Math.min(height, HIGHEST), h.colors.red, { shape: "triangle", size: 7 });
    right.dot(p, Math.min(height, HIGHEST), h.colors.blue, { shape: "square", size: 7 });
    right.axes();
    const width = isStandard() ? "" : `, c_n = ${words(cN(), 3)}`;
    const pulled = up ? "pulls the positive pair together" : "leaves the positive pair alone";
    const pushed = down ? "pushes the negative pair apart" : "leaves the negative pair alone";
    h.say(`p = ${words(p)}, q = ${words(q)}${width}: loss ${words(height)}. `
      + `Slope over p ${words(up)}, over q ${words(down)}: descent ${pulled} and ${pushed}.`);
  };
}
export default { render };
