"""labkit.figures.hands in a real browser: their mathematics is labkit's, they answer pointer and keys, ask no network.

Needs Chromium or Chrome; without one these tests are skipped, in CI they fail then.
"""

import json
import math
import os
import re
from contextlib import contextmanager

import nbformat
import numpy as np
import pytest
import torch
from browser import find_chromium, guarded_page, launched_chromium
from hand_page import page
from nbclient import NotebookClient

from labkit import centroids
from labkit.distances import pairwise_distances
from labkit.figures import lab03, lab04, lab07, lab08, lab09
from labkit.figures.embedding import project
from labkit.figures.hands import FOLDER, Hand
from labkit.losses import TripletLoss, count_triplets
from labkit.losses.softmax import margin_loss

RANDOM = np.random.default_rng(0)
HANDS = {hand.module: hand for hand in Hand.__subclasses__()}
LONGEST = 150  # lines of a hand's own module


@pytest.fixture(scope="module")
def chromium():
    """The browser."""
    if not (path := find_chromium()):
        missing = "there is no Chromium on the PATH: install it, or set the environment variable CHROMIUM to its path"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with launched_chromium(path) as browser:
        yield browser


@contextmanager
def opened(chromium, hand, width=900, scheme="light"):
    """A page that shows a hand without any kernel; its scripts make no error and ask nobody for anything."""
    with guarded_page(chromium, width=width) as shown:
        shown.emulate_media(color_scheme=scheme)
        shown.set_content(page(hand.module, hand.state))
        shown.wait_for_function("document.getElementById('hand').hand?.frames > 0")
        yield shown
        assert not shown.problems


def state(shown):
    return shown.evaluate("state")


def wait_for_frame(shown, act):
    """Do something, and wait until it has been drawn."""
    before = shown.evaluate("document.getElementById('hand').hand.frames")
    act()
    shown.wait_for_function(f"document.getElementById('hand').hand.frames > {before}")


def pure(shown, function, arguments):
    """What an exported function answers to each list of arguments."""
    return shown.evaluate(f"all => all.map(one => pure.{function}(...one))", json.loads(json.dumps(arguments)))


# --- All hands ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", HANDS)
def test_a_module_is_small_and_asks_no_network(module):
    source = (FOLDER / f"{module}.js").read_text(encoding="utf-8")
    assert len(source.splitlines()) <= LONGEST
    shared = (FOLDER / "common.js").read_text(encoding="utf-8")
    assert not re.search(r"fetch|XMLHttp|WebSocket|https?:|import\(|\beval\b", source + shared)


@pytest.mark.parametrize("module", HANDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_hand_fits_a_telephone_and_names_all_that_can_be_grabbed(chromium, module, scheme):
    with opened(chromium, HANDS[module](), width=400, scheme=scheme) as shown:
        assert shown.evaluate("document.documentElement.scrollWidth") <= 400
        grips = shown.get_by_role("slider").all()
        assert grips
        names = [grip.get_attribute("aria-label") or grip.locator("xpath=..").inner_text() for grip in grips]
        assert all(names) and len(set(names)) == len(names)
        assert all(grip.get_attribute("aria-valuetext") for grip in grips)
        assert shown.get_by_role("status").inner_text()


@pytest.mark.parametrize("module", HANDS)
def test_a_grip_answers_the_pointer_and_the_keys(chromium, module):
    with opened(chromium, HANDS[module]()) as shown:
        for grip in shown.locator(".grip:visible").all():
            before, box = state(shown), grip.bounding_box()
            x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            shown.mouse.move(x, y)
            shown.mouse.down()
            wait_for_frame(shown, lambda: shown.mouse.move(x + 20, y - 15))  # noqa: B023
            shown.mouse.up()
            assert state(shown) != before, "the pointer"
            before, words = state(shown), grip.get_attribute("aria-valuetext")
            wait_for_frame(shown, lambda: grip.press("ArrowLeft"))  # noqa: B023
            assert state(shown) != before and grip.get_attribute("aria-valuetext") != words, "the keys"


@pytest.mark.parametrize("module", HANDS)
def test_every_button_does_something_and_play_stops(chromium, module):
    with opened(chromium, HANDS[module]()) as shown:
        names = [button.inner_text() for button in shown.get_by_role("button").all()]
    for name in names:
        with opened(chromium, HANDS[module]()) as shown:
            element = shown.get_by_role("button", name=name, exact=True).element_handle()
            before = shown.evaluate("JSON.stringify(state)")
            element.click()
            shown.wait_for_function(
                f"JSON.stringify(state) !== {json.dumps(json.dumps(before, separators=(',', ':')))}"
            )
            if element.inner_text() == "Stop":
                element.click()
                assert element.inner_text() == name


@pytest.mark.parametrize("module", HANDS)
def test_a_hand_leaves_a_still_picture_of_its_state(module):
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell("from labkit.figures.hands import Hand"),
            nbformat.v4.new_code_cell(f"from labkit.figures import {HANDS[module].__module__.split('.')[-1]}"),
            nbformat.v4.new_code_cell(f"next(hand for hand in Hand.__subclasses__() if hand.module == {module!r})()"),
        ]
    )
    NotebookClient(notebook, timeout=120).execute()
    still, words = notebook.cells[-1].outputs
    assert still.data["image/png"] and "application/vnd.jupyter.widget-view+json" in still.data
    assert still.metadata["labkit"] == {"hand": module, "state": json.loads(json.dumps(HANDS[module]().state))}
    assert words.data["text/plain"] == HANDS[module]().alt


def test_colors_can_be_told_from_the_paper():
    shared = (FOLDER / "common.js").read_text(encoding="utf-8")
    for palette in re.findall(r"const (?:LIGHT|DARK) = \{(.*?)\};", shared, re.S):
        colors = dict(re.findall(r"(\w+): \"(#\w{6})\"", palette))
        paper = colors.pop("paper")
        faint = {name for name, color in colors.items() if contrast(color, paper) < 3}
        assert faint == {"faint"}, "grid lines"


def contrast(one, other):
    """WCAG's contrast ratio of two colors, #rrggbb."""

    def luminance(color):
        parts = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


# --- Each hand's mathematics --------------------------------------------------------------------------------------


def test_the_triplet_is_labkits(chromium):
    points = RANDOM.uniform(-2, 2, (200, 3, 2)).tolist()
    points += RANDOM.integers(-1, 2, (100, 3, 2)).astype(float).tolist()  # ties, and points in one place
    cases = [[*p, margin, squared] for p in points for margin in (0.0, 0.4, 1.0) for squared in (False, True)]
    with opened(chromium, lab04.TripletPlane()) as shown:
        found = pure(shown, "triplet", cases)
    for case, seen in zip(cases, found, strict=True):
        right = lab04.triplet(*case)
        assert (seen["dAp"], seen["dAn"], seen["loss"]) == pytest.approx(
            (right.d_ap, right.d_an, right.loss), abs=1e-12
        )
        assert seen["kind"] == right.kind
        assert np.allclose(seen["gradients"], right.gradients, rtol=0, atol=1e-12)


def test_the_loss_that_is_said_is_the_triplets(chromium):
    with opened(chromium, lab04.TripletPlane(anchor=[0.0, 0.0], positive=[1.0, 0.0], negative=[0.0, 1.5])) as shown:
        assert "gives a loss of 0.00" in shown.get_by_role("status").inner_text()
        wait_for_frame(shown, lambda: shown.evaluate("model.set('margin', 0.75)"))
        assert shown.get_by_role("status").inner_text().startswith("semi-hard")
        assert "gives a loss of 0.25" in shown.get_by_role("status").inner_text()


def test_the_field_is_labkits(chromium):
    cases = [
        [loss, *RANDOM.uniform(-1, 1, 2), margin, gamma]
        for loss in lab07.LOSSES
        for margin in (0.0, 0.25, 1.0)
        for gamma in (1.0, 32.0, 512.0)
        for _ in range(30)
    ]
    with opened(chromium, lab07.field_explorer()) as shown:
        found = pure(shown, "forces", cases)
        lines = pure(shown, "boundary", [[loss, 0.3] for loss in lab07.LOSSES])
    assert np.allclose(found, [lab07.forces(*case) for case in cases], rtol=0, atol=1e-12)
    for loss, line in zip(lab07.LOSSES, lines, strict=True):
        assert np.allclose(np.transpose(line), lab07._boundary(loss, 0.3), rtol=0, atol=1e-12)


def test_the_ball_is_labkits(chromium):
    cases = [
        [valley, *RANDOM.uniform([0, 0.1, -0.5], [1.5, 1.5, 0.5]), steps]
        for valley in lab09.VALLEYS
        for steps in (0, 1, 400)
        for _ in range(40)
    ]
    with opened(chromium, lab09.ball_and_hill()) as shown:
        for case, path in zip(cases, pure(shown, "roll", cases), strict=True):
            right = lab09.roll(lab09.VALLEYS[case[0]][1], *case[1:])
            assert np.allclose(path, right, rtol=0, atol=1e-9)
        heights = pure(shown, "ground", [["bowl", 0.7, 0.3, x] for x in (-1, 2 / 3, 0.9)])
    apart = np.array([-1, 2 / 3, 0.9]) - 2 / 3
    assert np.allclose(heights, 5 / 9 * apart**2 + 0.7 * np.exp(-(apart**2) / (2 * 0.3**2)))


def test_the_race_is_run_by_labkits_optimizers(chromium):
    starts = {
        name: [surface.start, *RANDOM.uniform(-1, 1, (3, 2)).tolist()] for name, surface in lab03.SURFACES.items()
    }
    cases = [
        [surface, optimizer, rate, momentum, 100, list(start)]
        for surface, all_starts in starts.items()
        for start in all_starts
        for optimizer in lab03.RACERS
        for rate, momentum in ((0.001, 0.9), (0.01, 0.5), (0.3, 0.0))
    ]
    diverged = 0
    with opened(chromium, lab03.Race()) as shown:
        for case, path in zip(cases, pure(shown, "descend", cases), strict=True):
            surface, optimizer, rate, momentum, steps, start = case
            right = lab03.descend(lab03.SURFACES[surface], lab03.RACERS[optimizer](rate, momentum), steps, tuple(start))
            diverged += len(right) <= steps
            assert len(path) == len(right), case
            if len(right) > steps:  # what flies off does so by rounding
                assert np.allclose(path[:30], right[:30], rtol=1e-9, atol=1e-9), case
    assert 10 < diverged < len(cases) / 2


def test_the_race_starts_where_one_clicks(chromium):
    with opened(chromium, lab03.Race()) as shown:
        box = shown.locator("canvas").bounding_box()
        wait_for_frame(shown, lambda: shown.mouse.click(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.2))
        x, y = state(shown)["start"]
        assert -1.2 < x < 0 < 0.5 < y < 1.5


def test_each_surface_of_the_race_has_its_own_start(chromium):
    assert lab03.Race(surface="saddle").start == [1.0, 1e-3]
    with opened(chromium, lab03.Race()) as shown:
        for name, surface in reversed(lab03.SURFACES.items()):
            shown.locator("select").select_option(name)
            assert state(shown)["surface"] == name and state(shown)["start"] == pytest.approx(surface.start)


def test_momentums_plane_is_labkits(chromium):
    cases = RANDOM.uniform(0, [4, 1], (300, 2)).tolist()
    cases += [[x, alpha] for x in (0.0, 1.0, 2.0, 4.0) for alpha in (0.0, 0.25, 1.0)]
    with opened(chromium, lab03.MomentumPlane()) as shown:
        found, behavior = pure(shown, "contraction", cases), pure(shown, "behavior", cases)
        best = pure(shown, "polyak", [[kappa] for kappa in (1.0, 9.0, 400.0)])
        rolls = [[*each, 60] for each in RANDOM.uniform([0, 0, 1], [0.02, 1, 90], (100, 3)).tolist()]
        paths = pure(shown, "roll", rolls)
    x, alpha = np.transpose(cases)
    right = lab03.contraction(x, alpha)
    assert np.allclose(found, right, rtol=0, atol=1e-12)
    assert ((np.array(behavior) == "diverges") == (right >= 1)).all()
    assert {*behavior} == {"diverges", "swings", "monotone"}
    assert best == [[1, 0], [0.25, 0.25], [pytest.approx(4 / 21**2), pytest.approx((19 / 21) ** 2)]]
    for (rate, alpha, kappa, steps), path in zip(rolls, paths, strict=True):
        racer = lab03.RACERS["momentum"](rate, alpha)
        assert np.allclose(path, lab03.descend(lab03.bowl((1.0, kappa)), racer, steps), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mining", ["all", "hard", "semihard"])
def test_the_batch_is_labkits(chromium, mining):
    labels = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    apart = RANDOM.uniform(-2, 2, (100, 9, 2)).tolist()
    ties = RANDOM.integers(-1, 2, (60, 9, 2)).astype(float).tolist()  # equal distances, and points in one place
    sizes = ([0, 1], [0, 0], [0, 0, 1], [0, 1, 1, 1, 2])  # without a triplet, and with few
    small = [(RANDOM.uniform(-2, 2, (len(few), 2)).tolist(), few) for few in sizes for _ in range(10)]
    cases = [[points, few, mining, margin] for points, few in small for margin in (0.0, 0.4)]
    cases += [[points, labels, mining, margin] for points in apart + ties for margin in (0.0, 0.4, 2.0)]
    with opened(chromium, lab04.Batch()) as shown:
        found = pure(shown, "batch", cases)
    for (places, few, _, margin), seen in zip(cases, found, strict=True):
        points = torch.tensor(places, dtype=torch.float64, requires_grad=True)
        given = torch.tensor(few)
        loss, kinds = TripletLoss(margin, mining)(points, given), count_triplets(points, given, margin)
        assert seen["loss"] == pytest.approx(loss.item(), abs=1e-9)
        assert seen["kinds"] == {"easy": kinds.easy, "semihard": kinds.semihard, "hard": kinds.hard}
        if places in ties and mining != "all":
            continue  # which of two equally far points is taken is open
        (gradients,) = torch.autograd.grad(loss, points)
        assert np.allclose(seen["gradients"], gradients, rtol=0, atol=1e-9)
        distances = pairwise_distances(points).detach().requires_grad_()
        (weights,) = torch.autograd.grad(TripletLoss(margin, mining).of_distances(distances, given), distances)
        assert np.allclose(seen["weights"], weights, rtol=0, atol=1e-9)


def test_the_charges_are_labkits(chromium):
    sizes = [(count, dim) for count in (2, 3, 5, 12) for dim in (2, 3)]
    points = [RANDOM.normal(size=size).tolist() for size in sizes for _ in range(30)]
    turned = [[p, *RANDOM.uniform(-180, 180, 2)] for p in RANDOM.normal(size=(200, 3)).tolist()]
    flights = [[*size, how, seed] for size in sizes for how in ((False, 0.0), (True, 0.5)) for seed in range(12)]
    starts = [centroids.charge_simulation(count, dim, 0, seed)[0].tolist() for count, dim, _, seed in flights]
    close = [[[1.0, 0.0], [math.cos(1e-3), math.sin(1e-3)]], [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]
    with opened(chromium, lab08.Charges()) as shown:
        energies, cosines = (pure(shown, name, [[p] for p in points]) for name in ("energy", "cosines"))
        seen = pure(shown, "project", turned)
        lifted = pure(shown, "lift", [[flat, turn, lean] for flat, (_, turn, lean) in zip(seen, turned, strict=True)])
        states = [[start, np.zeros_like(start).tolist()] for start in starts]
        for _ in range(4):  # near collisions magnify what rounding has changed: no longer flights
            arguments = [[*state, *how] for state, (_, _, how, _) in zip(states, flights, strict=True)]
            states = pure(shown, "step", arguments)
        pushed = pure(shown, "step", [[p, np.zeros_like(p).tolist(), True, 0.0] for p in close])
    for p, energy, all_cosines in zip(points, energies, cosines, strict=True):
        assert energy == pytest.approx(centroids.energy(torch.tensor(p, dtype=torch.float64)).item(), rel=1e-12)
        assert np.allclose(all_cosines, lab08.cosines_of(p), rtol=0, atol=1e-12)
    for (p, turn, lean), at, back in zip(turned, seen, lifted, strict=True):
        (flat,), (near,) = project([p], turn, lean)
        assert np.allclose(at, [*flat, near], rtol=0, atol=1e-12) and np.allclose(back, p, rtol=0, atol=1e-12)
    for (state, _), (count, dim, how, seed) in zip(states, flights, strict=True):
        right = centroids.charge_simulation(count, dim, 4, seed, *how)[-1]
        assert np.allclose(state, right, rtol=0, atol=1e-9)
    for p, (_, velocities) in zip(close, pushed, strict=True):
        unit = torch.tensor(p, dtype=torch.float64)
        right = centroids.RATE * centroids._tangential(centroids._repulsion(unit), unit)
        assert np.allclose(velocities, right, rtol=0, atol=1e-9)


def test_the_margins_are_labkits(chromium):
    cases = [
        [rule, RANDOM.uniform(-180, 180, count).tolist(), *RANDOM.uniform([-180, 0], [180, most])]
        for rule, most in {"softmax": 1, "AM-Softmax": 1, "ArcFace": 1.5}.items()
        for count in (2, 3, 10)
        for _ in range(40)
    ]
    cases += [
        ["L-, A-Softmax", RANDOM.uniform(-180, 180, count).tolist(), RANDOM.uniform(-180, 180), times]
        for times in (1, 2, 3, 4)
        for count in (2, 3, 10)
        for _ in range(20)
    ]
    cases += [[rule, [90.0, 30.0], 90.0 + turn, 1] for rule in ("softmax", "AM-Softmax") for turn in (0, 180)]
    cosines = [1.0, -1.0, 0.0, *RANDOM.uniform(-1, 1, 20)]
    targets = [[rule, cosine, margin] for rule, _, _, margin in cases for cosine in cosines]
    with opened(chromium, lab08.Margins()) as shown:
        found = pure(shown, "target", targets)
        losses, winners = pure(shown, "loss", [[*case, 15.0] for case in cases]), pure(shown, "winner", cases)

    def rule_of(name, margin):
        rules = lab08.margin_rules(*[margin] * 3)
        return next(rule for long, rule in rules.items() if long.startswith(name))

    for (name, cosine, margin), seen in zip(targets, found, strict=True):
        right = rule_of(name, margin)(torch.tensor(cosine, dtype=torch.float64)).item()
        assert seen == pytest.approx(right, abs=1e-9), (name, cosine, margin)
    own = torch.tensor([0])
    for (name, rows, point, margin), loss, winner in zip(cases, losses, winners, strict=True):
        rule = rule_of(name, margin)
        angles = torch.deg2rad(torch.tensor([rows], dtype=torch.float64) - point)
        assert loss == pytest.approx(margin_loss(rule, 15.0, angles.cos(), own).item(), abs=1e-9)
        directions = lab08._direction([point]), lab08._direction(rows)
        assert winner == lab08._regions(rule, *directions)[0], (name, rows, point, margin)
    assert len({*winners}) > 5 and 0 in winners


def test_the_sphere_turns_under_the_pointer_and_its_charges_stay(chromium):
    points = centroids.evenly_distributed(4, 3, seed=0).tolist()
    with opened(chromium, lab08.Charges(points=points)) as shown:
        box = shown.locator("canvas").bounding_box()
        x, y = box["x"] + box["width"] * 0.24, box["y"] + box["height"] * 0.45
        shown.mouse.move(x, y)
        shown.mouse.down()
        wait_for_frame(shown, lambda: shown.mouse.move(x + 40, y + 20))
        shown.mouse.up()
        shown.mouse.move(x, y)
        after = state(shown)
    assert after["turn"] > 5 and after["lean"] > 25 and after["points"] == points


def test_charges_run_to_the_even_distribution(chromium):
    with opened(chromium, lab08.Charges()) as shown:
        shown.get_by_role("button", name="Let them run").click()
        shown.wait_for_function("document.querySelector('.said').textContent.includes('smallest angle 72.0°')")


def test_a_batch_runs_until_its_loss_is_zero(chromium):
    with opened(chromium, lab04.Batch(margin=0.2)) as shown:
        shown.get_by_role("button", name="Let it run").click()
        shown.wait_for_function("document.querySelector('.said').textContent.includes('loss 0.000')")
        shown.get_by_role("button", name="Let it run", exact=True).wait_for()  # it has stopped by itself
