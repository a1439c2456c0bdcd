"""Datasets as images in memory, and the batches that are drawn from them.

load.py: `load` finds or fetches a dataset. images.py: `Images` holds it. batches.py: `Batches` draws from it, shuffled,
or P classes with K images each. augmentation.py: `Augment` changes a whole batch at random, on the device that holds
the images. sources/: where the sets come from, and how their files are read. Nothing here uses worker processes.

>>> from labkit import data
>>> images, labels = next(iter(data.Batches(data.load("digits"), batch_size=32)))
>>> images.shape, labels.shape
(torch.Size([32, 1, 8, 8]), torch.Size([32]))
"""

from labkit.data.augmentation import Augment
from labkit.data.batches import Batches
from labkit.data.images import Images
from labkit.data.load import available, data_folder, load, names

__all__ = ["Augment", "Batches", "Images", "available", "data_folder", "load", "names"]
