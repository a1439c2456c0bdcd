"""Sliders around the course's pictures.

    live(draw, alt, margin=(0.0, 1.0, 0.2))   a picture that draw(margin=...) -> Figure draws anew as the slider moves

The picture is an ipywidgets Image, never an Output widget: nothing is printed or displayed while a slider moves, so the
stored output of the cell is the same each time. With the widget goes its first frame as an ordinary picture, which is
what one sees on paper, on GitHub and wherever no kernel runs.
"""

import html
import traceback

import ipywidgets
import numpy as np
from IPython.display import display
from matplotlib.backends.backend_agg import FigureCanvasAgg

from labkit.figures import drawing
from labkit.figures import embedding as scenes

WIDTH = "330px"  # of a control


def live(draw, alt, **controls):
    """Return a widget: one control for each argument of `draw`, and the figure that it draws.

    draw      draw(**values) -> matplotlib Figure, a pure function of the controls' values. A function that changes and
              returns the same figure each time (labkit.figures.embedding) is quicker: only what it marks `animated` is redrawn
    alt       description of the picture in words
    controls  name=(low, high), (low, high, start) or (low, high, start, step): a slider, of whole numbers if all are;
              name=True or False: a checkbox; name=[options] or {label: option}: a list to choose from, the first
              chosen; name=widget: any ipywidgets control with a `value`

    Raises ValueError for an empty `alt`, for no control or one of another form; what the first call of `draw` raises.
    """
    return Live(draw, alt, controls)


class Live(ipywidgets.Box):
    """The widget that `live` returns. `controls` holds the controls by name, `picture` the Image."""

    def __init__(self, draw, alt, controls):
        self.draw, self.alt = draw, drawing.checked_alt(alt)
        self.controls = {name: _control(name, spec) for name, spec in drawing.items("controls", controls)}
        self._figure = self._canvas = self._background = None
        self._moving = []
        self.picture = ipywidgets.Image(format="png", value=self._frame())
        width = round(self._figure.bbox.width)
        self.picture.layout = ipywidgets.Layout(width=f"{width}px", max_width="100%", height="auto")
        self.error = ipywidgets.HTML(layout=ipywidgets.Layout(display="none", width=f"{width}px"))
        for control in self.controls.values():
            control.observe(self._redraw, "value")
        # The controls stand beside the picture where there is room, else below it in as many columns as fit.
        wrap = {"flex_flow": "row wrap", "align_items": "center"}
        controls = ipywidgets.Box(list(self.controls.values()), layout=ipywidgets.Layout(flex=f"1 1 {WIDTH}", **wrap))
        super().__init__([self.picture, self.error, controls], layout=ipywidgets.Layout(**wrap))

    @property
    def values(self):
        """The controls' values by name."""
        return {name: control.value for name, control in self.controls.items()}

    def set(self, **values):
        """Set controls by name, as if they had been moved one after the other; returns the widget."""
        unknown = values.keys() - self.controls.keys()
        if unknown:
            raise ValueError(f"set: got {sorted(unknown)}, expected names among {list(self.controls)}")
        for name, value in values.items():
            self.controls[name].value = value
        return self

    def _redraw(self, _):
        """Draw the frame of the new values; if that fails, show why in the picture's place."""
        try:
            self.picture.value = self._frame()
            message = ""
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
        return drawing.encode(self._canvas)

    def _ipython_display_(self):
        width = round(self._figure.bbox.width)
        still, metadata = drawing.picture_bundle(drawing.encode(self._canvas, small=True), self.alt, width)
        display(self._repr_mimebundle_() | still, metadata=metadata, raw=True)
        display(drawing.words_bundle(self.alt), raw=True)


def _control(name, spec):
    """The ipywidgets control for one of `live`'s specifications."""
    look = {
        "description": name.replace("_", " "),
        "style": {"description_width": "100px"},
        "layout": ipywidgets.Layout(width=WIDTH),
    }
    if isinstance(spec, ipywidgets.Widget):
        return spec
    if isinstance(spec, bool):
        return ipywidgets.Checkbox(spec, **look)
    if isinstance(spec, list | dict) and spec:
        first = next(iter(spec.values())) if isinstance(spec, dict) else spec[0]
        return ipywidgets.Dropdown(options=spec, value=first, **look)
    if not isinstance(spec, tuple) or not 2 <= len(spec) <= 4 or not spec[0] < spec[1]:
        raise ValueError(
            f"{name}: got {spec!r}, expected (low, high[, start[, step]]), options, a truth value or a widget"
        )
    low, high, start = (*spec, spec[0])[:3]
    if not low <= start <= high:
        raise ValueError(f"{name}: got the start {start!r}, expected a value from {low} to {high}")
    whole = all(isinstance(number, int) for number in spec)
    step = spec[3] if len(spec) == 4 else 1 if whole else (high - low) / 100
    slider = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
    return slider(value=start, min=low, max=high, step=step, **look)


# --- The widgets of labs 00 and 04 --------------------------------------------------------------------------------


def triplet_playground(margin=0.4, squared=False, limit=2.0):
    """A triplet to move about the plane: loss, kind, rings of the margin, and where a step of descent moves each point.

    margin, squared  of the triplet loss, to begin with
    limit            half the width of the plane
    """
    plane = scenes.triplet_scene(limit)

    def draw(margin, squared, **place):
        corners = [(place[f"{point}_x"], place[f"{point}_y"]) for point in start]
        return plane(*corners, margin, squared)

    start = {"anchor": (0.0, 0.0), "positive": (0.9, 0.5), "negative": (-0.5, -0.6)}
    places = {f"{p}_{axis}": (-limit, limit, xy[i], 0.05) for p, xy in start.items() for i, axis in enumerate("xy")}
    alt = (
        "An anchor, a positive and a negative point in the plane, to be moved with sliders. A circle round the anchor "
        "through the positive bounds the hard negatives, a larger one by the margin bounds the semi-hard ones. Arrows "
        "show a step of gradient descent: the positive is pulled to the anchor, the negative pushed away, as long as "
        "there is a loss."
    )
    return live(draw, alt, **places, margin=(0.0, 1.0, float(margin), 0.05), squared=bool(squared))


def surface_explorer(margin=0.4, squared=False, limit=2.0, points=None):
    """The triplet loss over its two distances, under a slider for the margin and a choice of what a mining keeps.

    squared, limit, points   as for `labkit.figures.loss_surface`
    """
    choices = {"none: all": "all", "active": "active", "semi-hard": "semihard", "hard": "hard"}
    surface = scenes.surface_scene(squared, limit, points)

    def draw(margin, constraint):
        return surface(margin, None if constraint == "all" else constraint)

    alt = (
        "The triplet loss as bands of color over the distance of anchor and positive and that of anchor and negative. "
        "Hard triplets lie below the diagonal, semi-hard ones in a strip above it as wide as the margin, easy ones "
        "without loss above the strip. What the chosen constraint leaves out is hatched."
    )
    return live(draw, alt, margin=(0.0, float(limit) / 2, float(margin), 0.05), constraint=choices)


def embedding_explorer(embeddings, labels, classes, titles=None, start=-1):
    """A two-dimensional embedding during training, under a slider for the epoch.

    embeddings  a sequence of (N, 2), the one before training first
    labels      (N,) indices into `classes`
    classes     names
    titles      a text for each embedding; "after epoch 3" by default
    start       the embedding shown first, the last by default
    """
    if len(embeddings) < 2:
        raise ValueError(f"embeddings: got {len(embeddings)}, expected at least 2 to slide between")
    if titles is None:
        titles = ["before training", *(f"after epoch {n}" for n in range(1, len(embeddings)))]
    limit = 1.08 * max(np.abs(drawing.array("embeddings", one)).max() for one in embeddings)
    plane = scenes.embedding_scene(embeddings, labels, classes, titles, limit)
    alt = (
        f"Points of {len(classes)} classes in the plane of a two-dimensional embedding, each class with its own color "
        "and marker and its name at its center. The slider goes from before training to after the last epoch."
    )
    last = len(embeddings) - 1
    return live(lambda epoch: plane(epoch), alt, epoch=(0, last, range(last + 1)[start]))


def threshold_explorer(same, different):
    """The distances of pairs and their ROC curve, under a slider for the threshold of acceptance.

    same, different   (P,) distances of pairs of the same class and of different classes
    """
    same, different = scenes.pair_distances(same, different)
    highest = float(max(same.max(), different.max())) or 1.0
    thresholds = np.linspace(0, highest, 201)
    equal = [abs((same > t).mean() - (different <= t).mean()) for t in thresholds]
    alt = (
        "Left, two histograms: distances of pairs of the same class and of different classes, with a threshold between "
        "them. Right, the ROC curve with a dot for that threshold. Raising it rejects fewer of the same and accepts "
        "more of the different pairs."
    )
    start = float(thresholds[int(np.argmin(equal))])
    return live(scenes.threshold_scene(same, different), alt, threshold=(0.0, highest, start, highest / 200))
