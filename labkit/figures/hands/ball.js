// A ball in a valley and a Gaussian hill put under it: drag the ball, pull at the hill, let it roll.
import { clamp, hand, words } from "./common.js";

const MINIMUM = 2 / 3;
const VALLEYS = {
  "two valleys": [(x) => x ** 4 / 4 + x ** 3 / 9 - x * x / 3, (x) => x * (x - 2 / 3) * (x + 1)],
  bowl: [(x) => 5 / 9 * (x - 2 / 3) ** 2, (x) => 10 / 9 * (x - 2 / 3)],
};

/** The places of a ball that rolls down from MINIMUM + beside in steps of 0.05: as labkit.figures.lab09.roll. */
export function roll(valley, strength, sigma, beside, steps = 400) {
  const slope = VALLEYS[valley][1], path = [MINIMUM + beside];
  for (let x = path[0], k = 0; k < steps; k++) {
    const apart = x - MINIMUM;
    x -= 0.05 * (slope(x) - strength / sigma ** 2 * apart * Math.exp(-(apart ** 2) / (2 * sigma ** 2)));
    path.push(x);
  }
  return path;
}

/** How high the ground is at x, hill and all. */
export function ground(valley, strength, sigma, x) {
  return VALLEYS[valley][0](x) + strength * Math.exp(-((x - MINIMUM) ** 2) / (2 * sigma ** 2));
}

function render({ model, el }) {
  const h = hand({ model, el }, { label: "A ball in a valley with a hill", width: 620, height: 400 });
  const plane = h.plane({ width: 540, height: 335, left: 66, x: [-1.7, 1.7], y: [-0.3, 1.6],
    xlabel: "place x (one weight)", ylabel: "height (loss)" });
  const hill = () => ["valley", "strength", "sigma"].map(h.get);
  const high = (x) => ground(...hill(), x);
  h.point("start of the ball", plane, () => [MINIMUM + h.get("beside"), high(MINIMUM + h.get("beside"))],
    ([x]) => h.set("beside", x - MINIMUM), { step: 0.01, digits: 3, one: true });
  h.point("side of the hill", plane, () => [MINIMUM + h.get("sigma"), high(MINIMUM + h.get("sigma"))], ([x, y]) => {
    const sigma = clamp(x - MINIMUM, 0.1, 1);
    h.set("sigma", sigma);
    h.set("strength", clamp((y - VALLEYS[h.get("valley")][0](MINIMUM + sigma)) * Math.exp(0.5), 0, 1.5));
  }, { step: 0.05 });
  h.choice("valley", "valley", Object.keys(VALLEYS));
  h.slider("strength", "strength s", 0, 1.5, 0.05);
  h.slider("sigma", "width σ", 0.1, 1.5, 0.05);
  h.slider("beside", "beside the top", -0.1, 0.1, 0.01);
  h.slider("steps", "steps", 0, 400, 1, { digits: 0 });
  h.play("Let it roll", () => {
    h.set("steps", h.get("steps") >= 400 ? 0 : Math.min(h.get("steps") + 2, 400));
    return h.get("steps") < 400;
  });
  h.watch("valley", "strength", "sigma", "beside", "steps");
  h.draw = () => {
    const path = roll(...hill(), h.get("beside"), h.get("steps")), end = path.at(-1);
    const across = Array.from({ length: 300 }, (_, k) => -1.7 + 3.4 * k / 299);
    const [strength, sigma] = [h.get("strength"), h.get("sigma")];
    plane.line(across.map((x) => [x, VALLEYS[h.get("valley")][0](x)]), h.colors.ink, { width: 1.5 });
    plane.line(across.map((x) => [x, high(x)]), h.colors.red, { dash: [7, 4] });
    plane.line([[MINIMUM, -0.3], [MINIMUM, 1.6]], h.colors.soft, { width: 1, dash: [2, 4] });
    plane.line(path.map((x) => [x, high(x)]), h.colors.blue, { width: 5 });
    plane.dot(path[0], high(path[0]), h.colors.paper, { size: 6, edge: h.colors.ink });
    plane.dot(MINIMUM + sigma, high(MINIMUM + sigma), h.colors.red, { size: 6, shape: "square" });
    plane.dot(end, high(end), h.colors.orange, { size: 9, edge: h.colors.ink });
    plane.axes();
    // At x = 2/3 both valleys have the curvature 10/9.
    const verdict = strength / sigma ** 2 > 10 / 9 ? "a top: the ball is free" : "still a bottom: the ball stays";
    h.say(`s/σ² = ${words(strength / sigma ** 2)}, curvature 1.11: the checkpoint is ${verdict}. After ${h.get("steps")} steps the ball is at x = ${words(end)}, ${words(Math.abs(end - MINIMUM))} from the checkpoint.`);
  };
}
export default { render };
