"""Hands: figures that answer the hand. Drag the point itself; the browser computes and draws, with a kernel or without.

Each is one JavaScript module (triplet.js) over what all share (common.js), and a subclass of Hand that holds its state,
so that a cell can set and read it. The mathematics of a module is exported as pure functions, which
tests/labkit/figures/test_hands.py compares with labkit.
"""

import re
from pathlib import Path

import anywidget
from matplotlib.figure import Figure

from labkit.figures import drawing

FOLDER = Path(__file__).parent


def source(module: str) -> str:
    """The JavaScript of a hand in one piece: common.js, then module.js, without the import that joins the two.

    >>> "export default" in source("triplet"), "import {" in source("triplet")
    (True, False)
    """
    shared, own = ((FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in ("common", module))
    shared = re.sub(r"^export ", "", shared, flags=re.M)
    return shared + re.sub(r'^import .* from "\./common\.js";\n', "", own, flags=re.M)


class Hand(anywidget.AnyWidget):
    """What all hands share. A subclass names its `module` and its traits, which are its state, and has `figure`, `alt`.

    >>> from labkit.figures.lab04 import TripletPlane
    >>> hand = TripletPlane()
    >>> hand.margin = 1.0  # moves what the browser shows; what is dragged there is read here
    >>> hand.state["margin"]
    1.0
    """

    module = ""

    def __init_subclass__(cls, **options):
        if "module" in vars(cls):  # anywidget derives a class of its own from each
            cls._esm = source(cls.module)
        super().__init_subclass__(**options)

    @property
    def state(self) -> dict:
        """What the browser shares with Python: name -> value."""
        own = self.traits(sync=True).keys() - anywidget.AnyWidget.class_traits().keys()
        return {name: getattr(self, name) for name in sorted(own) if name[0] != "_"}

    def figure(self) -> Figure:
        """The still picture of the present state, for print and for screens where no script runs."""
        raise NotImplementedError

    @property
    def alt(self) -> str:
        """The present state in words."""
        raise NotImplementedError

    def _ipython_display_(self):
        figure = self.figure()
        live = self._repr_mimebundle_()[0]
        hand = {"hand": self.module, "state": self.state}  # for pages without a kernel
        drawing.display_with_words(drawing.png(figure, 2), self.alt, round(figure.bbox.width), live, {"labkit": hand})
