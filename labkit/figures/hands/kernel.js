// A kernel editor: paint on the kernel and on the picture, walk over the result and see the window and its products.
import { clamp, hand, words } from "./common.js";

/** Where the padded row or column k of `size` pixels takes its pixel from; -1: nowhere, it is 0. */
const source = (k, size, border) => {
  if (k >= 0 && k < size) return k;
  if (border === "reflect") return size - 1 - Math.abs(size - 1 - Math.abs(k));
  if (border === "replicate") return clamp(k, 0, size - 1);
  return border === "circular" ? (k + size) % size : -1;
};
/** The image with so many pixels more on each side, as labkit.filters has them. */
export function padded(image, padding, border) {
  const places = (size) => Array.from({ length: size + 2 * padding }, (_, k) => source(k - padding, size, border));
  const columns = places(image[0].length);
  return places(image.length).map((i) => columns.map((j) => (i < 0 || j < 0 ? 0 : image[i][j])));
}
const turn = (kernel) => kernel.map((line) => [...line].reverse()).reverse();
/** The products of the weights (turned for a convolution) with the padded image's pixels, from (top, left) on. */
export function products(image, kernel, top, left, convolution) {
  return (convolution ? turn(kernel) : kernel).map((line, u) => line.map((weight, v) => weight * image[top + u][left + v]));
}
const sum = (grid) => grid.reduce((all, line) => line.reduce((total, one) => total + one, all), 0);
/** The sums of products at all places: labkit.filters.correlate2d, or convolve2d. */
export function filtered(image, kernel, convolution, stride, padding, border) {
  const whole = padded(image, padding, border), used = convolution ? turn(kernel) : kernel;
  const count = (size, weights) => Math.floor((size - weights) / stride) + 1;
  const columns = count(whole[0].length, kernel[0].length);
  return Array.from({ length: count(whole.length, kernel.length) }, (_, i) =>
    Array.from({ length: columns }, (_, j) => sum(products(whole, used, stride * i, stride * j, false))));
}

const square = (size, weight) => Array.from({ length: size }, (_, i) =>
  Array.from({ length: size }, (_, j) => weight(i - (size - 1) / 2, j - (size - 1) / 2)));
const SOBEL = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]];
const PRESETS = {
  Identity: (size) => square(size, (y, x) => (x === 0 && y === 0 ? 1 : 0)),
  Box: (size) => square(size, () => 1 / size ** 2),
  Gaussian: (size, sigma) => {
    const bell = square(size, (y, x) => Math.exp(-(x * x + y * y) / (2 * sigma * sigma)));
    return bell.map((line) => line.map((one) => one / sum(bell)));
  },
  Sharpen: (size, sigma) => PRESETS.Gaussian(size, sigma).map((line, i) =>
    line.map((one, j) => PRESETS.Identity(size)[i][j] * 2 - one)),
  Laplacian: (size, sigma) => {
    const bell = PRESETS.Gaussian(size, sigma).flat(), next = () => bell.shift();
    const bent = square(size, (y, x) => (x * x + y * y - 2 * sigma ** 2) / sigma ** 4 * next());
    return bent.map((line) => line.map((one) => one - sum(bent) / size ** 2));
  },
  "Sobel across": () => SOBEL,
  "Sobel down": () => SOBEL[0].map((_, j) => SOBEL.map((line) => line[j])),
};
/** The kernel of that name, size × size; sigma in pixels. Sobel's are 3×3. */
export function preset(name, size, sigma) { return PRESETS[name](size, sigma); }

const brief = (value) => words(value).replace(/\.?0+$/, "");
const size = (grid) => [grid.length, grid[0].length];
const MOST = 9, RAISE = 0.5; // the largest weight; what one touch adds to it
const LAYOUTS = [ // width and height; then left, top and side of picture, kernel, products and result
  [760, 356, [6, 30, 280], [310, 30, 140], [310, 210, 140], [474, 30, 280]],
  [400, 446, [4, 24, 192], [4, 248, 192], [204, 248, 192], [204, 24, 192]],
];

function render({ model, el }) {
  const h = hand({ model, el }, { label: "Kernel editor", width: 760, height: 356 }), c = h.context;
  const [whole, inside, weights, terms, result] = [0, 1, 2, 3, 4].map(() => h.plane({}));
  const original = h.get("image"), shown = {}; // the grids of the last frame, by the trait that points into them
  let made = ""; // the preset that the kernel is
  const at = (trait) => h.get(trait).map((one, k) => clamp(one, 0, size(shown[trait])[k] - 1));
  const painted = (grid, [row, column], change) => grid.map((line, i) =>
    (i === row ? line.map((old, j) => (j === column ? change(old) : old)) : line));
  const setKernel = (kernel, name = "") => { made = name; h.set("kernel", kernel); };
  const make = (name, length = h.get("kernel").length) => setKernel(preset(name, length, h.get("sigma")), name);
  const setWeight = (cell, change) => setKernel(painted(h.get("kernel"), cell, (old) => clamp(change(old), -MOST, MOST)));
  const grid = (what, plane, trait, paint) => h.cells(what, plane, () => at(trait), (cell) => h.set(trait, cell), {
    paint, size: () => size(shown[trait]), lower: () => h.get("lower"), say: () => {
      const [row, column] = at(trait), value = shown[trait][row][column], all = shown[trait].flat();
      return [value, Math.min(...all), Math.max(...all), `row ${row + 1}, column ${column + 1}: ${brief(value)}`];
    } });
  const area = grid("brightness of the picture", inside, "pixel", (cell, sign) => h.set("image", painted(h.get("image"), cell, () => (sign > 0 ? 1 : 0))));
  grid("weight of the kernel", weights, "weight", (cell, sign) => setWeight(cell, (old) => old + sign * RAISE));
  grid("sum of products in the result", result, "place");

  Object.keys(PRESETS).forEach((name) => h.button(name, () => make(name)));
  h.slider("sigma", "Gaussian, σ", 0.3, 4, 0.1, { digits: 1, unit: "pixels" }).addEventListener("input", () =>
    make(["Sharpen", "Laplacian"].includes(made) ? made : "Gaussian"));
  [["Smaller kernel", -2], ["Larger kernel", 2]].forEach(([name, more]) => h.button(name, () => {
    const old = h.get("kernel"), next = clamp(old.length + more, 1, 7), [u, v] = size(old).map((one) => (one - 1) / 2);
    if (made && !made.startsWith("Sobel")) make(made, next);
    else setKernel(square(next, (y, x) => old[y + u]?.[x + v] ?? 0));
  }));
  h.number(() => `weight in row ${at("weight")[0] + 1}, column ${at("weight")[1] + 1}`, () => h.get("kernel")[at("weight")[0]][at("weight")[1]],
    (value) => setWeight(at("weight"), () => value), { low: -MOST, high: MOST });
  h.check("lower", "painting lowers (as with Shift)");
  h.check("convolution", "convolution: turn the kernel");
  h.slider("stride", "stride", 1, 4, 1, { digits: 0 });
  h.slider("padding", "padding", 0, 3, 1, { digits: 0 });
  h.choice("border", "padded with", ["zeros", "reflect", "replicate", "circular"]);
  h.button("Black picture, and back", () => h.set("image",
    h.get("image").flat().some(Boolean) ? h.get("image").map((line) => line.map(() => 0)) : original));
  h.watch("image", "kernel", "convolution", "stride", "padding", "border", "place", "weight", "pixel");

  const frame = (plane, [row, column], [rows, columns], color = "#ffb84d") => {
    const cell = plane.width / plane.x[1];
    for (const [strokeStyle, lineWidth] of [["#222222", 5], [color, 2.5]]) // a dark edge: seen on black, gray and white
      Object.assign(c, { strokeStyle, lineWidth }).strokeRect(plane.left + column * cell, plane.top + row * cell, columns * cell, rows * cell);
  };
  const gray = (plane, values, low, high) => {
    c.fillStyle = "#000000"; c.fillRect(plane.left, plane.top, plane.width, plane.height);
    plane.heat(plane.x[1], plane.y[1], (x, y) => (values[Math.floor(plane.y[1] - y)][Math.floor(x)] - low) / (high - low), "#ffffff", { smooth: false });
  };
  const numbers = (plane, values) => {
    const cell = plane.width / plane.x[1], strongest = Math.max(1e-12, ...values.flat().map(Math.abs));
    Object.assign(c, { font: h.font(Math.min(14, cell / 2.7)), textAlign: "center", textBaseline: "middle", strokeStyle: h.colors.soft, lineWidth: 1 });
    values.forEach((line, i) => line.forEach((value, j) => {
      const box = [plane.left + j * cell, plane.top + i * cell, cell, cell];
      Object.assign(c, { fillStyle: value < 0 ? h.colors.orange : h.colors.purple, globalAlpha: 0.45 * Math.abs(value) / strongest }).fillRect(...box);
      Object.assign(c, { fillStyle: h.colors.ink, globalAlpha: 1 }).strokeRect(...box);
      if (cell > 24) c.fillText(brief(value), box[0] + cell / 2, box[1] + cell / 2);
    }));
  };
  h.draw = () => {
    const [width, height, ...boxes] = LAYOUTS[h.stage.getBoundingClientRect().width < 560 ? 1 : 0];
    const [image, kernel, convolution, stride, padding, border] = ["image", "kernel", "convolution", "stride", "padding", "border"].map(h.get);
    const around = padded(image, padding, border), out = filtered(image, kernel, convolution, stride, padding, border);
    Object.assign(shown, { pixel: image, weight: kernel, place: out });
    if (h.width !== width) h.resize(width, height);
    const place = at("place"), window = place.map((one) => stride * one), parts = products(around, kernel, ...window, convolution);
    const total = brief(sum(parts)), scale = Math.max(...size(around));
    const fit = (plane, [left, top, side], values, count) => {
      const [rows, columns] = size(values), [height, width] = [side / count * rows, side / count * columns];
      Object.assign(plane, { x: [0, columns], y: [0, rows], width, height, left: left + (side - width) / 2, top: top + (side - height) / 2 });
    };
    fit(whole, boxes[0], around, scale); fit(inside, boxes[0], image, scale); fit(result, boxes[3], out, scale);
    fit(weights, boxes[1], kernel, Math.max(...size(kernel))); fit(terms, boxes[2], kernel, Math.max(...size(kernel)));
    const signed = kernel.flat().some((one) => one < 0), most = Math.max(signed ? 1e-12 : 1, ...out.flat().map(Math.abs));
    gray(whole, around, 0, 1); gray(result, out, signed ? -most : 0, most); numbers(weights, kernel); numbers(terms, parts);
    if (padding) { c.setLineDash([3, 3]); frame(inside, [0, 0], size(image), "#ffffff"); c.setLineDash([]); }
    frame(whole, window, size(kernel)); frame(result, place, [1, 1]); frame(weights, at("weight"), [1, 1], "#69b1f5");
    if (document.activeElement === area) frame(inside, at("pixel"), [1, 1], "#69b1f5");
    Object.assign(c, { fillStyle: h.colors.ink, font: h.font(13), textAlign: "center", textBaseline: "bottom" });
    const titles = [`picture ${size(image).join("×")}${padding ? `, ${padding} around` : ""}`, `kernel, sum ${brief(sum(kernel))}`,
      `products, sum ${total}`, `result ${size(out).join("×")}, ${signed ? `−${brief(most)}` : 0} to ${brief(most)}`];
    titles.forEach((title, k) => c.fillText(title, boxes[k][0] + boxes[k][2] / 2, boxes[k][1] - 7));
    const used = (convolution ? turn(kernel) : kernel).flatMap((line, u) => line.map((weight, v) => [weight, around[window[0] + u][window[1] + v]]));
    const written = used.filter(([weight]) => weight).map(([weight, pixel]) => `${brief(pixel)}·${weight < 0 ? `(${brief(weight)})` : brief(weight)}`);
    h.say(`${convolution ? "Convolution" : "Correlation"}, row ${place[0] + 1}, column ${place[1] + 1}: ${
      written.length <= 9 ? written.join(" + ") || 0 : `the sum of ${used.length} products`} = ${total}`);
  };
}
export default { render };
