"""Datasets as images in memory, and the batches that are drawn from them.

`load` finds or fetches a dataset, `Images` holds it, `Batches` draws from it, `Augment` changes a batch at random;
sources/: where the sets come from, and how their files are read. Nothing here uses worker processes.

>>> next(iter(Batches(load("digits"), batch_size=32)))[0].shape
torch.Size([32, 1, 8, 8])
"""

from labkit.data.augmentation import Augment
from labkit.data.batches import Batches
from labkit.data.images import Images
from labkit.data.load import available, data_folder, load, names

__all__ = ["Augment", "Batches", "Images", "available", "data_folder", "load", "names"]
