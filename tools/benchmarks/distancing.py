"""The distancing step on a ResNet-18 against the loop over parameters of the thesis.

Both add the gradient of the same hill to the gradients of the same 11.2 million weights, one thread. The loop is the
paper's (its algorithm 5, and the kernel of its equation 2.4), with autograd; ours is DistancePenalty.add_gradient. The
ratio is the loop's processor time over ours, the median over rounds in which both take turns.

    python benchmarks/distancing.py
"""

import statistics
import time

import torch
from torchvision.models import resnet18

from labkit.distancing import Checkpoint, DistancePenalty

GOAL = 3
ROUNDS = 9
STRENGTH, SIGMA = 1.0, 10.0


def loop_over_parameters(checkpoints, network):
    """Algorithm 5 of the paper for every checkpoint, the kernel, and the backward pass."""
    total = 0
    for checkpoint in checkpoints:
        distance = 0
        for checkpoint_parameter, parameter in zip(checkpoint.tensors.values(), network.parameters(), strict=True):
            difference = torch.add(-parameter, checkpoint_parameter)
            distance = distance + torch.sum(torch.mul(difference, difference))
        total = total + STRENGTH * torch.exp(-distance / (2 * SIGMA**2))
    total.backward()


def network_and_checkpoints(number):
    """A ResNet-18 with gradients, and checkpoints near it."""
    torch.manual_seed(0)
    network, checkpoints = resnet18(num_classes=128), []
    for _ in range(number):
        checkpoint = Checkpoint.of(network)
        for tensor in checkpoint.tensors.values():
            tensor.add_(torch.randn_like(tensor), alpha=1e-3)
        checkpoints.append(checkpoint)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    return network, checkpoints


def check(ours, theirs, network):
    """RuntimeError unless both give the same gradient."""
    results = []
    for way in (ours, theirs):
        network.zero_grad(set_to_none=False)
        way()
        results.append(torch.cat([parameter.grad.flatten().double() for parameter in network.parameters()]))
    difference = ((results[0] - results[1]).norm() / results[1].norm()).item()
    if not difference < 1e-6:
        raise RuntimeError(f"the gradients differ by {difference:.1e}")


def compare(number, rounds=ROUNDS):
    """A row: milliseconds of both (medians) and the median ratio, with so many checkpoints."""
    network, checkpoints = network_and_checkpoints(number)
    penalty = DistancePenalty(checkpoints, STRENGTH, SIGMA)

    def ours():
        penalty.add_gradient(network)

    def theirs():
        loop_over_parameters(checkpoints, network)

    check(ours, theirs, network)
    times = {ours: [], theirs: []}
    for turn in range(rounds):
        for way in (ours, theirs) if turn % 2 else (theirs, ours):
            start = time.process_time()
            way()
            times[way].append(1000 * (time.process_time() - start))
    ratios = [loop / mine for mine, loop in zip(times[ours], times[theirs], strict=True)]
    plural = "" if number == 1 else "s"
    return {
        "name": f"distancing step, ResNet-18, {number} checkpoint{plural}",
        "ratio": statistics.median(ratios),
        "ours_ms": statistics.median(times[ours]),
        "loop_ms": statistics.median(times[theirs]),
        "goal": GOAL,
        "rounds": rounds,
    }


def rows(rounds=ROUNDS):
    """A row for one checkpoint and one for three."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [compare(number, rounds) for number in (1, 3)]
    finally:
        torch.set_num_threads(threads)


def main():
    for row in rows():
        times = f"{row['ours_ms']:.1f}, loop {row['loop_ms']:.1f} ms"
        print(f"{row['name']}: {row['ratio']:.2f} times as fast ({times}); goal {row['goal']}")


if __name__ == "__main__":
    main()
