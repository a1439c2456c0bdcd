"""The course's pictures: numbers in, a matplotlib Figure out; `show` displays it with its description in words.

pyplot is never touched, so no picture is displayed twice and the user's own settings stay as they are.

    figure = figures.curves({"triplet": (epochs, accuracy)}, "epoch", "accuracy")
    figures.show(figure, alt="Accuracy over the epochs: it rises and then stays level.")

charts      curves, bars, tables, a training run
images      grids and rows of images
embedding   embeddings in the plane and on the sphere
live        a picture under sliders
drawing     showing, PNG, axes and checks that all share; style: colors, markers, settings
lab00 ...   what one lab alone draws: `from labkit.figures import lab04 as plots`
"""

from labkit.figures.charts import bars, curves, history, table
from labkit.figures.drawing import show
from labkit.figures.embedding import embedding_plane, gallery
from labkit.figures.images import image_grid, image_rows

__all__ = ["bars", "curves", "embedding_plane", "gallery", "history", "image_grid", "image_rows", "show", "table"]
