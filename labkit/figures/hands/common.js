// What all hands share: a canvas that fits its place, axes, points to drag, sliders, keys, light and dark.
//
// Everything one can grab is an element of the page with a role, a name and a value in words, so that the keyboard and
// screen readers reach it; the canvas below only shows. Nothing here asks the network for anything.

const LIGHT = { ink: "#222222", paper: "#ffffff", faint: "#d5d5d5", soft: "#767676", blue: "#2472b2", red: "#bd1f01",
  orange: "#b86e00", purple: "#832db6", green: "#2e7d32", brown: "#8a5442" };
const DARK = { ink: "#e8e8e8", paper: "#111111", faint: "#444444", soft: "#9a9a9a", blue: "#69b1f5", red: "#ff7b66",
  orange: "#ffb84d", purple: "#cf9cf0", green: "#7ccf80", brown: "#d3a38f" };

const STYLE = `
.hand { font: 14px/1.4 system-ui, sans-serif; max-width: 760px; }
.hand canvas { display: block; width: 100%; height: auto; }
.hand .stage { position: relative; touch-action: pan-y; }
.hand .grip { position: absolute; width: 30px; height: 30px; margin: -15px 0 0 -15px; border-radius: 50%; cursor: grab;
  touch-action: none; }
.hand .area { margin: 0; border-radius: 2px; cursor: crosshair; }
.hand .grip:focus-visible, .hand button:focus-visible, .hand input:focus-visible, .hand select:focus-visible {
  outline: 3px solid #2472b2; outline-offset: 1px; box-shadow: 0 0 0 5px #ffffffcc; }
.hand .controls { display: flex; flex-wrap: wrap; gap: 4px 18px; align-items: center; margin-top: 4px; }
.hand .together { display: inline-flex; flex-wrap: wrap; gap: 0 10px; width: 360px; }
.hand .together > label:first-child { width: 140px; }
.hand label { display: inline-flex; align-items: center; gap: 6px; }
.hand output { min-width: 4.5em; font-variant-numeric: tabular-nums; }
.hand button, .hand select { font: inherit; padding: 3px 10px; }
.hand input[type=range] { width: 130px; }
.hand .said { min-height: 1.4em; margin: 4px 0 0; font-variant-numeric: tabular-nums; }`;

/** A number as people read it: a fixed count of digits, a true minus sign. */
export const words = (value, digits = 2) => {
  const text = Number(value).toFixed(digits);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "\u2212");
};
export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

const make = (tag, attributes = {}, parent = null) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value);
  }
  if (parent) parent.append(element);
  return element;
};

/** How bright the page is behind an element, 0 to 1. */
const brightness = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const [r, g, b, a = 1] = (getComputedStyle(at).backgroundColor.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
    if (a > 0.5) return (0.3 * r + 0.6 * g + 0.1 * b) / 255;
  }
  return 1;
};

/** A rectangle of the canvas with coordinates of its own: x and y are [low, high], the rest pixels of the drawing. */
class Plane {
  constructor(hand, { left = 60, top = 14, width, height, x = [-1, 1], y = [-1, 1], xlabel = "", ylabel = "", title = "" }) {
    Object.assign(this, { hand, left, top, width, height, x, y, xlabel, ylabel, title });
  }
  px(x) { return this.left + (x - this.x[0]) / (this.x[1] - this.x[0]) * this.width; }
  py(y) { return this.top + (this.y[1] - y) / (this.y[1] - this.y[0]) * this.height; }
  at(px, py) {
    return [this.x[0] + (px - this.left) / this.width * (this.x[1] - this.x[0]),
      this.y[1] - (py - this.top) / this.height * (this.y[1] - this.y[0])];
  }
  /** Axes with ticks and names. */
  axes(count = 5) {
    const { context: c, colors } = this.hand;
    c.save();
    Object.assign(c, { strokeStyle: colors.soft, fillStyle: colors.ink, lineWidth: 1, font: this.hand.font(12) });
    c.strokeRect(this.left, this.top, this.width, this.height);
    Object.assign(c, { textAlign: "center", textBaseline: "top" });
    for (const value of ticks(...this.x, count)) c.fillText(tickText(value), this.px(value), this.top + this.height + 4);
    c.fillText(this.xlabel, this.left + this.width / 2, this.top + this.height + 18 * this.hand.zoom);
    if (this.title) { c.textBaseline = "bottom"; c.fillText(this.title, this.left + this.width / 2, this.top - 3); }
    Object.assign(c, { textAlign: "right", textBaseline: "middle" });
    for (const value of ticks(...this.y, count)) c.fillText(tickText(value), this.left - 5, this.py(value));
    c.translate(this.left - 44, this.top + this.height / 2);
    c.rotate(-Math.PI / 2);
    c.textAlign = "center";
    c.fillText(this.ylabel, 0, 0);
    c.restore();
  }
  /** Draw inside the plane only. */
  clipped(draw) {
    const c = this.hand.context;
    c.save(); c.beginPath(); c.rect(this.left, this.top, this.width, this.height); c.clip(); draw(c); c.restore();
  }
  /**
   * Color the plane by at(x, y), from 0 (nothing) to 1 (the full color), in columns × rows cells.
   * `of` lists all that `at` depends on: then it is computed anew only when one of them has changed.
   */
  heat(columns, rows, at, color, { smooth = true, of = null } = {}) {
    const key = of && JSON.stringify([of, columns, rows, color, this.x, this.y]);
    if (key === null || key !== this.heated) {
      const picture = new ImageData(columns, rows), [r, g, b] = [1, 3, 5].map((k) => parseInt(color.slice(k, k + 2), 16));
      for (let j = 0, k = 0; j < rows; j++) for (let i = 0; i < columns; i++) {
        const x = this.x[0] + (i + 0.5) / columns * (this.x[1] - this.x[0]);
        const y = this.y[1] - (j + 0.5) / rows * (this.y[1] - this.y[0]);
        picture.data[k++] = r; picture.data[k++] = g; picture.data[k++] = b;
        picture.data[k++] = 255 * clamp(at(x, y), 0, 1);
      }
      this.sheet = new OffscreenCanvas(columns, rows);
      this.sheet.getContext("2d").putImageData(picture, 0, 0);
      this.heated = key;
    }
    this.hand.context.imageSmoothingEnabled = smooth;
    this.hand.context.drawImage(this.sheet, this.left, this.top, this.width, this.height);
  }
  line(points, color, { width = 2, dash = [] } = {}) {
    this.clipped((c) => {
      Object.assign(c, { strokeStyle: color, lineWidth: width, lineJoin: "round" });
      c.setLineDash(dash); c.beginPath();
      points.forEach(([x, y], i) => (i ? c.lineTo(this.px(x), this.py(y)) : c.moveTo(this.px(x), this.py(y))));
      c.stroke();
    });
  }
  /** shape: circle, square, triangle, diamond or cross, so that color is never the only difference. */
  dot(x, y, color, { size = 7, shape = "circle", edge = this.hand.colors.paper } = {}) {
    const c = this.hand.context, [u, v] = [this.px(x), this.py(y)], s = size;
    c.save();
    Object.assign(c, { fillStyle: color, strokeStyle: edge, lineWidth: 1.5 });
    c.beginPath();
    if (shape === "square") c.rect(u - s, v - s, 2 * s, 2 * s);
    else if (shape === "triangle") { c.moveTo(u, v - 1.2 * s); c.lineTo(u + 1.1 * s, v + s); c.lineTo(u - 1.1 * s, v + s); c.closePath(); }
    else if (shape === "diamond") { c.moveTo(u, v - 1.3 * s); c.lineTo(u + 1.1 * s, v); c.lineTo(u, v + 1.3 * s); c.lineTo(u - 1.1 * s, v); c.closePath(); }
    else c.arc(u, v, s, 0, 2 * Math.PI);
    c.fill(); c.stroke(); c.restore();
  }
  arrow(x, y, dx, dy, color, width = 3) {
    const c = this.hand.context, [a, b] = [this.px(x), this.py(y)], [u, v] = [this.px(x + dx), this.py(y + dy)];
    const length = Math.hypot(u - a, v - b);
    if (length < 1) return;
    const [ex, ey] = [(u - a) / length, (v - b) / length], head = Math.min(2 + 2.7 * width, length);
    c.save();
    Object.assign(c, { strokeStyle: color, fillStyle: color, lineWidth: width });
    c.beginPath(); c.moveTo(a, b); c.lineTo(u - ex * head * 0.8, v - ey * head * 0.8); c.stroke();
    c.beginPath(); c.moveTo(u, v);
    c.lineTo(u - ex * head - ey * head * 0.55, v - ey * head + ex * head * 0.55);
    c.lineTo(u - ex * head + ey * head * 0.55, v - ey * head - ex * head * 0.55);
    c.fill(); c.restore();
  }
  text(x, y, text, color = this.hand.colors.ink, { align = "center", dx = 0, dy = 0, bold = false } = {}) {
    const c = this.hand.context;
    c.save();
    Object.assign(c, { font: this.hand.font(13, bold), textAlign: align, textBaseline: "middle",
      lineWidth: 3, strokeStyle: this.hand.colors.paper, fillStyle: color });
    c.strokeText(text, this.px(x) + dx, this.py(y) + dy); c.fillText(text, this.px(x) + dx, this.py(y) + dy);
    c.restore();
  }
}

const tickText = (value) => (Math.abs(value) < 1e-12 ? "0" : String(+value.toPrecision(6)).replace("-", "\u2212"));
/** About `count` round numbers from low to high. */
export const ticks = (low, high, count = 5) => {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= raw);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return found;
};

/** The figure in `el` over anywidget's model. Set `hand.draw`; it runs once a frame, whenever something has changed. */
export function hand({ model, el }, { label, width = 640, height = 420 }) {
  if (!document.getElementById("hand-style")) make("style", { id: "hand-style" }, document.head).textContent = STYLE;
  const root = make("div", { class: "hand", role: "group", "aria-label": label }, el);
  const stage = make("div", { class: "stage" }, root);
  const canvas = make("canvas", { role: "img", "aria-label": label }, stage);
  let controls = make("div", { class: "controls" }, root);
  const said = make("p", { class: "said", role: "status" }, root);
  const context = canvas.getContext("2d");
  const grips = [], refreshers = [];
  let waiting = 0, timer = 0;

  const self = { model, root, stage, canvas, context, controls, width, height, colors: LIGHT, draw: () => {}, frames: 0, zoom: 1 };
  /** A font of the drawing; on a narrow screen, where all shrinks, letters shrink less. */
  self.font = (size, bold = false) => `${bold ? "bold " : ""}${size * self.zoom}px system-ui, sans-serif`;
  self.get = (name) => model.get(name);
  /** Change a value; the kernel, if there is one, hears of it at most ten times a second. */
  self.set = (name, value) => {
    model.set(name, value);
    self.redraw();
    if (!timer) timer = setTimeout(() => { timer = 0; model.save_changes(); }, 100);
  };
  self.say = (text) => { if (said.textContent !== text) said.textContent = text; };
  self.redraw = () => { if (!waiting) waiting = requestAnimationFrame(frame); };
  /** Another size of the drawing, for a narrow screen; `draw` has to place its planes anew. */
  self.resize = (wide, high) => { self.width = width = wide; self.height = height = high; self.redraw(); };

  function frame() {
    waiting = 0;
    const ratio = Math.min(3, Math.max(1, (canvas.clientWidth || width) / width * (window.devicePixelRatio || 1)));
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
    }
    self.zoom = clamp(width / (canvas.clientWidth || width), 1, 1.6);
    self.colors = brightness(root) > 0.5 ? LIGHT : DARK;
    root.style.color = self.colors.ink;
    context.setTransform(canvas.width / width, 0, 0, canvas.height / height, 0, 0);
    context.clearRect(0, 0, width, height);
    self.draw();
    grips.forEach((place) => place());
    refreshers.forEach((refresh) => refresh());
    self.frames += 1;
  }

  self.plane = (options) => new Plane(self, { width: width - 80, height: height - 60, ...options });

  /** A point to drag: get() -> [x, y], set([x, y]); arrows move it by `step`, with Shift by a tenth of that.
   * move: where a key takes it. said: its value in words. shown: whether it is there. */
  self.point = (name, plane, get, set, { step = 0.1, digits = 2, one = false, said = null, shown = () => true,
    move = ([x, y], dx, dy) => [x + dx, y + dy] } = {}) => {
    const grip = make("div", { class: "grip", role: "slider", tabindex: "0", "aria-label": name }, stage);
    const put = ([x, y]) => { set([clamp(x, ...plane.x), clamp(y, ...plane.y)]); self.redraw(); };
    grip.addEventListener("pointerdown", (event) => { grip.setPointerCapture(event.pointerId); grip.focus({ preventScroll: true }); event.preventDefault(); });
    grip.addEventListener("pointermove", (event) => {
      if (!grip.hasPointerCapture(event.pointerId)) return;
      const box = canvas.getBoundingClientRect();
      put(plane.at((event.clientX - box.left) / box.width * width, (event.clientY - box.top) / box.height * height));
    });
    grip.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (!by) return;
      event.preventDefault(); event.stopPropagation();
      const size = event.shiftKey ? step / 10 : step;
      put(move(get(), by[0] * size, by[1] * size));
    });
    grips.push(() => {
      grip.hidden = !shown();
      if (grip.hidden) return;
      const [x, y] = get();
      grip.style.left = `${plane.px(x) / width * 100}%`;
      grip.style.top = `${plane.py(y) / height * 100}%`;
      grip.setAttribute("aria-valuenow", String(x));
      grip.setAttribute("aria-valuemin", String(plane.x[0])); grip.setAttribute("aria-valuemax", String(plane.x[1]));
      const both = () => `${words(x, digits)} across, ${words(y, digits)} up`;
      grip.setAttribute("aria-valuetext", said ? said() : one ? words(x, digits) : both());
    });
    return grip;
  };

  /** A grid of cells over a whole plane: size() -> [rows, columns]. The arrows choose the cell get() -> [row, column], and
   *  so does the pointer: by passing over it, or, where paint(cell, ±1) is given, by pressing and dragging, which paint as
   *  Space does; with Shift, or while lower() is true, downwards. + and - paint too. say() -> [value, least, most, words]. */
  self.cells = (name, plane, get, set, { size, say, paint = null, lower = () => false }) => {
    const area = make("div", { class: "grip area", role: "slider", tabindex: "0", "aria-label": name }, stage);
    const choose = (cell) => { set(cell.map((one, k) => clamp(one, 0, size()[k] - 1))); self.redraw(); };
    const sign = (event) => (event.shiftKey !== lower() ? -1 : 1);
    let last = "";
    const go = (event) => {
      const box = area.getBoundingClientRect(), [rows, columns] = size();
      choose([Math.floor((event.clientY - box.top) / box.height * rows), Math.floor((event.clientX - box.left) / box.width * columns)]);
      const cell = get();
      if (paint && String(cell) !== last) paint(cell, sign(event)); // once each time that it comes to a cell
      last = String(cell);
    };
    area.addEventListener("pointerdown", (event) => {
      area.setPointerCapture(event.pointerId); area.focus({ preventScroll: true }); event.preventDefault();
      last = ""; go(event);
    });
    area.addEventListener("pointermove", (event) => {
      if (paint && !area.hasPointerCapture(event.pointerId)) return;
      const passed = event.getCoalescedEvents?.() ?? []; // all places since the last frame: a quick stroke has no holes
      (passed.length ? passed : [event]).forEach(go);
    });
    area.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      const change = paint && { " ": sign(event), "+": 1, "-": -1 }[event.key];
      if (!by && !change) return;
      event.preventDefault(); event.stopPropagation();
      if (by) choose(get().map((one, k) => one + by[k])); else paint(get(), change);
      self.redraw();
    });
    grips.push(() => {
      Object.assign(area.style, { left: `${plane.left / width * 100}%`, top: `${plane.top / height * 100}%`,
        width: `${plane.width / width * 100}%`, height: `${plane.height / height * 100}%` });
      ["valuenow", "valuemin", "valuemax", "valuetext"].forEach((key, k) => area.setAttribute(`aria-${key}`, say()[k]));
    });
    return area;
  };

  /** What `add` adds to the controls stays together in one line. */
  self.together = (add) => {
    const all = self.controls;
    controls = make("div", { class: "together" }, all);
    add();
    controls = all;
  };
  /** Read and write a trait, or one entry of it: "rates.Adam". */
  const place = (path) => {
    const [trait, key] = path.split(/\.(.*)/s);
    return key === undefined ? [() => self.get(trait), (value) => self.set(trait, value)]
      : [() => self.get(trait)[key], (value) => self.set(trait, { ...self.get(trait), [key]: value })];
  };
  /** A slider for a number; with `log` it moves the number's logarithm to base 10, from low to high. */
  self.slider = (path, name, low, high, step, { digits = 2, unit = "", log = false } = {}) => {
    const [read, write] = place(path), label = make("label", {}, controls);
    make("span", {}, label).textContent = name;
    const input = make("input", { type: "range", min: String(low), max: String(high), step: String(step) }, label);
    const shown = make("output", { "aria-hidden": "true" }, label);
    input.addEventListener("input", () => write(log ? Number((10 ** input.value).toPrecision(3)) : Number(input.value)));
    input.addEventListener("keydown", (event) => event.stopPropagation());
    refreshers.push(() => {
      const value = log ? Math.log10(read()) : read(), text = `${words(read(), digits)}${unit ? ` ${unit}` : ""}`;
      if (Math.abs(Number(input.value) - value) > step / 2) input.value = String(value);
      shown.textContent = text; input.setAttribute("aria-valuetext", text);
    });
    return input;
  };
  /** A field for a typed number: get() -> number, set(number); `name` may be a function of the moment. */
  self.number = (name, get, set, { low, high, step = 0.1 }) => {
    const label = make("label", {}, controls), text = make("span", {}, label);
    const input = make("input", { type: "number", min: String(low), max: String(high), step: String(step) }, label);
    input.addEventListener("input", () => { if (input.value !== "") set(clamp(Number(input.value), low, high)); });
    input.addEventListener("keydown", (event) => event.stopPropagation());
    refreshers.push(() => {
      text.textContent = name();
      if (document.activeElement !== input || Number(input.value) !== get()) input.value = String(+get().toFixed(4));
    });
    return input;
  };
  self.check = (path, name, color = "ink") => {
    const [read, write] = place(path), label = make("label", {}, controls), input = make("input", { type: "checkbox" }, label);
    make("span", {}, label).textContent = name;
    input.addEventListener("change", () => write(input.checked));
    refreshers.push(() => { input.checked = Boolean(read()); label.style.color = self.colors[color]; });
    return input;
  };
  self.choice = (trait, name, options) => {
    const label = make("label", {}, controls);
    make("span", {}, label).textContent = name;
    const select = make("select", {}, label);
    options.forEach((option) => { make("option", { value: option }, select).textContent = option; });
    select.addEventListener("change", () => self.set(trait, select.value));
    select.addEventListener("keydown", (event) => event.stopPropagation());
    refreshers.push(() => { select.value = self.get(trait); });
    return select;
  };
  self.button = (name, act) => {
    const button = make("button", { type: "button" }, controls);
    button.textContent = name;
    button.addEventListener("click", () => { act(button); self.redraw(); });
    button.addEventListener("keydown", (event) => event.stopPropagation());
    return button;
  };
  /** A button that lets step() run once a frame until it is pressed again, step() returns false or the figure is gone. */
  self.play = (name, step) => {
    let running = false;
    const button = self.button(name, () => {
      running = !running;
      button.textContent = running ? "Stop" : name;
      if (running) requestAnimationFrame(go);
    });
    const go = () => {
      if (!running) return;
      running = root.isConnected && step() !== false;
      button.textContent = running ? "Stop" : name;
      self.redraw();
      if (running) requestAnimationFrame(go);
    };
    return button;
  };
  /** Clicks on a plane: act([x, y]). */
  self.clicks = (plane, act) => canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    const [px, py] = [(event.clientX - box.left) / box.width * width, (event.clientY - box.top) / box.height * height];
    const inside = px >= plane.left && px <= plane.left + plane.width && py >= plane.top && py <= plane.top + plane.height;
    if (inside) { act(plane.at(px, py)); self.redraw(); }
  });

  self.watch = (...traits) => traits.forEach((trait) => model.on(`change:${trait}`, self.redraw));
  const observers = [new MutationObserver(self.redraw), new ResizeObserver(self.redraw)];
  observers[0].observe(document.body, { attributes: true });
  observers[0].observe(document.documentElement, { attributes: true });
  observers[1].observe(stage);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", self.redraw);
  self.close = () => { observers.forEach((one) => one.disconnect()); dark.removeEventListener("change", self.redraw); clearTimeout(timer); };
  el.hand = self;
  self.redraw();
  return self;
}
