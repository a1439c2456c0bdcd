"""The embeddings of a network, and the number that is watched while it trains."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from labkit.data import Images
from labkit.evaluation import closest_accuracy
from labkit.training.device import choose_device, place_of


def embed(network: nn.Module, images: Images, batch_size: int = 1024, device: str | torch.device = "auto") -> Tensor:
    """Embeddings (N, D) of N images, on the CPU: float32, or float64 from a float64 network.

    The network computes them in evaluation mode, `batch_size` at a time; its mode and device come back afterwards.

    >>> embed(nn.Flatten(), Images(torch.zeros(5, 1, 8, 8, dtype=torch.uint8), torch.arange(5), range(5))).shape
    torch.Size([5, 64])
    """
    mode, (home, dtype) = network.training, place_of(network)
    network.eval().to(device := choose_device(device, dtype))
    try:
        with torch.no_grad():
            parts = torch.arange(len(images)).split(batch_size)
            embeddings = torch.cat([network(images.floats(part).to(device, dtype)).cpu() for part in parts])
    finally:
        network.train(mode).to(home)
    return embeddings if embeddings.dtype == torch.float64 else embeddings.float()


def closest(reference: Images, query: Images) -> Callable[[nn.Module], dict[str, float]]:
    """A `validate` for `fit`: the share of `query` closest to the center of its class in `reference` (paper 000, 4).

    >>> images = Images(torch.tensor([0, 9], dtype=torch.uint8).view(2, 1, 1, 1), torch.arange(2), range(2))
    >>> closest(images, images)(nn.Flatten())
    {'closest accuracy': 1.0}
    """
    return functools.partial(_closest_accuracy, reference, query)


def _closest_accuracy(reference: Images, query: Images, network: nn.Module) -> dict[str, float]:
    device, _ = place_of(network)  # inside fit, the network already lies where it computes fastest
    asked, known = (embed(network, images, device=device) for images in (query, reference))
    return {"closest accuracy": closest_accuracy(asked, query.labels.cpu(), known, reference.labels.cpu())}
