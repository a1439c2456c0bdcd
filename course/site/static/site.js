// What a page of the course does by itself: hands without a kernel, printing, regions that the keyboard can scroll.

const here = document.currentScript.src.replace(/_static\/site\.js.*$/, "");

/** anywidget's model, without a kernel behind it. */
const modelOf = (state) => {
  const listeners = {};
  return {
    get: (name) => state[name], save_changes: () => {}, off: () => {},
    on: (name, act) => (listeners[name] ||= []).push(act),
    set: (name, value) => { state[name] = value; (listeners[`change:${name}`] || []).forEach((act) => act()); },
  };
};

const loading = {};
const scriptOf = (hand) => loading[hand] ||= new Promise((resolve, reject) => {
  document.head.append(Object.assign(document.createElement("script"),
    { src: `${here}hands/${hand}.js`, onload: resolve, onerror: reject }));
});

for (const place of document.querySelectorAll(".hand-place")) {
  const { hand, state } = place.dataset;
  scriptOf(hand).then(() => {
    const el = document.createElement("div");
    place.append(el);
    window.hands[hand].render({ model: modelOf(JSON.parse(state)), el });
    place.classList.add("alive"); // the still picture is for print now
  });
}

for (const button of document.querySelectorAll("button.print")) button.addEventListener("click", () => window.print());

/** What is wider than its place can be scrolled; the keyboard must reach it. */
const reach = () => {
  for (const region of document.querySelectorAll("article pre, article .table-wrapper, article div.math")) {
    if (region.scrollWidth > region.clientWidth + 1) region.tabIndex = 0;
    else region.removeAttribute("tabindex");
  }
};
window.addEventListener("load", reach);
window.addEventListener("resize", reach);
