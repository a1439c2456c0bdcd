"""fit against a plain PyTorch loop that does the same work.

Both train the same network from the same weights on the same batches (128 images of 28×28, made by `Batches`) with
the same loss and fused Adam, weights and images in channels_last; fit also shows its progress bar. Measured in
interleaved rounds with one thread, in processor time, which neighbors on a shared machine disturb least: what is
reported is the median of the rounds' ratios, fit over plain loop. The goal is at most 1.05.

    python -m tools.benchmarks.training_loop
"""

import contextlib
import io
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from labkit.data import Batches, Images
from labkit.losses import ContrastiveLoss
from labkit.networks import LeNet, SmallResNet
from labkit.training import fit

BATCH = 128
STEPS = 40
GOAL = 1.05
ROUNDS = 5


def random_images(count: int = 4096) -> Images:
    """Noise: what the pixels show makes no difference to the time."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 1, 28, 28), dtype=torch.uint8, generator=generator)
    labels = torch.randint(10, (count,), generator=generator)
    return Images(pixels, labels, tuple("0123456789"), "noise")


def plain_loop(network: nn.Module, loss: nn.Module, batches: Batches) -> list[float]:
    network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    losses = []
    for images, labels in batches.iterate(0):
        value = loss(network(images.to(memory_format=torch.channels_last)), labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses


def with_fit(network: nn.Module, loss: nn.Module, batches: Batches) -> list[float]:
    with contextlib.redirect_stderr(io.StringIO()):
        return fit(network, loss, batches, epochs=1, device="cpu").loss


def processor_seconds(train: Callable, make_network: Callable, batches: Batches) -> float:
    torch.manual_seed(0)
    network, loss = make_network(), ContrastiveLoss()
    start = time.process_time()
    train(network, loss, batches)
    return time.process_time() - start


def compare(name: str, make_network: Callable, batches: Batches, rounds: int) -> dict:
    """One row: milliseconds a step (medians) and the median of the rounds' ratios."""
    loops = {"fit": with_fit, "plain": plain_loop}
    times: dict[str, list[float]] = {key: [] for key in loops}
    for train in loops.values():
        processor_seconds(train, make_network, batches)  # to warm up
    for number in range(rounds):
        for key in sorted(loops, reverse=bool(number % 2)):
            times[key].append(1000 * processor_seconds(loops[key], make_network, batches) / len(batches))
    ratios = [ours / plain for ours, plain in zip(times["fit"], times["plain"], strict=True)]
    return {
        "name": name,
        "fit_ms": statistics.median(times["fit"]),
        "plain_ms": statistics.median(times["plain"]),
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_most": max(ratios),
        "goal": GOAL,
        "rounds": rounds,
    }


def rows(rounds: int = ROUNDS) -> list[dict]:
    """A row for each network: how many times as long as a plain loop fit takes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        batches = Batches(random_images(), BATCH, steps=STEPS)
        networks = {"LeNet": LeNet, "SmallResNet": SmallResNet}
        return [compare(f"{name}, 28×28, batch {BATCH}", make, batches, rounds) for name, make in networks.items()]
    finally:
        torch.set_num_threads(threads)


def main() -> None:
    for row in rows():
        print(
            f"{row['name']}: {row['ratio']:.3f} of the plain loop ({row['ratio_least']:.3f} to {row['ratio_most']:.3f} "
            f"in {row['rounds']} rounds; {row['fit_ms']:.1f} against {row['plain_ms']:.1f} ms a step); goal {GOAL}"
        )


if __name__ == "__main__":
    main()
