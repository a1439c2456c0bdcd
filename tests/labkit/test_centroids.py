import itertools
import math

import pytest
import torch

from labkit import centroids
from labkit.centroids import charge_simulation, deviation_from_simplex, energy, evenly_distributed

F64 = torch.float64
THOMSON = {
    2: 0.5, 3: 1.732050808, 4: 3.674234614, 5: 6.474691495, 6: 9.985281374, 7: 14.452977414, 8: 19.675287861,
    9: 25.759986531, 10: 32.716949460, 11: 40.596450510, 12: 49.165253058, 13: 58.853230612, 14: 69.306363297,
    15: 80.670244114, 16: 92.911655302, 17: 106.050404829, 18: 120.084467447, 19: 135.089467557, 20: 150.881568334,
}  # fmt: skip


def loop_energy(points):
    return sum(1 / math.dist(p, q) for p, q in itertools.combinations(points.tolist(), 2))


def simplex_energy(corners):
    return corners * (corners - 1) / 2 / math.sqrt(2 * corners / (corners - 1))


def largest_cosine(points):
    return (points @ points.T).fill_diagonal_(-1).max().item()


# The closed form


@pytest.mark.parametrize(
    ("number", "dim"), [(2, 1), (2, 2), (3, 2), (4, 3), (5, 9), (10, 9), (10, 512), (100, 128), (1000, 999)]
)
def test_a_simplex_has_equal_cosines_to_1e_12(number, dim):
    points = evenly_distributed(number, dim)
    assert points.shape == (number, dim) and points.dtype == F64
    cosines = points @ points.T
    expected = torch.full_like(cosines, -1 / (number - 1)).fill_diagonal_(1)
    assert (cosines - expected).abs().max() < 1e-12
    assert deviation_from_simplex(points) < 1e-12
    assert points.sum(0).abs().max() < 1e-12
    assert energy(points).item() == pytest.approx(simplex_energy(number), rel=1e-12)


def test_energies_of_the_simplex_as_printed():
    assert energy(evenly_distributed(10, 12)).item() == pytest.approx(30.186918, abs=5e-7)
    assert energy(evenly_distributed(100, 99)).item() == pytest.approx(3482.633702, abs=5e-7)


@pytest.mark.parametrize("dim", [2, 3, 8])
def test_twice_as_many_as_dimensions_are_the_cross_polytope(dim):
    points = evenly_distributed(2 * dim, dim)
    cosines = (points @ points.T).sort(dim=1).values
    expected = torch.tensor([-1.0] + [0.0] * (2 * dim - 2) + [1.0], dtype=F64).expand_as(cosines)
    assert (cosines - expected).abs().max() < 1e-12


@pytest.mark.parametrize(("number", "dim"), [(5, 3), (6, 4), (7, 4), (9, 5), (11, 6), (1000, 512)])
def test_between_them_are_simplices_at_right_angles(number, dim):
    points = evenly_distributed(number, dim)
    assert (points.norm(dim=1) - 1).abs().max() < 1e-12
    assert abs(largest_cosine(points)) < 1e-12
    _, gradient = centroids._energy_and_gradient(points)
    assert gradient.abs().max() < 1e-10  # at rest
    if number < 20:
        found = energy(evenly_distributed(number, dim, method="energy", restarts=4))
        assert energy(points).item() == pytest.approx(found.item(), abs=1e-8)


def test_one_class_and_two():
    for method in ("auto", "energy"):
        assert evenly_distributed(1, 3, method=method).norm().item() == pytest.approx(1, abs=1e-14)
    assert sorted(evenly_distributed(2, 1).flatten().tolist()) == [-1, 1]
    assert {evenly_distributed(1, 1, seed=seed).item() for seed in range(12)} == {-1, 1}


@pytest.mark.parametrize(("number", "dim"), [(1, 4), (4, 4), (8, 4), (7, 3)])
def test_the_seed_decides_everything(number, dim):
    first = evenly_distributed(number, dim, seed=3, restarts=1)
    torch.manual_seed(5)
    assert torch.equal(first, evenly_distributed(number, dim, seed=3, restarts=1))
    assert (first - evenly_distributed(number, dim, seed=4, restarts=1)).abs().max() > 0.05
    default = evenly_distributed(number, dim, restarts=1)
    assert torch.equal(default, evenly_distributed(number, dim, seed=0, restarts=1))


def test_all_rotations_are_equally_likely():
    # The first corner of a triangle: mean 0, covariance I/2, all quadrants alike, and both orientations.
    corners = torch.stack([evenly_distributed(3, 2, seed=seed) for seed in range(800)])
    first = corners[:, 0]
    assert first.mean(0).abs().max() < 0.08
    assert (first.T @ first / 800 - torch.eye(2) / 2).abs().max() < 0.06
    quadrant = 2 * (first[:, 0] > 0) + (first[:, 1] > 0)
    assert (torch.bincount(quadrant) / 800 - 0.25).abs().max() < 0.06
    orientation = torch.linalg.det(corners[:, :2]).sign()
    assert orientation.mean().abs() < 0.12
    turned = centroids._rotation(5, torch.Generator().manual_seed(0))
    assert (turned @ turned.T - torch.eye(5)).abs().max() < 1e-14


# The smallest energy


@pytest.mark.parametrize(("number", "dim"), [(2, 2), (3, 2), (4, 3), (6, 8), (10, 9)])
def test_the_smallest_energy_is_that_of_the_simplex(number, dim):
    points = evenly_distributed(number, dim, method="energy", restarts=2)
    assert (points.norm(dim=1) - 1).abs().max() < 1e-12
    assert energy(points).item() == pytest.approx(simplex_energy(number), abs=1e-8)
    assert deviation_from_simplex(points) < 1e-5
    if number > 3:
        assert deviation_from_simplex(points) > 1e-13  # found, not written down


@pytest.mark.parametrize("number", THOMSON)
def test_thomson(number):
    points = evenly_distributed(number, 3, method="energy", restarts=12 if number == 16 else 4)
    assert energy(points).item() == pytest.approx(THOMSON[number], abs=1e-8)


def test_in_two_dimensions_a_regular_polygon():
    points = evenly_distributed(10, 2)
    assert energy(points).item() == pytest.approx(38.624498980, abs=1e-8)
    angles = torch.atan2(points[:, 1], points[:, 0]).sort().values.diff()
    assert (angles - 2 * math.pi / 10).abs().max() < 1e-4


def test_the_best_of_the_restarts_is_kept(monkeypatch):
    results = iter([(3.0, "c"), (1.0, "a"), (2.0, "b")] * 10)
    starts = []

    def minimum(start):
        starts.append(start)
        return next(results)

    monkeypatch.setattr(centroids, "_minimize_energy", minimum)
    assert evenly_distributed(9, 3, restarts=3) == "a" and len(starts) == 3
    assert not torch.equal(starts[0], starts[1])
    for number, expected in ((500, 12), (501, 1)):
        starts.clear()
        evenly_distributed(number, 2)
        assert len(starts) == expected


def test_a_large_problem_is_given_up_in_time():
    # 60 steps, whatever the size; with them the energy is far below that of random points.
    start = centroids._random_points(300, 100, torch.Generator().manual_seed(0))
    monkey = centroids.WORK
    try:
        centroids.WORK = 1
        value, points = centroids._minimize_energy(start)
    finally:
        centroids.WORK = monkey
    assert value == pytest.approx(energy(points).item(), rel=1e-10)
    settled = energy(evenly_distributed(200, 100)).item()
    assert settled < energy(centroids._random_points(200, 100, torch.Generator().manual_seed(0))).item()
    assert value < 0.997 * energy(start).item()


def test_energy_equals_the_loop():
    points = torch.randn(7, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
    assert energy(points).item() == pytest.approx(loop_energy(points), rel=1e-12)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        value = energy(points.to(dtype))
        assert value.dtype == torch.float32 and value.item() == pytest.approx(loop_energy(points.to(dtype)), rel=1e-5)
    assert energy(points[:1]).item() == 0
    assert energy(torch.ones(2, 3)).item() == math.inf
    assert torch.autograd.gradcheck(energy, points.requires_grad_())


def test_the_gradient_of_the_search_is_that_of_the_energy():
    vectors = torch.randn(6, 4, dtype=F64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    expected = energy(torch.nn.functional.normalize(vectors, dim=1))
    expected.backward()
    value, gradient = centroids._energy_and_gradient(vectors.detach())
    assert value == pytest.approx(expected.item(), rel=1e-12)
    torch.testing.assert_close(gradient, vectors.grad, rtol=1e-10, atol=1e-12)


def test_deviation_from_simplex():
    square = torch.tensor([[1.0, 0], [0, 3], [-1, 0], [0, -1]])
    assert deviation_from_simplex(square) == pytest.approx(2 / 3)
    assert deviation_from_simplex(torch.eye(2)) == pytest.approx(1)
    assert deviation_from_simplex(torch.eye(3)) == pytest.approx(0.5)


# The papers' simulation


def loop_simulation(points, steps, rate):
    """The CSAE generator with loops over pairs."""
    points, velocities = points.tolist(), [[0.0] * len(points[0]) for _ in points]
    for _ in range(steps):
        pushes = []
        for p in points:
            force = [0.0] * len(p)
            for q in points:
                cube = max(math.dist(p, q), 1e-2) ** 3
                force = [f + (a - b) / cube for f, a, b in zip(force, p, q, strict=True)]
            radial = sum(f * a for f, a in zip(force, p, strict=True))
            pushes.append([f - radial * a for f, a in zip(force, p, strict=True)])
        moved = [[a + v for a, v in zip(p, w, strict=True)] for p, w in zip(points, velocities, strict=True)]
        points = [[a / math.hypot(*p) for a in p] for p in moved]
        velocities = [
            [v + rate * f for v, f in zip(w, force, strict=True)] for w, force in zip(velocities, pushes, strict=True)
        ]
    return torch.tensor(points, dtype=F64)


def test_the_simulation_equals_the_loop():
    positions = charge_simulation(5, 3, steps=12, seed=2)
    assert positions.shape == (13, 5, 3) and positions.dtype == F64
    for step in (0, 1, 2, 12):
        expected = loop_simulation(positions[0], step, 1e-2)
        torch.testing.assert_close(positions[step], expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(positions[1], positions[0], rtol=0, atol=1e-15)  # the first velocity is 0


def test_charges_nearer_than_a_hundredth_push_no_harder():
    def push(angle):
        points = torch.tensor([[1.0, 0], [math.cos(angle), math.sin(angle)]], dtype=F64)
        return centroids._repulsion(points)[0].norm().item()

    assert push(0.005) == pytest.approx(0.005 / 1e-6, rel=1e-4)
    assert push(0.02) == pytest.approx(1 / 0.02**2, rel=1e-3)
    assert push(0.0) == 0 or push(0.0) < 1e-6


def test_how_good_the_papers_generator_is():
    assert charge_simulation(3, 2).shape == (201, 3, 2)
    assert torch.equal(charge_simulation(3, 2), charge_simulation(3, 2, steps=200, seed=0, damping=0.0))
    assert not torch.equal(charge_simulation(3, 2)[0], charge_simulation(3, 2, seed=1)[0])
    assert 5e-5 < deviation_from_simplex(charge_simulation(10, 512)[-1]) < 5e-4
    assert 0.04 < deviation_from_simplex(charge_simulation(100, 128)[-1]) < 0.08
    assert 1e-3 < deviation_from_simplex(charge_simulation(47, 64)[-1]) < 5e-3


def test_with_transport_and_damping_the_charges_settle():
    settled = charge_simulation(20, 3, steps=300, transport=True, damping=0.5)[-1]
    assert energy(settled).item() == pytest.approx(THOMSON[20], rel=1e-3)
    positions = charge_simulation(20, 19, steps=600, transport=True, damping=0.1)
    assert deviation_from_simplex(positions[-1]) < 1e-4
    assert (positions.norm(dim=2) - 1).abs().max() < 1e-12
    undamped = charge_simulation(20, 19, steps=600, transport=True)
    assert deviation_from_simplex(undamped[-1]) > 1e-3
    # With a damping of 1 only the push of the moment before is left: it is a descent.
    descent = charge_simulation(8, 3, steps=60, damping=1)
    energies = [energy(points).item() for points in descent[1:]]
    assert all(later < before for before, later in itertools.pairwise(energies))


def test_a_transported_velocity_lies_along_the_sphere():
    # By hand: u₁ = u₀, v₁ = rate·F₀; u₂ = norm(u₁ + v₁), v₂ = the part of v₁ + rate·F₁ along the sphere at u₂.
    start, _, second, third = charge_simulation(4, 3, steps=3, transport=True, damping=0.25)
    force = centroids._tangential(centroids._repulsion(start), start)
    velocity = 0.01 * force
    expected = torch.nn.functional.normalize(start + velocity, dim=1)
    torch.testing.assert_close(second, expected)
    velocity = 0.75 * velocity + 0.01 * force
    velocity = velocity - (velocity * expected).sum(1, keepdim=True) * expected
    torch.testing.assert_close(third, torch.nn.functional.normalize(expected + velocity, dim=1))


def test_no_steps():
    assert charge_simulation(4, 3, steps=0).shape == (1, 4, 3)


# Bad input


@pytest.mark.parametrize("make", [evenly_distributed, charge_simulation])
def test_bad_sizes(make):
    for number in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match=f"^num_classes: got {number}, expected a whole number of at least 1"):
            make(number, 3)
    with pytest.raises(ValueError, match=r"^dim: got 0, expected a whole number of at least 1"):
        make(3, 0)
    with pytest.raises(ValueError, match=r"^dim: got 1, expected at least 2 for 3 classes: a line has"):
        make(3, 1)


def test_bad_input():
    with pytest.raises(ValueError, match=r"^method: got 'exact', expected one of 'auto', 'energy'"):
        evenly_distributed(3, 2, method="exact")
    with pytest.raises(ValueError, match=r"^restarts: got 0, expected a whole number of at least 1"):
        evenly_distributed(9, 3, restarts=0)
    with pytest.raises(ValueError, match=r"^points: got .*, expected a floating-point tensor"):
        energy([[1.0]])
    with pytest.raises(ValueError, match=r"^points: got .*, expected a floating-point tensor"):
        deviation_from_simplex(torch.ones(3))
    with pytest.raises(ValueError, match=r"^points: got 1, expected at least 2$"):
        deviation_from_simplex(torch.ones(1, 3))
    for name, value, expected in (
        ("steps", -1, "a whole number of at least 0"),
        ("damping", -0.1, "a number from 0 to 1"),
        ("damping", 1.1, "a number from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=f"^{name}: got {value}, expected {expected}$"):
            charge_simulation(3, 2, **{name: value})
