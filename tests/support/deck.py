"""Slides to measure: all labs in one JupyterLab, stepped through in the page itself; a notebook with all hands."""

import importlib
import pkgutil
from contextlib import contextmanager

import nbformat
from browser import OPENED, Server, guarded_page

from course import presenting
from course.notebooks import labs
from labkit import figures
from labkit.figures.hands import Hand

for _module in pkgutil.iter_modules(figures.__path__):
    if _module.name.startswith("lab"):
        importlib.import_module(f"labkit.figures.{_module.name}")
HANDS = {hand.module: hand for hand in Hand.__subclasses__() if hand.module}
HAND = """import importlib
from labkit.figures.hands import Hand
importlib.import_module("{place}")
next(hand for hand in Hand.__subclasses__() if hand.module == "{module}")()"""

SIZES = ((1280, 720), (1920, 1080), (1024, 768))
SHOWN = (
    "document.body.dataset.jpDeckMode === 'presenting' && window.slides?.fitted"
    " && slides.notebook.widgets.length > 1 && slides.notebook.widgets.length === slides.notebook.model.cells.length"
)
# Step through the whole deck: how far anything reaches over the screen's edge, and which pictures and texts are seen.
WALK = """async () => {
    const steps = [];
    await Promise.all([...slides.notebook.node.querySelectorAll('img')].map(i => i.decode().catch(() => {})));
    for (const index of slides.steps) {
        slides.go(index);
        slides.show();
        const seen = slides.notebook.widgets.filter(c => c.hasClass('jp-deck-mod-visible') && c.node.checkVisibility());
        const boxes = seen.flatMap(c => [c.node, ...c.node.querySelectorAll('img, table, pre, .jp-MarkdownOutput')])
            .filter(one => one.checkVisibility() && !one.closest('.slides-words, details:not([open]) > :not(summary)'))
            .map(one => one.getBoundingClientRect());
        const bar = slides.bar.getBoundingClientRect().top;
        const shown = seen.filter(c => c.node.querySelector('.jp-OutputArea :is(img, .hand)'));
        const pictures = shown.map(c => slides.notebook.widgets.indexOf(c));
        const alone = seen.every(c => shown.includes(c) && !c.node.querySelector('.jp-OutputArea table')?.checkVisibility());
        steps.push({index, slide: slides.slide + 1, zoom: slides.zoom, alone, pictures,
            active: seen.includes(slides.notebook.activeCell), sentence: seen.some(c => c.model.type === 'markdown'),
            over: Math.max(0, ...boxes.map(b => Math.max(-b.left, -b.top, b.right - innerWidth, b.bottom - bar)))});
    }
    return steps;
}"""


def hands_notebook(path, first=()):
    """Write a notebook with a slide for each hand behind the cells `first`, (kind, source, slide); return its path."""
    cells = list(first)
    for module, hand in HANDS.items():
        cells.append(("markdown", f"### {module}\n\nDrag a point, and look at what follows it.", "slide"))
        cells.append(("code", HAND.format(place=hand.__module__, module=module), "fragment"))
    made = [getattr(nbformat.v4, f"new_{kind}_cell")(source) for kind, source, _ in cells]
    for cell, (_, _, slide) in zip(made, cells, strict=True):
        cell.metadata["slideshow"] = {"slide_type": slide}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}  # or JupyterLab asks
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=kernel), path)
    return path


@contextmanager
def all_labs(chromium, folder):
    """A function that opens a lab as slides, in a page of its own as the speaker does; one server has them all."""
    for name in ("server", "tmp"):
        (folder / name).mkdir()
    with Server("present", labs()[0], folder / "server", temporary=folder / "tmp") as server:
        (home,) = (folder / "tmp").glob("labkit-*")
        for lab in labs()[1:]:
            presenting.write_slides(lab, home)

        @contextmanager
        def open_lab(lab):
            with guarded_page(chromium, *SIZES[0]) as page:
                page.goto(f"{server.url}/lab/tree/{lab.name}?token={server.token}&reset")
                page.wait_for_function(OPENED)
                page.wait_for_function(SHOWN + f" && slides.panel.context.path === '{lab.name}'")
                yield page

        yield open_lab
