"""Evenly distributed centroids, 1000 of them: the closed form and the smallest energy against the papers' generator.

The generator makes 200 steps; two of them are timed, and the rest costs as much. All threads; the time is that of the
clock. The ratio is the generator's time over ours; the goals are seconds: 1 in closed form, 30 by energy on two cores.
How good the result is says its energy, above that of a simplex (which cannot be undercut).

    python tools/benchmarks/centroids.py
"""

import math
import time

from labkit.centroids import charge_simulation, energy, evenly_distributed

NUMBER = 1000
STEPS = 200  # of the papers' generator
CASES = (("closed form", "auto", 999, 1), ("closed form", "auto", 512, 1), ("energy", "energy", 512, 30))


def seconds(function, *arguments, **options):
    """What the function returns, and how long it took."""
    start = time.perf_counter()
    result = function(*arguments, **options)
    return result, time.perf_counter() - start


def rows(number=NUMBER):
    """A row for each case: seconds, the goal in seconds, the generator's seconds, and the excess of the energy."""
    evenly_distributed(3, 3, method="energy")  # loads what is loaded once
    smallest = number * (number - 1) / 2 / math.sqrt(2 * number / (number - 1))
    result = []
    for name, method, dim, goal in CASES:
        points, ours = seconds(evenly_distributed, number, dim, method=method)
        _, two = seconds(charge_simulation, number, dim, steps=2)
        row = {"name": f"{name}, {number} centroids, {dim} dimensions", "ratio": two / 2 * STEPS / ours}
        row |= {"seconds": ours, "goal_seconds": goal, "generator_seconds": two / 2 * STEPS}
        result.append(row | {"excess_energy": energy(points).item() / smallest - 1})
    return result


def main():
    for row in rows():
        print(
            f"{row['name']}: {row['seconds']:.2f} s, goal {row['goal_seconds']} s; {row['ratio']:.3g} times as fast as "
            f"the generator; energy {row['excess_energy']:.1e} above a simplex"
        )


if __name__ == "__main__":
    main()
