"""What tests ask of a picture: its pixels, and the words in it."""

import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from labkit.figures.drawing import png


def pixels(picture, scale=1):
    """RGB (height, width, 3) of a Figure, of a PNG, or of the frame that a widget of labkit.figures.live shows."""
    data = png(picture, scale) if isinstance(picture, Figure) else getattr(picture, "picture", None)
    data = picture if data is None else getattr(data, "value", data)
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def texts(figure):
    """The visible texts of a Figure."""
    return [text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text")) if text.get_visible()]
