// Slides that fit a room. jupyterlab-slideshow stacks the cells and follows the active one; this adds what it lacks: every
// slide is scaled to the screen, has a number, and stands in a list to jump by; code folds away under its figure; notes for
// the speaker; a blank screen; and no key but the ones below reaches JupyterLab, where "b" inserts a cell and "x" cuts one.
//
// A JupyterLab extension without a build step: at the end it registers the container that JupyterLab asks for. It fetches nothing.

const KEYS = [
  ["Space, →, ↓, PageDown", "next step (a remote sends PageDown)"],
  ["Shift+Space, ←, ↑, PageUp", "step before"],
  ["Home, End", "first slide, last slide"],
  ["o or g", "contents, to jump by; digits and Enter jump to a number"],
  ["Ctrl+Enter, Shift+Enter", "run the cell and stay, run it and go on"],
  ["r", "run all cells, from the top, while you go on"],
  ["c", "show the folded code and tables of this slide, or fold them"],
  ["n, s", "notes below the slide, or in a speaker's window"],
  ["b or .", "blank screen, and back"],
  ["f", "full screen"],
  ["Escape", "leave the slides for the notebook"],
  ["?", "this list"],
];
const STYLE = `
body.slides .jp-Deck .jp-Cell:not(.jp-deck-mod-visible), body.slides .jp-Cell.slides-past { display: none; }
body.slides .jp-Deck.jp-NotebookPanel { left: 0 !important; right: 0; top: 0 !important; width: auto !important; height: 100vh !important; }
body.slides .jp-Deck .jp-Notebook { position: absolute; left: 0 !important; top: 0 !important; width: 100% !important; height: calc(100vh - var(--slides-below)) !important;
  max-height: none; min-height: 0 !important; overflow: hidden auto; }
body.slides .jp-Deck .jp-WindowedPanel-outer { height: 100%; overflow: hidden auto; display: flex; flex-direction: column; }
body.slides .jp-Deck .jp-WindowedPanel-viewport { flex: none; margin: auto 0; width: 100%; box-sizing: border-box; min-height: 0 !important; padding: 4px 24px; position: static; }
body.slides .jp-Deck .jp-Cell { transition: none !important; }
body.slides .jp-Deck .jp-Cell img, body.slides .jp-Deck .jp-Cell canvas { max-width: 100%; height: auto; }
body.slides .jp-Deck .jp-OutputArea-output pre { white-space: pre; }
body.slides .jp-Deck .jp-OutputArea-child:has(> .slides-words:not(:focus-within)) { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
body.slides .jp-Cell.slides-many .jp-OutputArea { display: flex; flex-flow: row wrap; align-items: center; }
body.slides .jp-Cell.slides-many .jp-OutputArea-child { flex: 0 1 49%; width: auto; min-width: 0; }
body.slides .jp-Cell.slides-charts .jp-OutputArea-child:has(table) { display: none; }
body.slides .jp-Cell.slides-folded .jp-Cell-inputWrapper, body.slides .jp-OutputArea-promptOverlay, body.slides .jp-Deck-Remote, body.slides .jp-Deck-DesignTools { display: none; }
body.slides .jp-SideBar, body.slides .jp-Deck .jp-Collapser { visibility: hidden; }
body.slides .jp-Deck .slides-beside { display: grid; grid-template-columns: 2fr 3fr; align-items: center; }
body.slides .slides-beside > .jp-Cell { grid-column: 1; min-width: 0; }
body.slides .slides-beside > .jp-Cell.slides-picture { grid-column: 2; grid-row: 1 / span 9; }
.slides-bar, .slides-notes { position: fixed; left: 0; right: 0; z-index: 9000; background: #1b1f24; color: #f4f4f4; font: 15px/1.5 system-ui, sans-serif; }
.slides-bar { bottom: 0; height: 34px; display: flex; align-items: center; gap: 14px; padding: 0 14px; box-sizing: border-box; }
.slides-bar progress { position: absolute; top: -4px; left: 0; width: 100%; height: 4px; appearance: none; border: 0; background: #9aa4ae; }
.slides-bar progress::-webkit-progress-bar { background: #9aa4ae; }
.slides-bar progress::-webkit-progress-value { background: #1f5f99; }
.slides-bar progress::-moz-progress-bar { background: #1f5f99; }
.slides-bar .section { flex: 1; overflow: hidden; white-space: nowrap; text-overflow: ellipsis; }
.slides-bar button, .slides-dialog button { font: inherit; color: inherit; background: none; border: 0; padding: 2px 8px; cursor: pointer; }
.slides-bar button:focus-visible, .slides-dialog button:focus-visible { outline: 3px solid #69b1f5; }
.slides-notes { bottom: 38px; max-height: 34vh; overflow: auto; padding: 8px 18px; font-size: max(17px, 2.6vh); border-top: 2px solid #69b1f5; }
.slides-notes a, .slides-notes code { color: inherit; }
.slides-blank { position: fixed; inset: 0; z-index: 9900; background: #000; }
.slides-dialog { font: max(16px, 2.2vh)/1.45 system-ui, sans-serif; color: #1b1f24; background: #fff; width: 86vw; max-height: 84vh; border: 2px solid #1b1f24; }
.slides-dialog .slides-list { columns: 3 24em; padding: 0; list-style: none; margin: 0; }
.slides-dialog button { text-align: left; width: 100%; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.slides-dialog .sub { padding-left: 2.4em; }
.slides-dialog [aria-current] { background: #d7e8f8; font-weight: bold; }
.slides-dialog kbd { display: inline-block; min-width: 17em; font-weight: bold; }`;
const READABLE = 1; // 16 px of type on a screen 720 px high: below this, older cells of a slide give way first
const LARGEST = 2;
const SMALL = 0.75; // 12 px: below this, code stands alone, and charts do without their tables
const SMALLEST = 0.35;
const BAR = 38;

const make = (tag, attributes = {}, parent = null, text = "") => {
  const element = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  element.textContent = text;
  if (parent) parent.append(element);
  return element;
};
const kind = (cell) => cell.model.getMetadata("slideshow")?.slide_type ?? null;
const isNotes = (cell) => Boolean(cell.model.getMetadata("labkit")?.notes);
const outputs = (cell) => (cell.model.type === "code" ? Array.from({ length: cell.model.outputs.length }, (_, i) => cell.model.outputs.get(i)) : []);
const text = (data, type) => [data[type] ?? ""].flat().join("");
const isPicture = ({ data = {} }) => Object.keys(data).some((type) => /^image\/|widget-view/.test(type)) || /<svg/.test(text(data, "text/html"));
const isTable = ({ data = {} }) => /<table/.test(text(data, "text/html")) || /^\|[ :-]*-/m.test(text(data, "text/markdown"));
const isClaim = (output) => /^✓/.test([output.text ?? text(output.data ?? {}, "text/plain")].flat().join(""));
/** Whether a cell shows a picture or a live figure; a table with it; and anything under which the room need not see the code. */
const pictures = (cell) => outputs(cell).some((one) => isPicture(one));
const charted = (cell) => pictures(cell) && outputs(cell).some((one) => isTable(one));
const shows = (cell) => outputs(cell).some((one) => isPicture(one) || isTable(one) || isClaim(one));
/** A name for a slide: its heading, or its first words, or what its picture shows. */
const titleOf = (cell) => {
  const source = cell.model.sharedModel.getSource();
  if (cell.model.type !== "code") return (source.match(/^#+ +(.*)/m)?.[1] ?? source.replace(/<[^>]*>/g, "").trim().split("\n")[0]).replace(/[*`$]/g, "");
  const alt = outputs(cell).map((one) => one.metadata?.["image/png"]?.alt).find(Boolean);
  return alt ? alt.split(". ")[0] : source.split("\n")[0];
};

class Slides {
  constructor(app, panel) {
    Object.assign(this, { app, panel, notebook: panel.content, opened: new Set(), typed: "", waited: 0, observed: [], speaker: null, began: Date.now() });
    this.bar = make("div", { class: "slides-bar", role: "navigation", "aria-label": "Slides" });
    this.progress = make("progress", { max: "1", value: "0", "aria-label": "progress" }, this.bar);
    const button = (text, label, act) => make("button", { type: "button", "aria-label": label }, this.bar, text).addEventListener("click", act);
    button("‹", "step before", () => this.move(-1));
    this.number = make("button", { type: "button", title: "contents" }, this.bar);
    this.number.addEventListener("click", () => this.contents());
    button("›", "next step", () => this.move(1));
    this.section = make("span", { class: "section" }, this.bar);
    this.busy = make("span", { role: "status" }, this.bar);
    button("?", "keys", () => this.help());
    this.notes = make("div", { class: "slides-notes", role: "note", "aria-label": "Speaker's notes", tabindex: "0", hidden: "" });
    this.blank = make("div", { class: "slides-blank", hidden: "" });
    document.body.append(this.bar, this.notes, this.blank);
    this.later = () => { this.frame ||= requestAnimationFrame(() => { this.frame = 0; this.show(); }); };
    this.sizes = new ResizeObserver(this.later);
    this.notebook.activeCellChanged.connect(this.later);
    panel.sessionContext.statusChanged.connect(this.later);
    window.addEventListener("resize", this.later);
    document.body.classList.add("slides");
    this.later();
  }
  close() {
    this.notebook.activeCellChanged.disconnect(this.later);
    this.panel.sessionContext.statusChanged.disconnect(this.later);
    window.removeEventListener("resize", this.later);
    cancelAnimationFrame(this.frame);
    this.sizes.disconnect();
    [this.bar, this.notes, this.blank].forEach((one) => one.remove());
    this.dialog?.remove();
    this.speaker?.close();
    document.body.classList.remove("slides");
    this.notebook.viewportNode.classList.remove("slides-beside");
    this.notebook.widgets.forEach((cell) => { ["past", "folded", "many", "picture", "charts"].forEach((name) => cell.removeClass(`slides-${name}`)); cell.node.style.zoom = ""; });
  }

  // --- Where we are -----------------------------------------------------------------------------------------------

  /** The indices of the cells that a press leads to, and of those that start a slide. */
  get steps() { return this.notebook.widgets.map((_, i) => i).filter((i) => !["skip", "notes"].includes(kind(this.notebook.widgets[i]))); }
  get starts() {
    const first = this.steps[0];
    return this.steps.filter((i) => i === first || ["slide", "subslide"].includes(kind(this.notebook.widgets[i])));
  }
  get slide() { return Math.max(0, this.starts.filter((i) => i <= this.notebook.activeCellIndex).length - 1); }
  go(index) {
    this.notebook.deselectAll();
    this.notebook.activeCellIndex = index;
    this.notebook.mode = "command";
    this.notebook.widgets[index].node.focus({ preventScroll: true });
  }
  move(by) {
    const now = this.notebook.activeCellIndex, node = this.notebook.outerNode;
    // What is too long for the screen even in the smallest type is read by scrolling first.
    if (by > 0 && node.scrollTop + node.clientHeight < node.scrollHeight - 4) return node.scrollBy(0, node.clientHeight * 0.8);
    const next = by > 0 ? this.steps.find((i) => i > now) : this.steps.findLast((i) => i < now);
    if (next !== undefined) { this.go(next); node.scrollTop = 0; }
  }

  // --- What is seen -----------------------------------------------------------------------------------------------

  show() {
    const cells = this.notebook.widgets.filter((cell) => cell.hasClass("jp-deck-mod-visible"));
    if (!cells.length) { this.wake(); return this.later(); }
    this.waited = 0;
    cells.forEach((cell) => {
      cell.toggleClass("slides-folded", shows(cell) && !this.opened.has(cell.model.id));
      cell.toggleClass("slides-many", outputs(cell).filter((one) => isPicture(one) || isTable(one)).length > 1);
    });
    cells.forEach((cell) => cell.node.querySelectorAll(".jp-OutputArea-output > details > summary").forEach((one) => one.parentElement.parentElement
      .classList.toggle("slides-words", one.textContent === "Figure in words")));
    this.fit(cells);
    const { starts, slide } = this, section = this.notebook.widgets.slice(0, this.notebook.activeCellIndex + 1)
      .findLast((cell) => cell.model.type === "markdown" && /^#+ /m.test(cell.model.sharedModel.getSource()) && !isNotes(cell));
    this.number.textContent = `${slide + 1} / ${starts.length}`;
    this.number.setAttribute("aria-label", `slide ${slide + 1} of ${starts.length}, contents`);
    this.progress.value = starts.length > 1 ? slide / (starts.length - 1) : 1;
    this.section.textContent = section ? titleOf(section) : "";
    this.busy.textContent = this.panel.sessionContext.session?.kernel?.status === "busy" ? "running …" : "";
    this.tell();
    this.observe(cells.flatMap((cell) => [cell.node, ...(cell.outputArea ? [cell.outputArea.node] : [])]));
  }
  /**
   * jupyterlab-slideshow looks at a notebook once, when it becomes the active one. If its cells were not there yet, no
   * slide is ever shown: after a while we make it look again, and if that does not help, start it anew.
   */
  wake() {
    const { widgets, model } = this.notebook;
    if (!widgets.length || widgets.length !== model?.cells.length || ++this.waited % 60) return;
    if (this.waited < 240) return this.look();
    this.app.commands.execute("deck:stop");
    setTimeout(() => this.app.commands.execute("deck:start"), 1000);
  }
  look() { [this.steps.at(-1), this.steps[0]].forEach((index) => { this.notebook.activeCellIndex = index; }); }
  /** Fit again when one of these changes its size. Whatever is observed anew calls at once, so that nothing may be observed twice. */
  observe(nodes) {
    this.observed.filter((node) => !nodes.includes(node)).forEach((node) => this.sizes.unobserve(node));
    nodes.filter((node) => !this.observed.includes(node)).forEach((node) => this.sizes.observe(node));
    this.observed = nodes;
  }
  /**
   * The largest type with which the cells fit. Where even READABLE is too large, older cells leave one by one, but never
   * the sentence of a picture or the picture of a sentence; then text and picture try to stand side by side, each as large
   * as its column allows. Where that leaves type that no room can read, code
   * stands alone, and charts do without their tables.
   */
  fit(cells) {
    const below = BAR + (this.notes.hidden ? 0 : this.notes.offsetHeight), unit = Math.min(innerHeight / 720, innerWidth / 960);
    const key = () => [innerWidth, innerHeight, below, ...cells.flatMap((cell) => [cell.model.id, cell.node.offsetHeight])].join();
    if (this.fitted === key()) return;
    document.body.style.setProperty("--slides-below", `${below}px`);
    const sheet = this.notebook.viewportNode, now = Math.max(0, cells.indexOf(this.notebook.activeCell)), active = cells[now];
    const partner = cells.slice(0, now).findLast(active.model.type === "markdown" ? pictures : (cell) => cell.model.type === "markdown") ?? cells[now - 1];
    const older = cells.slice(0, now).filter((cell) => cell !== partner);
    let shown = cells, picture = [], own = null;
    const fits = (zoom) => {
      cells.forEach((cell) => {
        cell.node.style.zoom = own && cell === picture[0] ? own : zoom;
        cell.toggleClass("slides-past", !shown.includes(cell));
      });
      const boxes = shown.map((cell) => cell.node.getBoundingClientRect());
      const parts = ".jp-OutputArea-output:not(.slides-words), .jp-MarkdownOutput, pre, .cm-scroller";
      return Math.max(...boxes.map((box) => box.bottom)) <= innerHeight - below && Math.min(...boxes.map((box) => box.top)) >= 0
        && shown.every((cell) => [cell.node, ...cell.node.querySelectorAll(parts)]
          .every((one) => one.scrollWidth <= one.clientWidth + 1));
    };
    const largest = () => {
      let low = SMALLEST * unit, high = LARGEST * unit;
      if (fits(high)) return high;
      for (let zoom = READABLE * unit; high / low > 1.04; zoom = Math.sqrt(low * high)) if (fits(zoom)) low = zoom; else high = zoom;
      return low;
    };
    const leave = (gone) => { shown = shown.filter((cell) => cell !== gone); };
    sheet.classList.remove("slides-beside");
    cells.forEach((cell) => cell.removeClass("slides-charts"));
    this.notebook.outerNode.scrollTop = 0;
    while (older.length && !fits(READABLE * unit)) leave(older.shift());
    let zoom = largest();
    const isCode = (cell) => cell?.model.type === "code" && !pictures(cell);
    if (zoom < SMALL * unit && (isCode(active) || isCode(partner))) { leave(partner); zoom = largest(); }
    if (zoom < SMALL * unit) {
      shown.filter(charted).forEach((cell) => cell.toggleClass("slides-charts", !this.opened.has(cell.model.id)));
      zoom = largest();
    }
    picture = shown.filter(pictures);
    if (zoom < 1.2 * READABLE * unit && picture.length === 1 && shown.length > 1) {
      cells.forEach((cell) => cell.toggleClass("slides-picture", cell === picture[0]));
      sheet.classList.add("slides-beside");
      const others = shown;
      shown = picture;
      const alone = largest();
      shown = others;
      own = alone;
      const beside = largest();
      if (beside > 1.05 * zoom) zoom = beside; else { sheet.classList.remove("slides-beside"); own = null; }
    }
    fits(zoom);
    this.zoom = zoom / unit;
    this.fitted = key();
  }

  // --- What the speaker reads -------------------------------------------------------------------------------------

  tell() {
    const { starts, slide, notebook } = this, next = starts[slide + 1];
    const cells = notebook.widgets.slice(starts[slide], next).filter(isNotes);
    const copies = () => cells.map((cell) => cell.node.querySelector(".jp-RenderedMarkdown")?.cloneNode(true)
      ?? make("p", {}, null, cell.model.sharedModel.getSource()));
    this.notes.replaceChildren(...(cells.length ? copies() : [make("p", {}, null, "No notes for this slide.")]));
    if (!this.speaker || this.speaker.closed) return;
    const page = this.speaker.document;
    page.title = `Notes: ${this.number.textContent}`;
    page.getElementById("at").textContent = `${this.number.textContent} · ${this.section.textContent}`;
    page.getElementById("notes").replaceChildren(...[...this.notes.children].map((one) => page.importNode(one, true)));
    page.getElementById("next").textContent = next === undefined ? "the end" : titleOf(notebook.widgets[next]);
  }
  openSpeaker() {
    this.speaker = window.open("", "labkit-speaker", "popup,width=760,height=620");
    if (!this.speaker) return;
    const page = this.speaker.document;
    page.documentElement.lang = "en";
    page.head.replaceChildren(...[...document.head.querySelectorAll("style, link[rel=stylesheet]")].map((one) => page.importNode(one, true)));
    page.body.innerHTML = `<main style="font: 21px/1.5 system-ui, sans-serif; padding: 16px; color: #1b1f24; background: #fff; height: 100vh; box-sizing: border-box; overflow: auto">
      <p><strong id="at"></strong> <span id="clock" style="float: right"></span></p><div id="notes"></div><p>Next: <em id="next"></em></p></main>`;
    const clock = () => {
      if (this.speaker.closed) return clearInterval(timer);
      const seconds = Math.round((Date.now() - this.began) / 1000);
      page.getElementById("clock").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")} · ${new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}`;
    };
    const timer = setInterval(clock, 1000);
    clock();
    this.speaker.onkeydown = (event) => this.key(event);
    this.tell();
  }

  // --- Lists ------------------------------------------------------------------------------------------------------

  list(title, fill) {
    this.dialog?.remove();
    this.dialog = make("dialog", { class: "slides-dialog", "aria-label": title }, document.body);
    make("h2", {}, this.dialog, title);
    fill(make("ul", { class: "slides-list" }, this.dialog));
    this.dialog.addEventListener("close", () => { this.dialog.remove(); this.go(this.notebook.activeCellIndex); });
    this.dialog.showModal();
    (this.dialog.querySelector("[aria-current]") ?? this.dialog).focus();
  }
  contents() {
    this.list("Contents", (list) => this.starts.forEach((index, number) => {
      const cell = this.notebook.widgets[index], entry = make("li", {}, list);
      const button = make("button", { type: "button", ...(kind(cell) === "slide" ? {} : { class: "sub" }),
        ...(number === this.slide ? { "aria-current": "true" } : {}) }, entry, `${number + 1} · ${titleOf(cell)}`);
      button.addEventListener("click", () => { this.dialog.close(); this.go(index); });
    }));
  }
  help() {
    this.list("Keys", (list) => KEYS.forEach(([keys, act]) => {
      const entry = make("li", {}, list);
      make("kbd", {}, entry, keys);
      entry.append(` ${act}`);
    }));
  }

  // --- Keys -------------------------------------------------------------------------------------------------------

  async run(command) {
    const at = this.notebook.activeCellIndex, done = this.app.commands.execute(command);
    this.notebook.activeCellIndex = at; // some commands lead to the last cell
    await done;
    this.later();
  }
  /** One key; true where nobody else should see it. */
  key(event) {
    const { key, target } = event, plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (this.dialog?.isConnected) return this.inDialog(event);
    if (key === "Enter" && (event.ctrlKey || event.shiftKey) && !event.altKey) {
      const go = event.shiftKey && !event.ctrlKey;
      this.run("notebook:run-cell");
      if (go) this.move(1);
      event.preventDefault();
      return true;
    }
    if (!plain) return false;
    // Remotes send these two, whatever has the focus. Some send F5 to start: reloading would lose the kernel's outputs.
    const act = { PageDown: () => this.move(1), PageUp: () => this.move(-1), F5: () => this.fullscreen() }[key]
      ?? (this.used(target) ? null : this.action(key, event.shiftKey));
    if (!act) return false;
    event.preventDefault();
    if (!this.blank.hidden && !["b", "."].includes(key)) { this.blank.hidden = true; return true; }
    if (!/^\d$/.test(key)) { if (key !== "Enter") this.typed = ""; }
    act();
    return true;
  }
  /** Whether what has the focus uses keys itself: an editor, a slider, a button, a point that can be dragged. */
  used(target) {
    return Boolean(target?.closest?.("input, textarea, select, button, summary, a[href], [contenteditable=true], [role=slider], .cm-editor, .lm-Menu, .jp-Dialog"));
  }
  action(key, shift) {
    if (/^\d$/.test(key)) return () => { this.typed += key; };
    const last = () => this.go(this.starts.at(-1)), first = () => this.go(this.starts[0]);
    return {
      " ": () => this.move(shift ? -1 : 1), ArrowRight: () => this.move(1), ArrowDown: () => this.move(1),
      ArrowLeft: () => this.move(-1), ArrowUp: () => this.move(-1), Home: first, End: last,
      o: () => this.contents(), g: () => this.contents(), r: () => this.run("notebook:run-all-cells"), c: () => this.code(),
      n: () => { this.notes.hidden = !this.notes.hidden; this.later(); }, s: () => this.openSpeaker(),
      b: () => this.cover(), ".": () => this.cover(), f: () => this.fullscreen(), "?": () => this.help(),
      Escape: () => this.app.commands.execute("deck:stop"),
      Enter: () => {
        const index = this.starts[Number(this.typed) - 1];
        this.typed = "";
        if (index !== undefined) this.go(index);
      },
    }[key];
  }
  inDialog(event) {
    const buttons = [...this.dialog.querySelectorAll("button")], at = buttons.indexOf(document.activeElement);
    const by = { ArrowDown: 1, ArrowRight: 1, PageDown: 1, ArrowUp: -1, ArrowLeft: -1, PageUp: -1 }[event.key];
    if (by) { buttons.at(Math.min(Math.max(at + by, 0), buttons.length - 1))?.focus(); event.preventDefault(); }
    return true; // Tab, Enter and Escape are the browser's own in a dialog
  }
  code() {
    const cells = this.notebook.widgets.filter((cell) => cell.hasClass("jp-deck-mod-visible") && shows(cell));
    const all = cells.every((cell) => this.opened.has(cell.model.id));
    cells.forEach((cell) => (all ? this.opened.delete(cell.model.id) : this.opened.add(cell.model.id)));
    this.later();
  }
  cover() { this.blank.hidden = !this.blank.hidden; }
  fullscreen() { if (document.fullscreenElement) document.exitFullscreen(); else document.documentElement.requestFullscreen(); }
}

const plugin = {
  id: "labkit-slides:plugin",
  autoStart: true,
  activate: (app) => {
    make("style", {}, document.head, STYLE);
    let slides = null;
    const follow = () => {
      const panel = app.shell.currentWidget, on = document.body.dataset.jpDeckMode === "presenting" && panel?.content?.widgets;
      if (slides && (!on || slides.panel !== panel)) { slides.close(); slides = null; }
      if (on && !slides) window.slides = slides = new Slides(app, panel);
    };
    new MutationObserver(follow).observe(document.body, { attributes: true, attributeFilter: ["data-jp-deck-mode"] });
    app.shell.currentChanged?.connect(follow);
    // Before anybody else: our keys. After the focused element, and before JupyterLab: nobody's, unless one types in an editor.
    window.addEventListener("keydown", (event) => { if (slides?.key(event)) event.stopImmediatePropagation(); }, true);
    document.body.addEventListener("keydown", (event) => {
      if (slides && !event.target.closest(".cm-editor, .jp-Dialog")) event.stopPropagation();
    });
  },
};
(window._JUPYTERLAB ||= {})["labkit-slides"] = {
  init: () => {},
  get: async () => () => ({ __esModule: true, default: plugin }),
};
