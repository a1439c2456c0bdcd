"""Predefined evenly-distributed class centroids (PEDCC): unit vectors as far apart as they can be (lab 08).

Three ways to them: a closed form, the minimum of the energy of charges that repel each other, and the papers' own
simulation of such charges, step by step, all in float64.
"""

import math

import torch

from labkit import checks

SMALL = 1000  # coordinates up to which the energy is minimized from many starts
RATE = 1e-2  # of the charges' velocities, as in the papers' code
WORK = 3e10  # multiplications that one start may cost, about 20 s: a large problem ends before it has settled


def evenly_distributed(
    num_classes: int, dim: int, seed: int = 0, method: str = "auto", restarts: int | None = None
) -> torch.Tensor:
    """Unit vectors (num_classes, dim), float64, spread evenly over the sphere and turned at random.

    num_classes: C, at least 1. dim: D, at least 1, and at least 2 for more than two classes.
    seed: of the random rotation, or of the random starts.
    method:
        "auto"     for C ≤ 2 dim the closed form. For C ≤ dim + 1 a regular simplex: every cosine is -1/(C - 1), the
                   smallest that C vectors can all have, and the energy is smallest (Cohn and Kumar 2007). Up to
                   C = 2 dim, the axes both ways, C - dim simplices at right angles to each other: the largest cosine
                   is 0, which cannot be undercut there (Rankin 1955). For larger C, "energy".
        "energy"   the smallest `energy` of charges on the sphere that L-BFGS finds from random starts: the regular
                   polygon in two dimensions, Thomson's problem in three.
    restarts: how many random starts "energy" tries, keeping the best; default 12 for up to 1000 coordinates, else 1.
    Source: paper 003, section III (the centroids); Hu, Yan, Zhu, Zheng 2021 (arXiv 2105.00401; the simplex).

    >>> points = evenly_distributed(3, 2)  # a triangle: all cosines are -½
    >>> (points @ points.T).triu(diagonal=1).sum().round(decimals=4)
    tensor(-1.5000, dtype=torch.float64)
    """
    num_classes, dim = _check_size(num_classes, dim)
    checks.one_of("method", method, ("auto", "energy"))
    if restarts is None:
        restarts = 12 if num_classes * dim <= SMALL else 1
    checks.whole("restarts", restarts)
    generator = torch.Generator().manual_seed(seed)
    if num_classes == 1:
        return _random_points(1, dim, generator)
    if method == "auto" and num_classes <= 2 * dim:
        return _simplices(num_classes, dim) @ _rotation(dim, generator)
    found = [_minimize_energy(_random_points(num_classes, dim, generator)) for _ in range(restarts)]
    return min(found, key=lambda result: result[0])[1]


def energy(points: torch.Tensor) -> torch.Tensor:
    """The energy of charges: Σ 1/‖p_i - p_j‖ over all pairs i < j, a scalar; infinite where two points coincide.

    points: (N, D) floating point, anywhere. Computed in float64 for float64 points, else in float32.

    >>> energy(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    tensor(0.5000)
    """
    checks.matrix("points", points)
    precise = points if points.dtype == torch.float64 else points.float()
    return torch.pdist(precise).reciprocal().sum()


def deviation_from_simplex(points: torch.Tensor) -> float:
    """The largest |cos(p_i, p_j) + 1/(N - 1)| over all pairs: 0 for a regular simplex. A float.

    points: (N, D) floating point, N of at least 2, of any length but 0.

    >>> deviation_from_simplex(torch.eye(3))  # cosines 0 instead of -½
    0.5
    """
    checks.matrix("points", points)
    if len(points) < 2:
        raise ValueError(f"points: got {len(points)}, expected at least 2")
    unit = torch.nn.functional.normalize(points.detach().double(), dim=1)
    cosines = unit @ unit.T
    pairs = torch.triu_indices(len(points), len(points), offset=1)
    return (cosines[pairs[0], pairs[1]] + 1 / (len(points) - 1)).abs().max().item()


def charge_simulation(
    num_classes: int, dim: int, steps: int = 200, seed: int = 0, transport: bool = False, damping: float = 0.0
) -> torch.Tensor:
    """The papers' generator of centroids: charges that fly over the sphere. All positions (steps + 1, C, dim), float64.

    Starts at random points u with velocities v = 0. In each step

        F_m = Σ_n (u_m - u_n) / max(‖u_m - u_n‖, 0.01)³     repulsion as between charges in three dimensions, in any
        u ← (u + v)/‖u + v‖,  v ← v + 0.01·F_t              F_t: the part of F along the sphere, at the old u

    without friction: after the 200 steps of the authors the charges still move (paper 003, and the authors' CSAE code,
    which returns √dim times the points).

    transport: keep only the part of each velocity along the sphere at the new point; the authors keep all of it.
    damping: share of the velocity that is lost in each step, 0 (the authors) to 1. With transport and 0.5 the charges
        come to rest.

    >>> positions = charge_simulation(2, 3, transport=True, damping=0.5)
    >>> energy(positions[0]) > energy(positions[-1]) > 0.5  # on their way to opposite poles
    tensor(True)
    """
    num_classes, dim = _check_size(num_classes, dim)
    steps = checks.whole("steps", steps, at_least=0)
    checks.non_negative("damping", damping, at_most=1)
    points = _random_points(num_classes, dim, torch.Generator().manual_seed(seed))
    velocity = torch.zeros_like(points)
    positions = torch.empty(steps + 1, num_classes, dim, dtype=torch.float64)
    positions[0] = points
    for step in range(steps):
        force = _tangential(_repulsion(points), points)
        points = torch.nn.functional.normalize(points + velocity, dim=1)
        velocity = (1 - damping) * velocity + RATE * force
        if transport:
            velocity = _tangential(velocity, points)
        positions[step + 1] = points
    return positions


def _check_size(num_classes, dim):
    num_classes, dim = checks.whole("num_classes", num_classes), checks.whole("dim", dim)
    if dim == 1 and num_classes > 2:
        raise ValueError(f"dim: got 1, expected at least 2 for {num_classes} classes: a line has only two unit vectors")
    return num_classes, dim


def _simplices(number, dim):
    """One regular simplex with `number` ≤ dim + 1 corners, or number - dim of them at right angles to each other."""
    count = max(1, number - dim)
    points = torch.zeros(number, dim, dtype=torch.float64)
    row = column = 0
    for size in (number // count + (i < number % count) for i in range(count)):
        points[row : row + size, column : column + size - 1] = _simplex(size)
        row, column = row + size, column + size - 1
    return points


def _simplex(corners):
    """A regular simplex (corners, corners - 1).

    Column k is, up to a factor, (1, …, 1, -k, 0, …, 0) with k ones: at right angles to the other columns and to
    (1, …, 1). All rows of such an orthonormal basis are equally long, and so are their differences.
    """
    k = torch.arange(1, corners, dtype=torch.float64)
    basis = torch.ones(corners, corners - 1, dtype=torch.float64).triu()
    basis.diagonal(-1).copy_(-k)
    return basis * torch.sqrt(corners / (corners - 1) / (k * (k + 1)))


def _rotation(dim, generator):
    """An orthogonal matrix, every one equally likely: Q of a Gaussian matrix, with the signs of R's diagonal."""
    q, r = torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64, generator=generator))
    return q * r.diagonal().sign()


def _random_points(number, dim, generator):
    """Points (number, dim), every point of the sphere equally likely."""
    return torch.nn.functional.normalize(torch.randn(number, dim, dtype=torch.float64, generator=generator), dim=1)


def _minimize_energy(start):
    """The energy and the unit vectors at a minimum that L-BFGS reaches from `start`."""
    from scipy.optimize import minimize

    number, dim = start.shape

    def value_and_gradient(flat):
        value, gradient = _energy_and_gradient(torch.from_numpy(flat).view(number, dim))
        return value, gradient.numpy().ravel()

    steps = min(5000, max(60, int(WORK / (number**2 * dim))))
    options = {"maxiter": steps, "maxfun": 2 * steps, "ftol": 1e-15, "gtol": 1e-8}
    result = minimize(value_and_gradient, start.numpy().ravel(), jac=True, method="L-BFGS-B", options=options)
    return result.fun, torch.nn.functional.normalize(torch.from_numpy(result.x).view(number, dim), dim=1)


def _energy_and_gradient(vectors):
    """The energy of the unit vectors p = z/‖z‖ of `vectors` z, and its gradient for z: any z will do, none is left."""
    lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    points = vectors / lengths
    inverse = _squared_distances(points).fill_diagonal_(math.inf).rsqrt()
    gradient = -_tangential(_weighted_differences(points, inverse**3), points) / lengths
    return inverse.sum().item() / 2, gradient


def _repulsion(points):
    """F_m = Σ_n (p_m - p_n)/max(‖p_m - p_n‖, 0.01)³, (N, D)."""
    return _weighted_differences(points, _squared_distances(points).clamp(min=1e-4) ** -1.5)


def _weighted_differences(points, weights):
    """Σ_n weights[m, n] (p_m - p_n), (N, D)."""
    return points * weights.sum(1, keepdim=True) - weights @ points


def _squared_distances(points):
    """Of unit vectors, (N, N): 2 - 2 cos, which is never let down to 0."""
    return (2 - 2 * (points @ points.T)).clamp(min=1e-12)


def _tangential(vectors, points):
    """The part of each row along the sphere at the unit vector in the same row of `points`."""
    return vectors - points * (vectors * points).sum(1, keepdim=True)
