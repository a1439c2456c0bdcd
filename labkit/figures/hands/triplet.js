// A triplet in the plane: drag anchor, positive and negative; see the loss, and where descent moves each point.
import { hand, words } from "./common.js";

/** Distances, loss, kind and gradients of one triplet; points are [x, y]. As labkit.losses.triplet has them. */
export function triplet(anchor, positive, negative, margin, squared = false) {
  const minus = (u, v) => [u[0] - v[0], u[1] - v[1]];
  const toPositive = minus(positive, anchor), toNegative = minus(negative, anchor);
  const size = (v) => (squared ? v[0] * v[0] + v[1] * v[1] : Math.sqrt(v[0] * v[0] + v[1] * v[1]));
  const dAp = size(toPositive), dAn = size(toNegative);
  const loss = Math.max(dAp - dAn + margin, 0);
  const kind = dAn < dAp ? "hard" : loss > 0 ? "semi-hard" : "easy";
  // Where two points coincide there is no direction: the gradient is taken as 0.
  const scale = (v, d) => v.map((one) => (squared ? 2 * one : one / (d || 1)));
  const p = scale(toPositive, dAp), n = scale(toNegative, dAn), on = loss > 0 ? 1 : 0;
  return { dAp, dAn, loss, kind, gradients: [minus(n, p), p, [-n[0], -n[1]]].map((g) => g.map((one) => on * one)) };
}

const LOOKS = { anchor: ["ink", "circle"], positive: ["blue", "square"], negative: ["red", "triangle"] };
const STEP = 0.3; // length of the step of gradient descent that the arrows show

function render({ model, el }) {
  const h = hand({ model, el }, { label: "A triplet in the plane", width: 470, height: 440 });
  const plane = h.plane({ width: 380, height: 380, left: 62, x: [-2, 2], y: [-2, 2], xlabel: "first number", ylabel: "second number" });
  const names = Object.keys(LOOKS);
  names.forEach((name) => h.point(name, plane, () => h.get(name), (at) => h.set(name, at)));
  h.slider("margin", "margin α", 0, 2, 0.05);
  h.check("squared", "squared distances");
  const result = () => triplet(...names.map(h.get), h.get("margin"), h.get("squared"));
  const descend = (rate) => {
    const { gradients } = result();
    names.forEach((name, i) => h.set(name, h.get(name).map((x, k) => x - rate * gradients[i][k])));
  };
  h.button("One step", () => descend(STEP));
  h.play("Let it run", () => { descend(0.02); return result().loss > 0; });
  h.watch(...names, "margin", "squared");
  h.draw = () => {
    const { dAp, dAn, loss, kind, gradients } = result(), c = h.context;
    const at = Object.fromEntries(names.map((name) => [name, h.get(name)]));
    const [u, v] = [plane.px(at.anchor[0]), plane.py(at.anchor[1])], unit = plane.width / 4;
    const limit = h.get("squared") ? Math.sqrt(dAp + h.get("margin")) : dAp + h.get("margin");
    const inner = h.get("squared") ? Math.sqrt(dAp) : dAp;
    plane.clipped(() => {
      for (const [radius, color, dash] of [[limit, h.colors.orange, [6, 5]], [inner, h.colors.blue, []]]) {
        Object.assign(c, { strokeStyle: color, fillStyle: color, lineWidth: 1.5 });
        c.setLineDash(dash); c.beginPath(); c.arc(u, v, radius * unit, 0, 2 * Math.PI); c.stroke();
        c.globalAlpha = 0.1; c.fill(); c.globalAlpha = 1;
      }
    });
    plane.line([at.anchor, at.positive], h.colors.blue, { width: 1 });
    plane.line([at.anchor, at.negative], h.colors.red, { width: 1 });
    Object.entries(LOOKS).forEach(([name, [color, shape]], i) => {
      plane.arrow(...at[name], -STEP * gradients[i][0], -STEP * gradients[i][1], h.colors[color]);
      plane.dot(...at[name], h.colors[color], { shape, size: 8 });
      plane.text(...at[name], name, h.colors[color], { dy: STEP * gradients[i][1] < 0 ? 19 : -19, bold: true });
    });
    plane.axes();
    const square = h.get("squared") ? "²" : "";
    h.say(`${kind}: d(a,p)${square} ${words(dAp)} minus d(a,n)${square} ${words(dAn)} plus margin ${words(h.get("margin"))} gives a loss of ${words(loss)}`);
  };
}
export default { render };
