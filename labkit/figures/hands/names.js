// What ipywidgets leaves out of its sliders: the handle's name and its value in words, and the picture's text. All three
// stand on the page already, beside the handle and in the picture's title; this copies them to where a screen reader looks.
function render({ el }) {
  const tell = () => {
    const box = el.parentElement?.closest(".widget-box");
    for (const handle of box?.querySelectorAll(".noUi-handle") ?? []) {
      const row = handle.closest(".widget-inline-hbox"), said = row?.querySelector(".widget-readout")?.textContent;
      handle.setAttribute("aria-label", row?.querySelector(".widget-label")?.textContent ?? "slider");
      if (said) handle.setAttribute("aria-valuetext", said);
    }
    for (const image of box?.querySelectorAll("img") ?? []) image.alt = image.title;
    return box;
  };
  const observer = new MutationObserver(tell);
  const start = () => {
    const box = tell();
    if (box) observer.observe(box, { childList: true, characterData: true, subtree: true });
    else requestAnimationFrame(start); // not on the page yet
  };
  start();
  return () => observer.disconnect();
}
export default { render };
