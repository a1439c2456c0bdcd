// A point and the place in the ball to which a map brings it: drag both, see the force there and what comes back.
import { hand, words } from "./common.js";

const TINY = 2 ** -1022;
/** Where a length goes, and the slope of that: as labkit.embeddings has them. */
const LENGTHS = {
  "L2": (_, r) => [r, 0],
  "Unit-Range": (_, r) => [r, 0],
  "Unit-Bounce": (length, r) => {
    const phase = (length + r) % (4 * r);
    return phase < 2 * r ? [phase - r, 1] : [3 * r - phase, -1];
  },
  "Unit-Bounce, authors' code": (length, r) => {
    const k = Math.floor(length / r), back = r - (length - k * r);
    return k % 2 === 1 ? [back, -1] : [-back, 1];
  },
  "Unit-Bounce, authors' limit": (length, r) => (length < 2 * r ? [2 * r - length, -1] : [0, 0]),
};

/** Where a map puts a point, and what it sends back of a force on that place: the force times its Jacobian. */
export function through(map, point, radius, detached, force) {
  const largest = Math.max(...point.map(Math.abs));
  if (largest < TINY) return map === "L2" ? { place: [0, 0], back: [0, 0] } : { place: point, back: force };
  const divided = point.map((x) => x / largest), norm = Math.sqrt(divided[0] ** 2 + divided[1] ** 2);
  const length = largest * norm, unit = divided.map((x) => x / norm);
  if (map !== "L2" && length <= radius) return { place: point, back: force };
  const [rho, slope] = LENGTHS[map](length, radius), place = divided.map((x) => x * (rho / norm));
  const across = rho / length, out = detached && map !== "L2" ? across : slope;
  const part = unit[0] * force[0] + unit[1] * force[1]; // of the force along the point's direction
  return { place, back: force.map((f, k) => out * part * unit[k] + across * (f - part * unit[k])) };
}

/** Where a map puts what lies `length` along a direction; below 0: on the opposite side. */
export function landing(map, length, radius) {
  return through(map, [length, 0], radius, false, [0, 0]).place[0];
}

const [SIDE, LONGEST] = [3, 4.5];

function render({ model, el }) {
  const h = hand({ model, el }, { label: "A point and where a map puts it", width: 760, height: 392 });
  const left = h.plane({ left: 52, width: 320, height: 320, x: [-SIDE, SIDE], y: [-SIDE, SIDE], xlabel: "x₁", ylabel: "x₂" });
  const right = h.plane({ left: 456, width: 290, height: 320, x: [0, LONGEST], y: [-2.2, 2.2], xlabel: "length before",
    ylabel: "place after, along its direction" });
  const state = () => {
    const [map, point, radius, detached] = ["map", "point", "radius", "detached"].map(h.get), target = h.get("target");
    const { place } = through(map, point, radius, detached, [0, 0]), force = target.map((x, k) => x - place[k]);
    return { map, point, radius, target, place, force, ...through(map, point, radius, detached, force) };
  };
  h.point("point", left, () => h.get("point"), (at) => h.set("point", at), { step: 0.1 });
  h.point("target of its place", left, () => h.get("target"), (at) => h.set("target", at), { step: 0.1 });
  h.choice("map", "map", Object.keys(LENGTHS));
  h.slider("radius", "radius", 0.5, 2, 0.05);
  h.check("detached", "detached norm");
  h.play("Let it run", () => {
    const { point, back } = state();
    h.set("point", point.map((x, k) => x + 0.03 * back[k]));
    return Math.hypot(...back) > 1e-3 && Math.max(...h.get("point").map(Math.abs)) < SIDE;
  });
  h.watch("map", "point", "target", "radius", "detached");
  h.draw = () => {
    const { map, point, radius, target, place, force, back } = state(), length = Math.hypot(...point);
    const turn = Array.from({ length: 121 }, (_, k) => 2 * Math.PI * k / 120);
    left.line(turn.map((a) => [radius * Math.cos(a), radius * Math.sin(a)]), h.colors.ink, { width: 1.5, dash: [2, 3] });
    left.line([point, [0, 0], place], h.colors.soft, { width: 1 });
    left.dot(...target, h.colors.purple, { shape: "diamond", size: 7 });
    left.dot(...place, h.colors.orange, { size: 8 });
    left.dot(...point, h.colors.red, { shape: "square", size: 7 });
    left.clipped(() => {
      left.arrow(...place, ...force, h.colors.purple, 2);
      left.arrow(...point, ...back, h.colors.red, 3);
    });
    [["target", target, "purple"], ["after", place, "orange"], ["before", point, "red"]].forEach(([name, at, color], k) =>
      left.text(...at, name, h.colors[color], { dy: [-17, 18, 18][k], bold: true }));
    left.axes();
    right.line([[0, 0], [LONGEST, 0]], h.colors.soft, { width: 1 });
    let piece = [];
    for (let k = 1; k <= 1100; k++) {
      const at = [k * LONGEST / 1100, landing(map, k * LONGEST / 1100, radius)];
      if (piece.length && Math.abs(at[1] - piece.at(-1)[1]) > radius / 2) { right.line(piece, h.colors.blue); piece = []; }
      piece.push(at);
    }
    right.line(piece, h.colors.blue);
    const side = landing(map, length, radius);
    right.clipped(() => right.dot(length, side, h.colors.orange, { size: 8 }));
    right.axes();
    const part = length ? (point[0] * back[0] + point[1] * back[1]) / length : 0;
    const sideways = Math.sqrt(Math.max(back[0] ** 2 + back[1] ** 2 - part ** 2, 0));
    h.say(`${map}: length ${words(length)} goes to ${words(side)}. A force of ${words(Math.hypot(...force))} pulls at the place; `
      + `back to the point come ${words(part)} outward and ${words(sideways)} across.`);
  };
}
export default { render };
