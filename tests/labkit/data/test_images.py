"""labkit.data.images: what a set of images takes and gives."""

import dataclasses

import numpy as np
import pytest
import torch
from dataset_files import random_pixels

from labkit.data import Images


def some_images(count=12, channels=1, size=8, classes=3, **more):
    pixels = torch.from_numpy(random_pixels(count, channels, size, size))
    return Images(pixels, torch.arange(count) % classes, tuple("abcdefghij"[:classes]), **more)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(images=torch.zeros(12, 1, 8, 8)), r"images: got float32 of shape \(12, 1, 8, 8\), expected uint8"),
        (dict(images=torch.zeros(12, 8, 8, dtype=torch.uint8)), r"images: .*expected uint8 \(N, 1 or 3, H, W\)"),
        (dict(images=torch.zeros(12, 2, 8, 8, dtype=torch.uint8)), "images"),
        (dict(images=torch.zeros(12, 1, 0, 8, dtype=torch.uint8)), "images"),
        (dict(images=np.zeros((12, 1, 8, 8), np.uint8)), r"images: got ndarray, expected a torch\.Tensor"),
        (dict(labels=torch.zeros(11, dtype=torch.int64)), r"labels: .*expected int64 \(12,\)"),
        (dict(labels=torch.zeros(12)), "labels: got float32"),
        (dict(labels=np.arange(12) % 3), r"labels: got ndarray, expected a torch\.Tensor"),
        (dict(labels=[0, 1, 2] * 4), r"labels: got list, expected a torch\.Tensor"),
        (dict(labels=torch.full((12,), 3)), "labels: got 3 to 3, expected 0 to 2"),
        (dict(labels=torch.full((12,), -1)), "labels: got -1 to -1"),
        (dict(classes="abc"), "classes: got 'abc', expected a sequence of names"),
        (dict(classes=[b"a", b"b", b"c"]), "classes: got .*expected a sequence of names"),
        (dict(classes=("a", "b", "a")), "classes: got 'a' twice"),
        (dict(normalize=((0.5,), (0.0,))), "normalize"),
        (dict(normalize=((0.5, 0.5), (0.5, 0.5))), "normalize"),
    ],
)
def test_images_that_do_not_fit_together_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(some_images(), **change)


def test_floats_are_normalized_for_each_channel():
    images = some_images(channels=3, normalize=((0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in images.normalize)
    expected = (images.images.double() / 255 - mean) / std
    got = images.floats()
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=1e-6)
    assert torch.equal(images.floats([3, 1]), got[[3, 1]])
    assert torch.equal(images.floats(torch.tensor([], dtype=torch.int64)), got[:0])


def test_default_normalization_is_minus_one_to_one():
    pixels = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2)
    values = Images(pixels, torch.zeros(1, dtype=torch.int64), ("a",)).floats()
    torch.testing.assert_close(values.flatten(), torch.tensor([-1.0, 1.0]))


def test_only_renumbers_in_the_order_given():
    images = some_images(classes=4)
    for wanted in (["c", "a"], [2, 0], [2, "a"], np.array([2, 0])):
        part = images.only(wanted)
        assert part.classes == ("c", "a") and len(part) == 6
        assert torch.equal(part.labels, torch.tensor([1, 0, 1, 0, 1, 0]))
        assert torch.equal(part.images, images.images[[0, 2, 4, 6, 8, 10]])
    for wrong in ([4], ["x"], [-1], [0, 0], [1, "b"], []):
        with pytest.raises(ValueError, match="classes: got"):
            images.only(wrong)


def test_take_by_places_and_by_mask():
    images = some_images()
    assert torch.equal(images.take([5, 0, 5]).images, images.images[[5, 0, 5]])
    assert torch.equal(images.take(images.labels == 1).labels, torch.ones(4, dtype=torch.int64))
    assert len(images.take([])) == 0
    assert images.take(range(3)).classes == images.classes
    for wrong in ([12], [-1], torch.zeros(3), torch.zeros(2, 2, dtype=torch.int64), torch.ones(3, dtype=torch.bool)):
        with pytest.raises(ValueError, match="indices"):
            images.take(wrong)


def test_fingerprint_tells_pixels_and_labels_apart():
    images = some_images()
    pixels, labels = images.images.clone(), images.labels.clone()
    assert dataclasses.replace(images, images=pixels, labels=labels).fingerprint() == images.fingerprint()
    pixels[3, 0, 2, 2] ^= 1
    assert dataclasses.replace(images, images=pixels).fingerprint() != images.fingerprint()
    labels[0] = 2
    assert dataclasses.replace(images, labels=labels).fingerprint() != images.fingerprint()
