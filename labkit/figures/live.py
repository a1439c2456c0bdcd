"""Sliders around the course's pictures.

The picture is an ipywidgets Image, never an Output widget: a slider that moves displays nothing, so the stored output
of the cell stays the same. The first frame goes with it as an ordinary picture, for paper, GitHub and no kernel.
"""

import html
import io
import traceback

import anywidget
import ipywidgets
import numpy as np
import traitlets
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from labkit.figures import drawing, hands

WIDTH = "330px"  # of a control


def live(draw: drawing.Draw, alt: str, **controls) -> "Live":
    """Returns a widget: one control for each argument of `draw`, and the figure that it draws.

    draw: draw(**values) -> matplotlib Figure, a pure function of the controls' values. A scene, which changes and
        returns the same figure each time, is quicker: only what it marks `animated` is drawn again.
    alt: description of the picture in words.
    controls: name=(low, high), (low, high, start) or (low, high, start, step): a slider, of whole numbers if all are;
        name=[options] or {label: option}: a list to choose from, the first chosen.

    >>> from labkit.figures import bars
    >>> live(lambda height: bars({"a": height}, "height"), "One bar.", height=(0.0, 1.0, 0.5)).values
    {'height': 0.5}
    """
    return Live(draw, alt, controls)


class Live(ipywidgets.Box):
    """The widget that `live` returns: `controls` by name, the `picture`, and the `error` of a frame that fails.

    >>> from labkit.figures import bars
    >>> Live(lambda height: bars({"a": height}, "height"), "One bar.", {"height": (0, 9)}).set(height=3).values
    {'height': 3}
    """

    def __init__(self, draw: drawing.Draw, alt: str, controls: dict):
        self.draw, self.alt = draw, alt
        self.controls = {name: _control(name, spec) for name, spec in drawing.items("controls", controls)}
        self._figure = self._canvas = self._background = None
        self._moving = []
        self.picture = _Picture(format="png", value=self._frame(), tooltip=alt.split(". ")[0])
        width = round(self._figure.bbox.width)
        self.picture.layout = ipywidgets.Layout(width=f"{width}px", max_width="100%", height="auto")
        self.error = ipywidgets.HTML(layout=ipywidgets.Layout(display="none", width=f"{width}px"))
        for control in self.controls.values():
            control.observe(self._redraw, "value")
        # The controls stand beside the picture where there is room, else below it in as many columns as fit.
        wrap = {"flex_flow": "row wrap", "align_items": "center"}
        controls = ipywidgets.Box(list(self.controls.values()), layout=ipywidgets.Layout(flex=f"1 1 {WIDTH}", **wrap))
        super().__init__([self.picture, self.error, controls, _Names()], layout=ipywidgets.Layout(**wrap))

    @property
    def values(self) -> dict:
        """The controls' values by name."""
        return {name: control.value for name, control in self.controls.items()}

    def set(self, **values) -> "Live":
        """Sets controls by name, as if they had been moved one after the other; returns the widget."""
        for name, value in values.items():
            self.controls[name].value = value
        return self

    def _redraw(self, _):
        """Draws the frame of the new values; if that fails, shows why in the picture's place."""
        message = ""
        try:
            self.picture.value = self._frame()
        except Exception:
            message = f"<pre style='color: #a00; white-space: pre-wrap'>{html.escape(traceback.format_exc())}</pre>"
        self.error.value = message
        self.error.layout.display = "block" if message else "none"
        self.picture.layout.display = "none" if message else None

    def _frame(self):
        """The figure of the present values as PNG bytes."""
        figure = self.draw(**self.values)
        if figure is not self._figure:
            self._canvas = FigureCanvasAgg(figure)
            self._canvas.draw()  # leaves out what moves
            self._background = self._canvas.copy_from_bbox(figure.bbox)
            self._figure, self._moving = figure, drawing.moving_artists(figure)
        elif self._moving:
            self._canvas.restore_region(self._background)
        else:
            self._canvas.draw()
        for artist in self._moving:
            artist.draw(self._canvas.get_renderer())
        file = io.BytesIO()
        image = Image.fromarray(np.asarray(self._canvas.buffer_rgba())[..., :3])
        image.save(file, "png", compress_level=1)  # quick: a frame is waited for, and never stored
        return file.getvalue()

    def _ipython_display_(self):
        still, width = drawing.png(self._figure), round(self._figure.bbox.width)
        drawing.display_with_words(still, self.alt, width, live=self._repr_mimebundle_())


class _Picture(ipywidgets.Image):
    """An image whose `tooltip` becomes its title on the page, which is the name that a screen reader says.

    ipywidgets 8.1 sets the title of any widget only after a look at `description`, which its Image lacks.
    """

    description = traitlets.Unicode("").tag(sync=True)


class _Names(anywidget.AnyWidget):
    """Nothing to see: gives the sliders beside it the names and values that a screen reader says."""

    _esm = (hands.FOLDER / "names.js").read_text(encoding="utf-8")


def _control(name, spec):
    """The ipywidgets control for one of `live`'s specifications."""
    look = {"style": {"description_width": "100px"}, "layout": ipywidgets.Layout(width=WIDTH)}
    look["description"] = name.replace("_", " ")
    if isinstance(spec, list | dict):
        return ipywidgets.Dropdown(options=spec, **look)
    low, high, start = (*spec, spec[0])[:3]
    whole = all(isinstance(number, int) for number in spec)
    step = spec[3] if len(spec) == 4 else 1 if whole else (high - low) / 100
    if whole:
        return ipywidgets.IntSlider(value=start, min=low, max=high, step=step, **look)
    decimals = len(f"{step:.3f}".rstrip("0").partition(".")[2])  # what the slider shows is rounded to its step
    return ipywidgets.FloatSlider(value=start, min=low, max=high, step=step, readout_format=f".{decimals}f", **look)
