"""The loss of a network as a landscape over its N weights, which are one point: its paths, its curvature (lab 09)."""

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector

from labkit import checks


class Landscape:
    """The mean cross-entropy over images as a function of the weights: landscape(vector) -> scalar, with its graph.

    network: an nn.Module, of which a copy is used. images, labels: what it takes (B, ...); indices of classes (B,).
    Dropout is off. Batch normalization takes its statistics from `images`, anew at each point.

    >>> Landscape(nn.Linear(2, 3), torch.zeros(4, 2), torch.tensor([0, 1, 2, 0]))(torch.zeros(9))
    tensor(1.0986)
    """

    def __init__(self, network: nn.Module, images: Tensor, labels: Tensor):
        self.network = copy.deepcopy(network).eval()
        for module in self.network.modules():
            if isinstance(module, nn.modules.batchnorm._NormBase):
                module.train()
        self.images, self.labels = images, labels
        self.parameters = {name: p for name, p in self.network.named_parameters() if p.requires_grad}

    def point(self, network: nn.Module | None = None) -> Tensor:
        """Where a network stands, by default the one of this landscape: a vector (N,) without a graph, a copy."""
        network = self.network if network is None else network
        return parameters_to_vector([network.get_parameter(name) for name in self.parameters]).detach().clone()

    def scores(self, point: Tensor) -> Tensor:
        """What the network answers to the images at a point (N,), with its graph."""
        pieces = point.split([parameter.numel() for parameter in self.parameters.values()])
        weights = {name: pieces[n].view_as(p) for n, (name, p) in enumerate(self.parameters.items())}
        return functional_call(self.network, weights, (self.images,))

    def __call__(self, point: Tensor) -> Tensor:
        return F.cross_entropy(self.scores(point), self.labels)

    def losses(self, points: Tensor) -> Tensor:
        """The loss at each of the points (P, N) -> (P,), without a graph."""
        with torch.no_grad():
            return torch.stack([self(point) for point in points])

    def hessian_product(self, point: Tensor, direction: Tensor) -> Tensor:
        """H·direction (N,) at a point: the derivative of the gradient along a direction; no Hessian is stored."""
        point = point.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self(point), point, create_graph=True)
        return torch.autograd.grad(slope @ direction, point)[0]

    def curvature(self, point: Tensor, direction: Tensor) -> float:
        """The second derivative of the loss along a direction (N,): dᵀHd/dᵀd."""
        return (direction @ self.hessian_product(point, direction) / (direction @ direction)).item()

    def sharpness(self, point: Tensor, iterations: int = 30) -> float:
        """The eigenvalue of the Hessian that is largest in size, by power iteration from a random direction."""
        direction = torch.randn(len(point), generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(point)
        for _ in range(checks.whole("iterations", iterations)):
            direction = direction / direction.norm()
            product = self.hessian_product(point, direction)
            eigenvalue, direction = direction @ product, product
        return eigenvalue.item()


def line(start: Tensor, end: Tensor, shares: Tensor) -> Tensor:
    """Points (P, N) on the straight line from `start` (N,), at share 0, to `end`, at share 1; shares (P,).

    >>> line(torch.tensor([0.0, 2.0]), torch.tensor([4.0, 0.0]), [0.5])
    tensor([[2., 1.]])
    """
    shares = torch.as_tensor(shares).to(start)[:, None]
    return (1 - shares) * start + shares * end


def bezier(start: Tensor, bend: Tensor, end: Tensor, shares: Tensor) -> Tensor:
    """Points (P, N) on the quadratic Bézier curve (1-t)²·start + 2t(1-t)·bend + t²·end, for the shares t (P,).

    >>> bezier(torch.tensor([0.0, 0.0]), torch.tensor([2.0, 2.0]), torch.tensor([4.0, 0.0]), [0.5])
    tensor([[2., 1.]])
    """
    t = torch.as_tensor(shares).to(start)[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end


def low_curve(landscape: Landscape, start: Tensor, end: Tensor, steps: int = 100, lr: float = 0.1) -> Tensor:
    """The bend (N,) of a Bézier curve along which the mean loss is low (Garipov et al. 2018, arXiv 1802.10026).

    Gradient descent on the bend alone, from the middle of the line, with momentum 0.9 and a rate that falls from `lr`
    as half a cosine wave; each of the `steps` takes the loss at one random share of the path, on all images.

    >>> low_curve(lambda point: point[1] ** 2, torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 0.0]))
    tensor([0., 0.])
    """
    bend = ((start + end) / 2).requires_grad_()
    made = torch.optim.SGD([bend], lr=checks.positive("lr", lr), momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(made, checks.whole("steps", steps))
    for share in torch.rand(steps, generator=torch.Generator().manual_seed(0), dtype=torch.float64):
        (bend.grad,) = torch.autograd.grad(landscape(bezier(start, bend, end, share[None])[0]), bend)
        made.step()
        schedule.step()
    return bend.detach()


def barrier(losses: Tensor, shares: Tensor) -> float:
    """How far the losses (P,) at rising shares (P,) of a path rise above the straight line from the first to the last.

    >>> round(barrier([0.05, 0.5, 0.04], [0.0, 0.5, 1.0]), 3)
    0.455
    """
    losses, shares = torch.as_tensor(losses), torch.as_tensor(shares).to(torch.as_tensor(losses))
    return (losses - ((1 - shares) * losses[0] + shares * losses[-1])).max().item()


class Plane:
    """The plane through three points (N,) of weight space. `corners` holds their coordinates (3, 2).

    The first point is its origin, the second lies on its first axis; the axes are of length one, at a right angle, so
    that distances in the picture are distances in weight space. Raises ValueError if the points lie on one line.

    >>> Plane(torch.zeros(3), torch.tensor([2.0, 0, 0]), torch.tensor([1.0, 1, 0])).corners.tolist()
    [[0.0, 0.0], [2.0, 0.0], [1.0, 1.0]]
    """

    def __init__(self, first: Tensor, second: Tensor, third: Tensor):
        across, up = second - first, third - first
        self.origin, self.across = first, across / across.norm()
        up = up - (up @ self.across) * self.across
        if not up.norm() > 1e-6 * (third - first).norm():
            raise ValueError("third: got a point on the line through the other two, expected three that span a plane")
        self.up = up / up.norm()
        self.corners = self.coordinates(torch.stack([first, second, third]))

    def coordinates(self, points: Tensor) -> Tensor:
        """Where points (P, N) lie in the plane, (P, 2): the foot of the perpendicular, if they lie beside it."""
        return (points - self.origin) @ torch.stack([self.across, self.up], dim=1)

    def points(self, coordinates: Tensor) -> Tensor:
        """The points (P, N) at coordinates (P, 2)."""
        return self.origin + torch.as_tensor(coordinates).to(self.origin) @ torch.stack([self.across, self.up])

    def losses(self, landscape: Landscape, x: Tensor, y: Tensor) -> Tensor:
        """The loss over a grid of coordinates x (X,) and y (Y,): (Y, X)."""
        grid = torch.cartesian_prod(torch.as_tensor(y), torch.as_tensor(x)).flip(1)
        with torch.no_grad():  # one after the other: thousands of points would not fit into memory at once
            return torch.stack([landscape(self.points(place[None])[0]) for place in grid]).view(len(y), len(x))
