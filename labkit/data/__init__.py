"""Datasets as images in memory, and the batches that are drawn from them."""

from labkit.data.augmentation import Augment
from labkit.data.batches import Batches, Images, available, data_folder, load, names

__all__ = ["Augment", "Batches", "Images", "available", "data_folder", "load", "names"]
