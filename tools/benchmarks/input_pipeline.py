"""The input pipeline against the usual one: torchvision Dataset, PIL transforms and a DataLoader.

Both cut a batch of 128 from images in memory, move every image by up to `SHIFT` pixels, mirror half of them, and
normalize. Measured in interleaved rounds, because a machine that is shared changes its pace, and with one thread for
each, because two are slower than one where neighbors want the cores: what is reported is the median of the rounds'
ratios, usual time over ours. The goal is at least 20.

    python benchmarks/input_pipeline.py
"""

import statistics
import time
from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from labkit.data import Batches, Images
from labkit.data.augmentation import Augment

BATCH = 128
SHIFT = 2
GOAL = 20.0
ROUNDS = 7


def random_images(channels: int, size: int, count: int = 4096) -> Images:
    """Noise: what the pixels show makes no difference to the time."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, channels, size, size), dtype=torch.uint8, generator=generator)
    labels = torch.randint(10, (count,), generator=generator)
    return Images(pixels, labels, tuple("0123456789"), f"noise {channels}×{size}×{size}")


def usual_pipeline(images: Images) -> DataLoader:
    """torchvision's own MNIST or CIFAR10 object on these images, with PIL transforms, in a DataLoader."""
    channels, size, _ = images.shape
    dataset_class = datasets.MNIST if channels == 1 else datasets.CIFAR10
    dataset = dataset_class.__new__(dataset_class)  # without __init__, which would look for files
    dataset.data = images.images[:, 0] if channels == 1 else images.images.permute(0, 2, 3, 1).contiguous().numpy()
    dataset.targets = images.labels if channels == 1 else images.labels.tolist()
    dataset.target_transform = None
    dataset.transform = transforms.Compose(
        [
            transforms.RandomCrop(size, padding=SHIFT),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.5,) * channels, (0.5,) * channels),
        ]
    )
    return DataLoader(dataset, BATCH, shuffle=True, drop_last=True)


def endless(batches: Iterable) -> Iterator:
    while True:
        yield from batches


def seconds_per_batch(batches: Iterator, count: int) -> float:
    start = time.perf_counter()
    for images, _ in islice(batches, count):
        images[0, 0, 0, 0].item()
    return (time.perf_counter() - start) / count


def compare(name: str, ours: Iterable, usual: Iterable, rounds: int) -> dict:
    """One row: milliseconds a batch (medians) and the median of the rounds' ratios."""
    pipelines = {"ours": (endless(ours), 64), "usual": (endless(usual), 4)}
    times: dict[str, list[float]] = {"ours": [], "usual": []}
    for batches, count in pipelines.values():
        seconds_per_batch(batches, count)  # to warm up
    for number in range(rounds):
        for key in sorted(pipelines, reverse=bool(number % 2)):
            times[key].append(1000 * seconds_per_batch(*pipelines[key]))
    ratios = [usual / ours for usual, ours in zip(times["usual"], times["ours"], strict=True)]
    return {
        "name": name,
        "ours_ms": statistics.median(times["ours"]),
        "usual_ms": statistics.median(times["usual"]),
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_most": max(ratios),
        "goal": GOAL,
        "rounds": rounds,
    }


def rows(rounds: int = ROUNDS) -> list[dict]:
    """A row for each image size: how many times as fast as the usual pipeline ours is."""
    result = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for channels, size in ((1, 28), (3, 32)):
            images = random_images(channels, size)
            batches = Batches(images, BATCH, augment=Augment(shift=SHIFT, flip=True))
            name = f"{channels}×{size}×{size}, batch {BATCH}, shift and flip"
            result.append(compare(name, batches, usual_pipeline(images), rounds))
    finally:
        torch.set_num_threads(threads)
    return result


def main() -> None:
    for row in rows():
        print(
            f"{row['name']}: {row['ratio']:.0f} times as fast ({row['ratio_least']:.0f} to {row['ratio_most']:.0f} in "
            f"{row['rounds']} rounds; {row['ours_ms']:.2f} against {row['usual_ms']:.1f} ms a batch); goal {GOAL:.0f}"
        )


if __name__ == "__main__":
    main()
