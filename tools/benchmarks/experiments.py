"""A run of the papers' tables against the loop that people write: images a second, training included.

Both train the recipe's network with cross-entropy and the recipe's SGD on batches of the recipe's size. Ours: `fit` on
`Batches`, as `labkit measure` runs it (on a GPU: images and augmentation there, bf16). Theirs: a torchvision Dataset
with PIL transforms for the same augmentation, a DataLoader, float32, one step after the other. On a CPU: the reduced
recipe of Fashion-MNIST, one thread for each and no worker processes; on a GPU: the full recipe of CIFAR-10, with eight
workers. Measured in interleaved rounds: what is reported is the median of the rounds' ratios, our images a second over
theirs.

    python -m tools.benchmarks.experiments
"""

import statistics
import time

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from experiments import networks, parts
from experiments.recipe import Recipe, recipe
from labkit.data import Batches, Images
from labkit.losses import SoftmaxLoss
from labkit.training import fit

COUNT = 8192
ROUNDS = 5
DIM = 64


def random_images(channels: int, size: int) -> Images:
    """Noise: what the pixels show makes no difference to the time."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (COUNT, channels, size, size), dtype=torch.uint8, generator=generator)
    labels = torch.randint(10, (COUNT,), generator=generator)
    return Images(pixels, labels, tuple("0123456789"), "noise")


def usual_loader(images: Images, used: Recipe, workers: int) -> DataLoader:
    """torchvision's own FashionMNIST or CIFAR10 object on these images, with the recipe's augmentation."""
    channels, size, _ = images.shape
    dataset_class = datasets.FashionMNIST if channels == 1 else datasets.CIFAR10
    dataset = dataset_class.__new__(dataset_class)  # without __init__, which would look for files
    dataset.data = images.images[:, 0] if channels == 1 else images.images.permute(0, 2, 3, 1).contiguous().numpy()
    dataset.targets = images.labels if channels == 1 else images.labels.tolist()
    dataset.target_transform = None
    augment = used.augment
    steps = [transforms.RandomCrop(size, padding=augment.shift)] if augment.shift else []
    steps += [transforms.RandomHorizontalFlip()] if augment.flip else []
    steps += [transforms.ToTensor(), transforms.Normalize((0.5,) * channels, (0.5,) * channels)]
    steps += [transforms.RandomErasing()] if augment.erase else []
    dataset.transform = transforms.Compose(steps)
    return DataLoader(
        dataset, used.batches["batch_size"], shuffle=True, drop_last=True, num_workers=workers, pin_memory=workers > 0
    )


def made(used: Recipe, images: Images) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return networks.network(used.network, images, DIM), SoftmaxLoss(10, DIM)


def usual(used: Recipe, images: Images, loader: DataLoader, device: torch.device) -> int:
    network, loss = (module.to(device).train() for module in made(used, images))
    parameters = [*network.parameters(), *loss.parameters()]
    optimizer = torch.optim.SGD(parameters, used.rate, used.momentum, weight_decay=used.weight_decay, nesterov=True)
    schedule = parts.schedule(used)(optimizer, len(loader))
    seen = 0
    for pixels, labels in loader:
        value = loss(network(pixels.to(device)), labels.to(device))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        seen += len(labels)
    value.item()
    return seen


def ours(used: Recipe, images: Images, device: torch.device) -> int:
    network, loss = made(used, images)
    batches = Batches(images.to(device), **used.batches, augment=used.augment)
    made_of = {"optimizer": parts.optimizer(used, 1.0), "schedule": parts.schedule(used)}
    fit(network, loss, batches, 1, **made_of, device=device, progress=False)
    return len(batches) * used.batches["batch_size"]


def rows(rounds: int = ROUNDS) -> list[dict]:
    """One row: how many times as many images a second as the usual loop."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size, dataset, shape = (
        ("full", "cifar10", (3, 32)) if device.type == "cuda" else ("reduced", "fashion_mnist", (1, 28))
    )
    used, images = recipe(size, dataset), random_images(*shape)
    loader = usual_loader(images, used, workers=8 if device.type == "cuda" else 0)
    runs = {"ours": lambda: ours(used, images, device), "usual": lambda: usual(used, images, loader, device)}
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for number in range(rounds + 1):  # the first one to warm up
            for name in sorted(runs, reverse=bool(number % 2)):
                start = time.perf_counter()
                seen = runs[name]()
                if number:
                    speeds[name].append(seen / (time.perf_counter() - start))
    finally:
        torch.set_num_threads(threads)
    ratios = [mine / theirs for mine, theirs in zip(speeds["ours"], speeds["usual"], strict=True)]
    return [
        {
            "name": f"{size} recipe of {dataset}, {used.network}, {device.type}, images a second",
            "ours_images_per_second": statistics.median(speeds["ours"]),
            "usual_images_per_second": statistics.median(speeds["usual"]),
            "ratio": statistics.median(ratios),
            "ratio_least": min(ratios),
            "ratio_most": max(ratios),
            "rounds": rounds,
        }
    ]


def main() -> None:
    for row in rows():
        speeds = f"{row['ours_images_per_second']:.0f} against {row['usual_images_per_second']:.0f}"
        spread = f"{row['ratio_least']:.2f} to {row['ratio_most']:.2f} in {row['rounds']} rounds"
        print(f"{row['name']}: {speeds}, {row['ratio']:.2f} times as many ({spread})")


if __name__ == "__main__":
    main()
