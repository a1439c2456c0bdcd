"""labkit.landscape: known landscapes, float64 loops and whole Hessians; the network itself is left as it is."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from labkit import networks
from labkit.landscape import Landscape, Plane, barrier, bezier, line, low_curve


def small_net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3)).double()


@pytest.fixture
def landscape():
    random = torch.Generator().manual_seed(1)
    images = torch.randn(6, 1, 2, 2, generator=random, dtype=torch.float64)
    return Landscape(small_net(), images, torch.tensor([0, 1, 2, 0, 1, 2]))


def with_weights(network, point):
    """A copy of a network with the numbers of a point as its weights, put in one by one."""
    network, numbers = copy.deepcopy(network), point.tolist()
    with torch.no_grad():
        for parameter in network.parameters():
            for place in range(parameter.numel()):
                parameter.view(-1)[place] = numbers.pop(0)
    return network


def test_the_loss_at_a_point_is_that_of_a_network_with_these_weights(landscape):
    point = torch.randn(len(landscape.point()), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = F.cross_entropy(with_weights(small_net(), point)(landscape.images), landscape.labels)
    assert landscape(point).item() == pytest.approx(expected.item(), abs=1e-12)
    assert landscape.losses(torch.stack([point, landscape.point()])).tolist() == pytest.approx(
        [expected.item(), landscape(landscape.point()).item()], abs=1e-12
    )


def test_a_point_is_a_copy_of_a_networks_weights(landscape):
    other = small_net(5)
    point = landscape.point(other)
    assert torch.equal(point, torch.cat([p.detach().flatten() for p in other.parameters()]))
    point += 1
    assert not torch.equal(point, landscape.point(other))


def test_frozen_parameters_are_no_part_of_a_point(landscape):
    network = small_net()
    network[1].weight.requires_grad_(False)
    part = Landscape(network, landscape.images, landscape.labels)
    assert len(part.point()) == 3 + 9 + 3
    assert part(part.point()).item() == pytest.approx(landscape(landscape.point()).item(), abs=1e-12)


def whole_hessian(landscape):
    return torch.autograd.functional.hessian(landscape, landscape.point())


def test_curvature_against_the_whole_hessian(landscape):
    hessian, point = whole_hessian(landscape), landscape.point()
    direction = torch.randn(len(point), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert torch.allclose(landscape.hessian_product(point, direction), hessian @ direction, atol=1e-12)
    expected = direction @ hessian @ direction / direction.square().sum()
    assert landscape.curvature(point, direction) == pytest.approx(expected.item(), abs=1e-12)
    assert landscape.curvature(point, 7 * direction) == pytest.approx(expected.item(), abs=1e-12)


def test_sharpness_is_the_largest_eigenvalue(landscape):
    eigenvalues = torch.linalg.eigvalsh(whole_hessian(landscape))
    largest = eigenvalues[eigenvalues.abs().argmax()].item()
    assert landscape.sharpness(landscape.point(), iterations=300) == pytest.approx(largest, rel=1e-4)
    with pytest.raises(ValueError, match="iterations"):
        landscape.sharpness(landscape.point(), iterations=0)


def test_batch_normalization_takes_the_statistics_of_the_images_at_every_point():
    torch.manual_seed(0)
    network = networks.SmallResNet(dim=3, width=2).double()
    images, labels = torch.randn(8, 1, 8, 8, dtype=torch.float64), torch.arange(8) % 3
    before = copy.deepcopy(network.state_dict())
    landscape = Landscape(network.eval(), images, labels)
    twin = with_weights(network, landscape.point() * 1.5).train()
    expected = F.cross_entropy(twin(images), labels).item()
    for _ in range(2):  # nothing is gathered from one look to the next
        assert landscape(landscape.point() * 1.5).item() == pytest.approx(expected, abs=1e-12)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not network.training


def test_dropout_is_off():
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 2)).double().train()
    landscape = Landscape(network, torch.ones(5, 1, 2, 2, dtype=torch.float64), torch.zeros(5, dtype=torch.long))
    assert landscape(landscape.point()).item() == landscape(landscape.point()).item()


# --- From one point to another -----------------------------------------------------------------------------------

START, BEND, END = torch.tensor([[0.0, 0.0], [1.0, 2.0], [4.0, 0.0]], dtype=torch.float64)


def test_line_and_curve_by_hand():
    assert line(START, END, [0, 0.25, 1]).tolist() == [[0, 0], [1, 0], [4, 0]]
    assert bezier(START, BEND, END, [0, 0.5, 1]).tolist() == [[0, 0], [1.5, 1.0], [4, 0]]
    shares = torch.linspace(0, 1, 7)
    assert torch.allclose(bezier(START, (START + END) / 2, END, shares), line(START, END, shares), atol=1e-6)


def test_the_curve_goes_around_a_hill():
    """Two places with a Gaussian hill a little beside the line between them."""

    def hill(place):
        return torch.exp(-((place - torch.tensor([0.0, -0.1])) ** 2).sum() * 2) + 1e-3 * place.square().sum()

    a, b = torch.tensor([-2.0, 0.0], dtype=torch.float64), torch.tensor([2.0, 0.0], dtype=torch.float64)
    shares = torch.linspace(0, 1, 41)
    bend = low_curve(hill, a, b, steps=300, lr=0.2)
    straight, around = (
        barrier(torch.stack([hill(p) for p in way]), shares) for way in (line(a, b, shares), bezier(a, bend, b, shares))
    )
    assert straight > 0.9 and around < 0.1
    assert bend[1] > 1, "away from the hill"
    assert torch.equal(bend, low_curve(hill, a, b, steps=300, lr=0.2)), "the same seed, the same curve"
    with pytest.raises(ValueError, match=r"lr: got 0\.0"):
        low_curve(hill, a, b, lr=0.0)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([0.5, 2.5, 0.5], 2.0),
        ([0.0, 0.5, 1.0], 0.0),
        ([0.0, 1.5, 1.0], 1.0),
        ([1.0, 0.0, 1.0], 0.0),
        ([1.0, 1.5, 0.0], 1.0),
    ],
)
def test_barrier(losses, expected):
    assert barrier(losses, [0, 0.5, 1]) == pytest.approx(expected)


# --- Planes ------------------------------------------------------------------------------------------------------


def test_a_plane_keeps_distances_and_gives_its_corners_back():
    random = torch.Generator().manual_seed(0)
    a, b, c = torch.randn(3, 20, generator=random, dtype=torch.float64)
    plane = Plane(a, b, c)
    assert torch.allclose(plane.points(plane.corners), torch.stack([a, b, c]), atol=1e-12)
    for first, second, i, j in ((a, b, 0, 1), (a, c, 0, 2), (b, c, 1, 2)):
        apart = (plane.corners[i] - plane.corners[j]).norm()
        assert apart.item() == pytest.approx((first - second).norm().item(), abs=1e-12)
    assert plane.corners[0].tolist() == [0, 0] and plane.corners[1, 1].item() == pytest.approx(0, abs=1e-12)
    assert plane.corners[2, 1] > 0


def test_a_point_beside_the_plane_is_seen_at_its_foot():
    a, b, c, beside = torch.eye(4, dtype=torch.float64)
    plane = Plane(a, b, c)
    foot = plane.points(plane.coordinates((a + beside)[None]))[0]
    assert (foot - (a + beside)) @ (b - a) == pytest.approx(0, abs=1e-12)
    assert (foot - (a + beside)) @ (c - a) == pytest.approx(0, abs=1e-12)


def test_the_losses_of_a_plane_are_a_row_for_each_y():
    a, b, c = torch.tensor([[0.0, 0.0, 5.0], [1.0, 0.0, 5.0], [0.0, 1.0, 5.0]], dtype=torch.float64)
    heights = Plane(a, b, c).losses(lambda point: point[0] + 10 * point[1] + point[2], [0.0, 1.0, 2.0], [0.0, 3.0])
    assert heights.tolist() == [[5, 6, 7], [35, 36, 37]]


def test_three_points_on_a_line_span_no_plane():
    with pytest.raises(ValueError, match="third: got a point on the line"):
        Plane(START, BEND, 2 * BEND)
