// Charges that repel each other on a circle or a sphere: drag one, turn the sphere, shake them, let them run.
import { clamp, hand, words } from "./common.js";

const [RATE, NEAREST, MOST] = [0.01, 0.01, 20];
const degrees = Math.PI / 180;
const product = (u, v) => u.reduce((sum, one, i) => sum + one * v[i], 0);
const plus = (u, v, times = 1) => u.map((one, i) => one + times * v[i]);
const unit = (v) => { const length = Math.sqrt(product(v, v)) || 1; return v.map((one) => one / length); };
const along = (v, point) => plus(v, point, -product(v, point)); // the part of v along the sphere at the point
const apart = (u, v) => { const gap = plus(u, v, -1); return Math.sqrt(product(gap, gap)); };
const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

const pairs = (points, act) => points.flatMap((p, i) => points.slice(0, i).map((q, j) => act(p, q, i, j)));

/** The energy of the charges, Σ 1/‖p − q‖ over all pairs: as labkit.centroids.energy. */
export function energy(points) {
  return pairs(points, (p, q) => 1 / apart(p, q)).reduce((sum, one) => sum + one, 0);
}

/** The cosines of all pairs, ascending: as labkit.figures.lab08.cosines_of. */
export function cosines(points) {
  return pairs(points.map(unit), product).sort((a, b) => a - b);
}

/** [points, velocities] after a step: as labkit.centroids.charge_simulation moves them. */
export function step(points, velocities, transport, damping) {
  const moved = points.map((p, i) => unit(plus(p, velocities[i])));
  return [moved, velocities.map((v, i) => {
    const pushes = points.map((q) => plus(points[i], q, -1).map((one) => one / Math.max(apart(points[i], q), NEAREST) ** 3));
    const force = along(pushes.reduce((sum, push) => plus(sum, push)), points[i]);
    const after = plus(v.map((one) => (1 - damping) * one), force, RATE);
    return transport ? along(after, moved[i]) : after;
  })];
}

/** [across, up, near] of a point as it is seen: as labkit.figures.embedding.project. A circle is seen from above. */
export function project([x, y, z], turn, lean) {
  if (z === undefined) return [x, y, 0];
  const [c, s, cl, sl] = [Math.cos(turn * degrees), Math.sin(turn * degrees), Math.cos(lean * degrees), Math.sin(lean * degrees)];
  const away = x * s + y * c;
  return [x * c - y * s, z * cl + away * sl, z * sl - away * cl];
}

/** The point of the sphere that is seen at [across, up, near]: the way back from project. */
export function lift([across, up, near], turn, lean) {
  const [c, s, cl, sl] = [Math.cos(turn * degrees), Math.sin(turn * degrees), Math.cos(lean * degrees), Math.sin(lean * degrees)];
  const away = up * sl - near * cl;
  return [across * c + away * s, away * c - across * s, up * cl + near * sl];
}

function render({ model, el }) {
  const h = hand({ model, el }, { label: "Charges on a circle or a sphere", width: 760, height: 372 });
  const ball = h.plane({ left: 8, top: 8, width: 356, height: 356, x: [-1.12, 1.12], y: [-1.12, 1.12] });
  const right = h.plane({ left: 440, width: 300, height: 306, x: [0, 1], y: [-1.05, 1.05], xlabel: "share of the pairs",
    ylabel: "cosine of a pair, at most" });
  let velocities = [];
  const put = (points) => { velocities = points.map((p) => p.map(() => 0)); h.set("points", points); };
  const round = () => h.get("points")[0].length > 2;
  const seen = (p) => project(p, h.get("turn"), h.get("lean"));
  const place = ([x, y], i) => {
    const points = [...h.get("points")], size = Math.hypot(x, y);
    const near = size >= 1 || !round() ? 0 : Math.sqrt(1 - size * size) * (seen(points[i])[2] < -1e-9 ? -1 : 1);
    const at = near ? [x, y, near] : unit([x, y, 0]);
    points[i] = unit(round() ? lift(at, h.get("turn"), h.get("lean")) : at.slice(0, 2));
    put(points);
  };
  for (let i = 0; i < MOST; i++) {
    const grip = h.point(`charge ${i + 1}`, ball, () => {
      const [x, y, near] = seen(h.get("points")[i]);
      grip.style.zIndex = near < 0 ? 1 : 2;
      return [x, y];
    }, (at) => place(at, i), {
      shown: () => i < h.get("points").length,
      said: () => {
        const [x, y, near] = seen(h.get("points")[i]);
        return round() ? `${words(x)} across, ${words(y)} up, ${near < 0 ? "behind" : "in front"}` : `${words(Math.atan2(y, x) / degrees, 0)} degrees`;
      },
      move: ([x, y], dx, dy) => {
        if (round()) return [x + dx, y + dy];
        const angle = Math.atan2(y, x) + dy - dx; // right and down: clockwise
        return [Math.cos(angle), Math.sin(angle)];
      },
    });
  }
  h.play("Let them run", () => {
    if (velocities.length !== h.get("points").length) velocities = h.get("points").map((p) => p.map(() => 0));
    let points = h.get("points"); // three steps a frame
    for (let k = 0; k < 3; k++) [points, velocities] = step(points, velocities, h.get("transport"), h.get("damping"));
    h.set("points", points);
    return Math.max(...velocities.map((v) => Math.hypot(...v))) > 1e-6;
  });
  h.button("Shake", () => put(h.get("points").map((p) => unit(p.map((one) => one + 0.4 * normal())))));
  h.button("One more", () => { if (h.get("points").length < MOST) put([...h.get("points"), unit(h.get("points")[0].map(normal))]); });
  h.button("One fewer", () => { if (h.get("points").length > 2) put(h.get("points").slice(0, -1)); });
  h.button("Circle or sphere", () => put(h.get("points").map((p) => unit(round() ? p.slice(0, 2) : [...p, normal()]))));
  h.slider("damping", "velocity lost per step", 0, 1, 0.05);
  h.check("transport", "velocity turns with the sphere");
  h.slider("turn", "turn", -180, 180, 5, { digits: 0, unit: "degrees" });
  h.slider("lean", "tilt", -90, 90, 5, { digits: 0, unit: "degrees" });
  const drag = { at: null }; // beside the charges one drags the sphere itself
  h.canvas.addEventListener("pointerdown", (event) => { drag.at = [event.clientX, event.clientY]; h.canvas.setPointerCapture(event.pointerId); });
  h.canvas.addEventListener("pointerup", () => { drag.at = null; });
  h.canvas.addEventListener("pointercancel", () => { drag.at = null; });
  h.canvas.addEventListener("pointermove", ({ clientX, clientY }) => {
    if (!drag.at || !round()) return;
    const speed = 80 * 760 / 356 / h.canvas.clientWidth * 2; // the front follows the pointer
    h.set("turn", (h.get("turn") + speed * (clientX - drag.at[0]) + 540) % 360 - 180);
    h.set("lean", clamp(h.get("lean") + speed * (clientY - drag.at[1]), -90, 90));
    drag.at = [clientX, clientY];
  });
  h.watch("points", "turn", "lean", "damping", "transport");
  h.draw = () => {
    const points = h.get("points"), all = cosines(points), largest = all.at(-1);
    const circle = (at) => Array.from({ length: 121 }, (_, k) => at(k * Math.PI / 60));
    ball.line(circle((t) => [Math.cos(t), Math.sin(t)]), h.colors.soft, { width: 1.5 });
    const rings = [(t) => [Math.cos(t), Math.sin(t), 0], ...[0, 60, 120].map((a) => (t) =>
      [Math.cos(t) * Math.cos(a * degrees), Math.cos(t) * Math.sin(a * degrees), Math.sin(t)])];
    if (round()) for (const ring of rings) {
      const flat = circle((t) => seen(ring(t)));
      flat.slice(1).forEach((p, k) => { if (p[2] >= 0 && flat[k][2] >= 0) ball.line([flat[k], p], h.colors.faint, { width: 1.5 }); });
    }
    const nearest = pairs(points, (p, q) => [p, q]).sort((a, b) => product(...b) - product(...a))[0];
    ball.line(nearest.map(seen), h.colors.red, { width: 2, dash: [5, 4] });
    points.map(seen).sort((a, b) => a[2] - b[2]).forEach(([x, y, near]) => {
      if (near < 0) ball.dot(x, y, h.colors.paper, { size: 6, edge: h.colors.blue });
      else ball.dot(x, y, h.colors.blue, { size: 9 });
    });
    const simplex = -1 / (points.length - 1);
    right.line([[0, simplex], [1, simplex]], h.colors.orange, { dash: [7, 4] });
    all.forEach((value, k) => right.dot(all.length > 1 ? k / (all.length - 1) : 0.5, value, h.colors.red, { size: 4 }));
    right.text(0.03, simplex, "regular simplex", h.colors.orange, { align: "left", dy: -11 });
    right.axes();
    h.say(`${points.length} charges on the ${round() ? "sphere" : "circle"}: energy ${words(energy(points), 3)}, smallest angle ${words(Math.acos(clamp(largest, -1, 1)) / degrees, 1)}°, largest cosine ${words(largest, 3)}; a simplex has ${words(simplex, 3)}.`);
  };
}
export default { render };
