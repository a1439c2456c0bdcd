"""labkit.data.Batches and labkit.data.augmentation: which images are drawn, and what is done to them."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.data import Batches, Images, load
from labkit.data.augmentation import Augment

EVERYTHING = Augment(shift=2, flip=True, crop=0.7, rotation=20.0, color=0.2, noise=0.1, erase=0.5, contrast=0.3)


def images_with(labels, channels=1, size=8, seed=0):
    labels = torch.as_tensor(labels, dtype=torch.int64)
    shape = (len(labels), channels, size, size)
    pixels = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return Images(pixels, labels, tuple(f"class {k}" for k in range(int(labels.max()) + 1)), "random")


def same(a, b):
    """Whether two runs of batches are equal, bit for bit."""
    a, b = list(a), list(b)
    return len(a) == len(b) and all(
        torch.equal(x, y) for left, right in zip(a, b, strict=True) for x, y in zip(left, right, strict=True)
    )


# ------------------------------------------------------------------------------------------------- which are drawn


@settings(deadline=None)
@given(st.integers(1, 60), st.data(), st.integers(0, 2**40), st.integers(0, 5))
def test_an_epoch_uses_every_image_at_most_once(count, data, seed, epoch):
    batch_size = data.draw(st.integers(1, count))
    batches = Batches(images_with([0] * count, size=1), batch_size, seed=seed)
    order = batches.indices(epoch)
    assert order.shape == (count // batch_size, batch_size) == (len(batches), batches.global_batch_size)
    assert order.min() >= 0 and order.max() < count
    assert len(order.unique()) == order.numel() > count - batch_size


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.data(), st.integers(0, 2**40))
def test_balanced_batches_hold_p_classes_with_k_images_each(sizes, data, seed):
    """Also for very unequal classes, empty ones among them."""
    sizes[0] += 1
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed % 1000))]
    present = [number for number, size in enumerate(sizes) if size]
    classes, per_class = data.draw(st.integers(1, len(present))), data.draw(st.integers(1, 12))
    steps = data.draw(st.none() | st.integers(1, 40))
    batches = Batches(images_with(labels, size=1), None, classes, per_class, steps=steps, seed=seed)
    order = batches.indices(0)
    assert len(order) == len(batches) == (steps or max(1, sum(sizes) // (classes * per_class)))
    drawn = labels[order].view(len(order), classes, per_class)
    assert (drawn == drawn[:, :, :1]).all()  # class after class
    assert all(len(set(row.tolist())) == classes for row in drawn[:, :, 0])
    for group, label in zip(order.view(-1, per_class), drawn[:, :, 0].flatten(), strict=True):
        assert len(group.unique()) == min(per_class, sizes[label])  # repeats only where there are too few
    times = drawn[:, :, 0].flatten().bincount(minlength=len(sizes))[present]
    assert times.max() - times.min() <= 1  # every class equally often
    for number in present:
        used = order.flatten()[labels[order].flatten() == number].bincount(minlength=len(labels))[labels == number]
        assert used.max() - used.min() <= 1  # every image of a class equally often


def test_more_steps_than_an_epoch_holds_start_another_round():
    order = Batches(images_with([0] * 10, size=1), 4, steps=25).indices(0)
    assert order.shape == (25, 4)
    assert order.flatten().bincount().tolist() == [10] * 10
    assert all(len(row.unique()) == 4 for row in order)


def test_orders_are_random():
    """All 24 orders of four images come, about equally often; so do all pairs of classes."""
    batches = Batches(images_with([0, 1, 2, 3], size=1), 4)
    seen, counts = np.unique([batches.indices(epoch)[0].numpy() for epoch in range(2400)], axis=0, return_counts=True)
    assert len(seen) == 24 and ((counts - 100) ** 2 / 100).sum() < 60  # chi-square, 23 degrees: P < 4e-5
    batches = Batches(images_with([0, 1, 2, 3], size=1), None, 2, 1, steps=1)
    pairs = [tuple(sorted(batches.indices(epoch)[0].tolist())) for epoch in range(1200)]
    seen, counts = np.unique(pairs, axis=0, return_counts=True)
    assert len(seen) == 6 and ((counts - 200) ** 2 / 200).sum() < 30  # 5 degrees: P < 2e-5


def test_statistics_of_the_peer_in_pytorch_metric_learning(monkeypatch):
    """MPerClassSampler: K images of each class in a batch, classes equally often, small classes with replacement."""
    from pytorch_metric_learning.samplers import MPerClassSampler
    from pytorch_metric_learning.utils import common_functions

    monkeypatch.setattr(common_functions, "NUMPY_RANDOM", np.random.RandomState(0))
    labels = torch.arange(10).repeat_interleave(torch.tensor([2, 5, 300, 40, 40, 40, 40, 40, 40, 53]))
    ours = Batches(images_with(labels, size=1), None, 5, 8, steps=120).indices(0)
    peer = MPerClassSampler(labels, 8, batch_size=40, length_before_new_iter=4800)
    theirs = torch.tensor(list(peer)).view(-1, 40)
    for order in (ours, theirs):
        assert all(set(row.bincount().tolist()) <= {0, 8} for row in labels[order])
        times = labels[order].flatten().bincount()
        # Half of the classes in each of 120 batches, 8 images: 480 ± 44 where classes are drawn anew for each batch.
        assert len(times) == 10 and (times - 480).abs().max() < 4 * 44
        assert all(len(row[labels[row] == 0].unique()) <= 2 for row in order)  # of two images, eight are drawn
    assert labels[ours].flatten().bincount().tolist() == [480] * 10  # ours exactly, and every image is used:
    assert len(ours.unique()) == len(labels) > len(theirs.unique())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(), "got none, expected batch_size alone or the other two"),
        (dict(batch_size=4, classes_per_batch=2, samples_per_class=2), "expected batch_size alone"),
        (dict(classes_per_batch=2), "got classes_per_batch, expected batch_size alone"),
        (dict(samples_per_class=2), "got samples_per_class, expected batch_size alone"),
        (dict(batch_size=2, samples_per_class=2), "got batch_size and samples_per_class, expected batch_size alone"),
        (dict(batch_size=13), "batch_size: got 13, expected at most the 12 images"),
        (dict(batch_size=0), "batch_size.* got 0"),
        (dict(batch_size=2.0), r"batch_size.* got 2\.0"),
        (dict(classes_per_batch=4, samples_per_class=2), "classes_per_batch: got 4, expected at most the 3 classes"),
        (dict(batch_size=4, steps=0), "steps.* got 0"),
        (dict(batch_size=4, seed=-1), "seed.* got -1"),
        (dict(batch_size=4, world_size=3), "world_size: got 3, expected a number that divides the 4 images"),
        (dict(batch_size=4, rank=2, world_size=2), "rank: got 2 of world_size 2"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        Batches(images_with([0, 1, 2] * 4), **arguments)


# -------------------------------------------------------------------------------------------------------- determinism


@pytest.mark.parametrize("sampling", [dict(batch_size=6), dict(classes_per_batch=3, samples_per_class=2)])
@pytest.mark.parametrize("augment", [None, EVERYTHING])
def test_the_same_seed_gives_the_same_batches_from_any_position(sampling, augment):
    images = images_with(list(range(4)) * 10, channels=3)
    batches, again = (Batches(images, **sampling, augment=augment, seed=5) for _ in range(2))
    first = list(batches)
    assert batches.epoch == 1 and same(first, again)
    second = list(batches)
    assert batches.epoch == 2 and not same(first, second)
    for epoch, expected in ((0, first), (1, second)):
        for start in (0, 3, len(batches) - 1, len(batches)):
            assert same(again.iterate(epoch, start), expected[start:])
    assert again.epoch == 1  # iterate leaves it as it is
    assert not same(Batches(images, **sampling, augment=augment, seed=6), first)


def test_neither_torchs_nor_numpys_global_state_is_touched_or_used():
    images = images_with([0, 1] * 10)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = list(Batches(images, 4, augment=EVERYTHING))
    assert torch.equal(torch.get_rng_state(), states[0]) and np.array_equal(np.random.get_state()[1], states[1])
    torch.rand(3)
    np.random.rand(3)
    assert same(first, Batches(images, 4, augment=EVERYTHING))


def test_every_step_is_augmented_differently():
    alike = Images(torch.full((20, 1, 8, 8), 100, dtype=torch.uint8), torch.zeros(20, dtype=torch.int64), ("gray",))
    pixels = torch.cat([pixels for pixels, _ in Batches(alike, 4, augment=EVERYTHING)])
    assert len(pixels.flatten(1).unique(dim=0)) == 20


def test_an_iteration_that_is_broken_off_does_not_count():
    batches = Batches(images_with([0, 1] * 10), 4)
    first = next(iter(batches))
    assert batches.epoch == 0 and same([first], [next(iter(batches))])


@pytest.mark.parametrize("sampling", [dict(batch_size=12), dict(classes_per_batch=4, samples_per_class=3)])
@pytest.mark.parametrize("world", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_shares_together_are_the_batch_of_one_process(sampling, world, channels):
    """Bit for bit, with every augmentation."""
    batches = Batches(images_with(list(range(5)) * 12, channels), **sampling, augment=EVERYTHING, seed=3)
    shares = [batches.share(rank, world) for rank in range(world)]
    assert [len(part) for part in shares] == [len(batches)] * world
    joined = [tuple(torch.cat(parts) for parts in zip(*pieces, strict=True)) for pieces in zip(*shares, strict=True)]
    assert same(joined, batches)
    assert all(part.describe() == batches.describe() for part in shares)
    direct = Batches(batches.images, **sampling, augment=EVERYTHING, seed=3, rank=1, world_size=world)
    assert same(direct, batches.share(1, world).iterate(0))


def test_the_description_tells_what_makes_a_difference():
    images = images_with([0, 1, 2] * 8)
    base = dict(batch_size=6, seed=1, augment=Augment(shift=1))
    one = Batches(images, **base).describe()
    assert one == Batches(images_with([0, 1, 2] * 8), **base, device="cpu").describe()
    assert one["dataset"] == "random" and one["augment"]["shift"] == 1
    others = [
        Batches(images_with([0, 1, 2] * 8, seed=1), **base),
        Batches(images.take(range(18)), **base, steps=4),
        Batches(dataclasses.replace(images, name="other"), **base),
        Batches(dataclasses.replace(images, normalize=((0.4,), (0.5,))), **base),
        Batches(images, **{**base, "batch_size": 8}),
        Batches(images, classes_per_batch=3, samples_per_class=2, seed=1, augment=Augment(shift=1)),
        Batches(images, **{**base, "seed": 2}),
        Batches(images, **base, steps=3),
        Batches(images, **{**base, "augment": Augment(shift=2)}),
        Batches(images, **{**base, "augment": None}),
    ]
    assert all(other.describe() != one for other in others)


# -------------------------------------------------------------------------------------------------------- the batches


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_and_floats_agree_exactly(channels):
    images = images_with(list(range(4)) * 10, channels)
    images = dataclasses.replace(images, normalize=((0.1307,) * channels, (0.3081,) * channels))
    batches = Batches(images, 8)
    for (pixels, labels), indices in zip(batches, batches.indices(0), strict=True):
        assert pixels.dtype == torch.float32 and labels.dtype == torch.int64
        assert torch.equal(pixels, images.floats(indices)) and torch.equal(labels, images.labels[indices])
    assert same(Batches(images, 8, augment=Augment()), batches.iterate(0))  # an Augment that does nothing


def test_the_images_stay_uint8_and_are_not_copied():
    images = load("digits")
    batches = Batches(images, 64, augment=EVERYTHING)
    before = images.fingerprint()
    for pixels, _ in batches:
        assert pixels.shape == (64, 1, 8, 8)
    assert batches.images.images.data_ptr() == images.images.data_ptr() and images.fingerprint() == before
    assert batches.to("cpu").images is images


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_no_step_waits():
    batches = Batches(load("digits"), classes_per_batch=10, samples_per_class=4, augment=EVERYTHING).to("cuda")
    cpu = Batches(load("digits"), classes_per_batch=10, samples_per_class=4)
    first = list(batches)
    assert all(pixels.is_cuda and labels.is_cuda for pixels, labels in first)
    assert same(first, batches.iterate(0))
    assert all(torch.equal(a[1].cpu(), b[1]) for a, b in zip(first, cpu, strict=True))
    steps = batches.iterate(0)
    next(steps)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in steps:
            pass
    finally:
        torch.cuda.set_sync_debug_mode("default")


# ------------------------------------------------------------------------------------------------------- augmentation


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def augmented(pixels, seed=0, **settings):
    return Augment(**settings)(pixels, generator(seed))


def repeated(picture, count):
    return picture.expand(count, *picture.shape).contiguous()


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(0, 5), st.booleans(), st.integers(0, 10**6))
def test_shift_and_flip_against_loops(channels, height, width, shift, flip, seed):
    pixels = torch.randint(256, (4, channels, height, width), dtype=torch.uint8, generator=generator(seed))
    augment = Augment(shift=shift, flip=flip)
    drawn = augment.draw(4, (channels, height, width), generator(seed))
    got = augment.apply(pixels, drawn)
    expected = torch.zeros_like(pixels)
    for b in range(4):
        down, right = (drawn["shift"][b] - shift).tolist() if shift else (0, 0)
        for y in range(height):
            for x in range(width):
                source_y, source_x = y + down, (width - 1 - x if flip and drawn["flip"][b] else x) + right
                if 0 <= source_y < height and 0 <= source_x < width:
                    expected[b, :, y, x] = pixels[b, :, source_y, source_x]
    assert got.dtype == torch.uint8 and torch.equal(got, expected)


def test_every_shift_comes_equally_often():
    point = torch.zeros(1, 9, 9, dtype=torch.uint8)
    point[0, 4, 4] = 255
    moved = augmented(repeated(point, 4900), shift=3)[:, 0].double() / 255
    assert moved.sum(dim=(1, 2)).eq(1).all()
    counts = moved.sum(dim=0)
    assert counts[1:8, 1:8].sum() == 4900
    assert ((counts[1:8, 1:8] - 100) ** 2 / 100).sum() < 100  # chi-square, 48 degrees: P < 2e-5


def test_half_are_flipped():
    picture = torch.arange(12, dtype=torch.uint8).view(1, 3, 4)
    flipped = augmented(repeated(picture, 4000), flip=True)
    mirrored = flipped.eq(picture.flip(2)).all(dim=(1, 2, 3))
    assert (mirrored | flipped.eq(picture).all(dim=(1, 2, 3))).all()
    assert abs(mirrored.double().mean() - 0.5) < 5 * 0.5 / math.sqrt(4000)


def test_crop_takes_a_part_and_scales_it_to_full_size():
    """In a picture whose values are their own places, the crop's place and size can be read off."""
    x = torch.linspace(40, 200, 33).view(1, 1, 33).expand(1, 33, 33)
    picture = torch.cat([x, x.transpose(1, 2), x]).to(torch.uint8).float()
    cropped = augmented(repeated(picture, 500), crop=0.5)
    per_pixel = (200 - 40) / 32
    across = (cropped[:, 0, 16, 26] - cropped[:, 0, 16, 6]) / (20 * per_pixel)
    down = (cropped[:, 1, 26, 16] - cropped[:, 1, 6, 16]) / (20 * per_pixel)
    torch.testing.assert_close(across, down, atol=0.03, rtol=0)  # both sides are scaled alike
    assert across.min() > 0.48 and across.max() < 1.02
    assert abs(across.mean() - 0.75) < 5 * 0.5 / math.sqrt(12 * 500)  # uniform in 0.5..1
    inner = cropped[:, :, 2:-2, 2:-2]
    assert inner.min() >= 40 and inner.max() <= 200  # it never reaches beyond the picture
    left = cropped[:, 0, 16, 16][across < 0.6]
    assert left.min() < 95 and left.max() > 145  # small parts come from everywhere


@pytest.mark.parametrize(("height", "width"), [(9, 9), (6, 11)])
def test_rotation_turns_about_the_center(height, width):
    pixels = torch.randint(256, (2, 3, height, width), dtype=torch.uint8, generator=generator())
    augment = Augment(rotation=180)
    for degrees in (0, 180):
        turned = augment.apply(pixels, {"rotation": torch.full((2,), math.radians(degrees))})
        expected = pixels.flip((2, 3)) if degrees else pixels
        torch.testing.assert_close(turned, expected.float(), atol=0.01, rtol=0)
    if height == width:
        turned = augment.apply(pixels, {"rotation": torch.tensor([1, -1]) * (math.pi / 2)})
        torch.testing.assert_close(turned[0], torch.rot90(pixels[0], 1, (1, 2)).float(), atol=0.01, rtol=0)
        torch.testing.assert_close(turned[1], torch.rot90(pixels[1], -1, (1, 2)).float(), atol=0.01, rtol=0)


def test_rotation_in_an_oblong_picture_keeps_shapes():
    """A disk in the middle stays a disk, which it would not if the two sides' units were mixed up."""
    y, x = torch.meshgrid(torch.arange(21) - 10.0, torch.arange(41) - 20.0, indexing="ij")
    disk = (255 * torch.exp(-(y**2 + x**2) / 32)).to(torch.uint8)[None, None]
    turned = Augment(rotation=90).apply(disk, {"rotation": torch.tensor([math.radians(35)])})
    assert (turned - disk.float()).abs().max() < 6
    bar = ((255 * ((y.abs() < 2) & (x.abs() < 9))).to(torch.uint8))[None, None]
    upright = Augment(rotation=90).apply(bar, {"rotation": torch.tensor([math.pi / 2])})
    expected = (255 * ((x.abs() < 2) & (y.abs() < 9))).float()
    torch.testing.assert_close(upright[0, 0], expected, atol=0.1, rtol=0)


def test_angles_are_uniform():
    angles = Augment(rotation=30).draw(4000, (1, 8, 8), generator())["rotation"] * 180 / math.pi
    assert angles.min() >= -30 and angles.max() <= 30 and angles.min() < -29 and angles.max() > 29
    assert abs(angles.mean()) < 5 * 60 / math.sqrt(12 * 4000)


def test_contrast_scales_distances_from_the_mean():
    pixels = torch.randint(100, 156, (500, 3, 8, 8), dtype=torch.uint8, generator=generator()).float()
    changed = augmented(pixels, contrast=0.5)
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    factors = (changed - mean).flatten(1).norm(dim=1) / (pixels - mean).flatten(1).norm(dim=1)
    torch.testing.assert_close(changed, mean + (pixels - mean) * factors.view(-1, 1, 1, 1), atol=1e-2, rtol=0)
    assert 0.5 <= factors.min() < 0.52 and 1.48 < factors.max() <= 1.5


def test_color_moves_each_channel_by_its_own_amount():
    pixels = torch.full((500, 3, 8, 8), 128, dtype=torch.uint8)
    moved = augmented(pixels, color=0.1) - 128.0
    amounts = moved[:, :, 0, 0]
    assert torch.equal(moved, amounts[:, :, None, None].expand_as(moved))
    assert amounts.abs().max() <= 25.5 and amounts.abs().max() > 25
    assert torch.corrcoef(amounts.T).triu(1).abs().max() < 0.2


def test_noise_has_the_standard_deviation_asked_for():
    pixels = torch.full((200, 1, 16, 16), 128, dtype=torch.uint8)
    noise = augmented(pixels, noise=0.1) - 128.0
    assert abs(noise.std() - 25.5) < 0.5 and abs(noise.mean()) < 0.5
    assert abs(torch.corrcoef(noise.flatten(1)[:2])[0, 1]) < 0.3


def test_erase_takes_one_rectangle_from_every_picture():
    pixels = torch.randint(1, 256, (600, 3, 10, 20), dtype=torch.uint8, generator=generator())
    erased = augmented(pixels, erase=0.5)
    assert erased.dtype == torch.uint8
    gone = erased == 0
    assert torch.equal(gone[:, 0], gone[:, 1]) and torch.equal(erased[~gone], pixels[~gone])
    rows, columns = gone[:, 0].any(dim=2), gone[:, 0].any(dim=1)
    assert torch.equal(gone[:, 0], rows[:, :, None] & columns[:, None, :])  # all of the rows and columns: one block
    for inside, most in ((rows, 5), (columns, 10)):
        assert (inside.byte().diff(dim=1) == 1).sum(dim=1).max() <= 1
        sides = inside.sum(dim=1)
        assert sides.max() == most
        assert inside.double().mean(dim=0).min() > 0.05  # everywhere
    assert (rows.sum(dim=1) == 5).double().mean() > 0.08  # sides are uniform in 0..most


@settings(max_examples=30, deadline=None)
@given(
    st.builds(
        Augment,
        shift=st.integers(0, 3),
        flip=st.booleans(),
        crop=st.sampled_from([0.5, 1.0]),
        rotation=st.sampled_from([0.0, 15.0, 180.0]),
        color=st.sampled_from([0.0, 0.5]),
        noise=st.sampled_from([0.0, 0.3]),
        erase=st.sampled_from([0.0, 0.4, 1.0]),
        contrast=st.sampled_from([0.0, 1.0]),
    ),
    st.sampled_from([(1, 8, 8), (3, 7, 9)]),
    st.integers(0, 1000),
)
def test_together_they_stay_in_range_repeat_and_slice(augment, shape, seed):
    pixels = torch.randint(256, (12, *shape), dtype=torch.uint8, generator=generator(seed))
    before = pixels.clone()
    drawn = augment.draw(12, shape, generator(seed))
    changed = augment.apply(pixels, drawn)
    assert torch.equal(pixels, before) and changed.shape == pixels.shape
    assert torch.equal(changed, augment(pixels, generator(seed)))
    assert changed.min() >= 0 and changed.max() <= 255 and changed.isfinite().all()
    floats = before.float()
    torch.testing.assert_close(augment.apply(floats, drawn), changed.float(), atol=0, rtol=0)
    assert torch.equal(floats, before.float())
    assert all(len(values) == 12 for values in drawn.values())
    part = augment.apply(pixels[4:7], {name: values[4:7] for name, values in drawn.items()})
    assert torch.equal(part, changed[4:7])


def test_every_image_gets_its_own_draw():
    changed = EVERYTHING(repeated(torch.full((1, 8, 8), 100, dtype=torch.uint8), 50), generator())
    assert len(changed.flatten(1).unique(dim=0)) == 50


@pytest.mark.parametrize(
    "wrong",
    [
        dict(shift=-1),
        dict(shift=1.5),
        dict(crop=0.0),
        dict(crop=1.1),
        dict(rotation=-1),
        dict(rotation=181),
        dict(color=-0.1),
        dict(noise=2),
        dict(erase=1.5),
        dict(contrast=float("nan")),
    ],
)
def test_settings_outside_their_range_are_refused(wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}.* got"):
        Augment(**wrong)
