"""The loss of a network as a landscape over its weights: lines, curves and planes through it, its curvature (lab 09).

The weights of a network are one point θ, a vector of N numbers. A `Landscape` gives the loss at any such point; the
functions below choose the points and read what was measured.
"""

import copy
import math

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector

from labkit import checks

NORMALIZATION = nn.modules.batchnorm._NormBase


class Landscape:
    """The mean loss over some images, as a function of the weights: landscape(vector) -> scalar, with its graph.

    network  an nn.Module; a copy of it is used, the network itself is left alone
    images   (B, C, H, W), floats, or what else the network takes; labels  (B,) indices of classes
    loss     (scores, labels) -> scalar, default cross-entropy

    Dropout is off. Batch normalization takes its statistics from `images`, anew at each point: the running statistics
    that a network has stored belong to the weights with which they were gathered, and to no other point.
    A point has one number for each trainable parameter, in the order of `network.parameters()`.
    """

    def __init__(self, network, images, labels, loss=F.cross_entropy):
        self.network = copy.deepcopy(network).eval()
        for module in self.network.modules():
            if isinstance(module, NORMALIZATION):
                module.train()
        self.images, self.labels, self.loss = images, labels, loss
        self.names = [name for name, parameter in self.network.named_parameters() if parameter.requires_grad]
        self.shapes = [self.network.get_parameter(name).shape for name in self.names]
        self.buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}

    def point(self, network=None):
        """Where a network stands, by default the one of this landscape: a vector (N,) without a graph, a copy."""
        network = self.network if network is None else network
        return parameters_to_vector([network.get_parameter(name) for name in self.names]).detach().clone()

    def scores(self, point):
        """What the network answers to the images at a point (N,), with its graph."""
        pieces = point.split([math.prod(shape) for shape in self.shapes])
        weights = {name: piece.view(shape) for name, piece, shape in zip(self.names, pieces, self.shapes, strict=True)}
        return functional_call(self.network, (weights, dict(self.buffers)), (self.images,))

    def __call__(self, point):
        return self.loss(self.scores(point), self.labels)

    def losses(self, points):
        """The loss at each of the points (P, N) -> (P,), without a graph."""
        with torch.no_grad():
            return torch.stack([self(point) for point in points])

    def hessian_product(self, point, direction):
        """H·direction (N,) at a point: the derivative of the gradient along a direction; no Hessian is stored."""
        point = point.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self(point), point, create_graph=True)
        return torch.autograd.grad(slope @ direction, point)[0]

    def curvature(self, point, direction):
        """The second derivative of the loss along a direction (N,): dᵀHd/dᵀd."""
        return (direction @ self.hessian_product(point, direction) / (direction @ direction)).item()

    def sharpness(self, point, iterations=30, seed=0):
        """The eigenvalue of the Hessian that is largest in size, by power iteration from a random direction."""
        direction = torch.randn(len(point), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        direction = direction.to(point)
        for _ in range(checks.whole("iterations", iterations)):
            direction = direction / direction.norm()
            product = self.hessian_product(point, direction)
            eigenvalue, direction = direction @ product, product
        return eigenvalue.item()


# --- From one point to another -----------------------------------------------------------------------------------


def line(start, end, shares):
    """Points (P, N) on the straight line; shares (P,) of the way, 0 is `start` and 1 is `end`."""
    shares = torch.as_tensor(shares).to(start)[:, None]
    return (1 - shares) * start + shares * end


def bezier(start, bend, end, shares):
    """Points (P, N) on the quadratic Bézier curve (1-t)²·start + 2t(1-t)·bend + t²·end, for the shares t (P,).

    It leaves `start` towards the bend and reaches `end` coming from it. With the bend in the middle it is the line.
    """
    t = torch.as_tensor(shares).to(start)[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end


def low_curve(landscape, start, end, steps=100, lr=0.1, momentum=0.9, seed=0):
    """The bend (N,) of a Bézier curve along which the mean loss is low (Garipov et al. 2018, arXiv 1802.10026).

    Gradient descent on the bend alone, both ends fixed, from the middle of the line; each step takes the loss at one
    random share of the way, on all images of the landscape. The rate falls as half a cosine wave.
    """
    bend = ((start + end) / 2).requires_grad_()
    made = torch.optim.SGD([bend], lr=checks.positive("lr", lr), momentum=momentum)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(made, checks.whole("steps", steps))
    for share in torch.rand(steps, generator=torch.Generator().manual_seed(seed), dtype=torch.float64):
        (bend.grad,) = torch.autograd.grad(landscape(bezier(start, bend, end, share[None])[0]), bend)
        made.step()
        schedule.step()
    return bend.detach()


def barrier(losses, shares):
    """How far the loss along a way rises above the straight line between its values at both ends; 0 if it does not.

    losses, shares  (P,), with the shares of the way in rising order from 0 to 1
    """
    losses, shares = torch.as_tensor(losses), torch.as_tensor(shares).to(torch.as_tensor(losses))
    return (losses - ((1 - shares) * losses[0] + shares * losses[-1])).max().item()


class Plane:
    """The plane through three points (N,) of weight space. `corners` holds their coordinates (3, 2).

    The first point is its origin, the second lies on its first axis; the axes are of length one, at a right angle, so
    that distances in the picture are distances in weight space. Raises ValueError if the points lie on one line.
    """

    def __init__(self, first, second, third):
        across, up = second - first, third - first
        self.origin, self.across = first, across / across.norm()
        up = up - (up @ self.across) * self.across
        if not up.norm() > 1e-6 * (third - first).norm():
            raise ValueError("third: lies on the line through the first two points, expected three that span a plane")
        self.up = up / up.norm()
        self.corners = self.coordinates(torch.stack([first, second, third]))

    def coordinates(self, points):
        """Where points (P, N) lie in the plane, (P, 2): the foot of the perpendicular, if they lie beside it."""
        return (points - self.origin) @ torch.stack([self.across, self.up], dim=1)

    def points(self, coordinates):
        """The points (P, N) at coordinates (P, 2)."""
        return self.origin + torch.as_tensor(coordinates).to(self.origin) @ torch.stack([self.across, self.up])

    def losses(self, landscape, x, y):
        """The loss over a grid of coordinates x (X,) and y (Y,): (Y, X)."""
        grid = torch.cartesian_prod(torch.as_tensor(y), torch.as_tensor(x)).flip(1)
        with torch.no_grad():  # one point after the other: thousands of points would not fit into memory at once
            return torch.stack([landscape(self.points(place[None])[0]) for place in grid]).view(len(y), len(x))
