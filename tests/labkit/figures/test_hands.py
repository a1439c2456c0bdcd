"""labkit.figures.hands in a real browser: their mathematics is labkit's, they answer pointer and keys, ask no network.

Needs Chromium or Chrome; without one these tests are skipped, in CI they fail then.
"""

import json
import math
import re

import nbformat
import numpy as np
import pytest
import torch
from deck import HANDS
from hand_page import opened
from nbclient import NotebookClient
from torch.nn.functional import cross_entropy

from labkit import centroids, evaluation
from labkit.distances import pairwise_distances
from labkit.figures import lab01, lab02, lab03, lab04, lab05, lab06, lab07, lab08, lab09
from labkit.figures.embedding import project
from labkit.figures.hands import FOLDER
from labkit.filters import PADDING_MODES, convolve2d, correlate2d, gaussian_kernel
from labkit.losses import CenterLoss, TripletLoss, barrier, count_triplets
from labkit.losses.softmax import margin_loss

RANDOM = np.random.default_rng(0)
LONGEST = 150  # lines of a hand's own module


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


def test_the_kernel_editor_filters_as_labkit(chromium):
    cases = []
    for n in range(400):
        image, kernel = (RANDOM.uniform(-1, 1, RANDOM.integers(*sides, 2)) for sides in ((7, 12), (1, 8)))
        if n % 4 == 0:  # ties and zeros
            image, kernel = image.round(), kernel.round()
        how = (n % 2 == 1, int(RANDOM.integers(1, 5)), int(RANDOM.integers(0, 4)), PADDING_MODES[n % 8 // 2])
        cases.append([image.tolist(), kernel.tolist(), *how])
    with opened(chromium, lab01.KernelEditor()) as shown:
        found = pure(shown, "filtered", cases)
        around = pure(shown, "padded", [[image, padding, border] for image, _, _, _, padding, border in cases])
        for (image, kernel, convolution, stride, padding, border), seen, padded in zip(
            cases, found, around, strict=True
        ):
            image, kernel = (torch.tensor(grid, dtype=torch.float64) for grid in (image, kernel))
            filtered = convolve2d if convolution else correlate2d
            right = filtered(image, kernel, stride, padding, padding_mode=border)
            assert np.shape(seen) == right.shape and np.allclose(seen, right, rtol=0, atol=1e-12)
            one = torch.ones(1, 1, dtype=torch.float64)
            assert np.array_equal(padded, correlate2d(image, one, padding=padding, padding_mode=border))
        places = [[padded, case[1], 0, 1, case[2]] for case, padded in zip(cases, around, strict=True)]
        places = [one for one in places if np.shape(one[1])[1] < np.shape(one[0])[1]]
        for (padded, kernel, top, left, convolution), seen in zip(places, pure(shown, "products", places), strict=True):
            used = np.flip(kernel) if convolution else np.array(kernel)
            rows, columns = used.shape
            assert np.allclose(seen, used * np.array(padded)[top : top + rows, left : left + columns])


def test_the_kernels_to_choose_are_labkits(chromium):
    def laplacian(sigma, size):
        bell, x = gaussian_kernel(sigma, size), torch.arange(size, dtype=torch.float64) - size // 2
        bent = (x[:, None] ** 2 + x[None, :] ** 2 - 2 * sigma**2) / sigma**4 * bell
        return bent - bent.mean()

    def identity(sigma, size):
        kernel = torch.zeros(size, size, dtype=torch.float64)
        kernel[size // 2, size // 2] = 1
        return kernel

    sobel = torch.tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    right = {
        "Identity": identity,
        "Box": lambda sigma, size: torch.full((size, size), 1 / size**2, dtype=torch.float64),
        "Gaussian": gaussian_kernel,
        "Sharpen": lambda sigma, size: 2 * identity(sigma, size) - gaussian_kernel(sigma, size),
        "Laplacian": laplacian,
        "Sobel across": lambda sigma, size: sobel,
        "Sobel down": lambda sigma, size: sobel.T,
    }
    cases = [[name, size, sigma] for name in right for size in (1, 3, 5, 7) for sigma in (0.3, 1.0, 2.5, 4.0)]
    with opened(chromium, lab01.KernelEditor()) as shown:
        names = [button.inner_text() for button in shown.get_by_role("button").all()]
        assert names[: len(right)] == list(right)
        for (name, size, sigma), seen in zip(cases, pure(shown, "preset", cases), strict=True):
            assert np.allclose(seen, right[name](sigma, size), rtol=0, atol=1e-12), (name, size, sigma)


def test_one_paints_on_kernel_and_picture_and_walks_over_the_result(chromium):
    with opened(chromium, lab01.KernelEditor()) as shown:
        picture, kernel, result = shown.locator(".grip").all()

        def place(area, row, column, size):
            box = area.bounding_box()
            return box["x"] + (column + 0.5) / size * box["width"], box["y"] + (row + 0.5) / size * box["height"]

        wait_for_frame(shown, lambda: shown.mouse.click(*place(kernel, 0, 1, 3)))
        assert state(shown)["kernel"] == [[1, 0.5, 1], [0, 1, 0], [1, 0, 1]] and state(shown)["weight"] == [0, 1]
        wait_for_frame(shown, lambda: kernel.click(modifiers=["Shift"]))
        assert state(shown)["kernel"][1][1] == 0.5
        wait_for_frame(shown, lambda: shown.get_by_label("painting lowers").check())
        wait_for_frame(shown, lambda: kernel.click())
        assert state(shown)["kernel"][1][1] == 0
        wait_for_frame(shown, lambda: kernel.press("+"))
        wait_for_frame(shown, lambda: kernel.press("ArrowUp"))
        wait_for_frame(shown, lambda: kernel.press(" "))
        assert state(shown)["kernel"][:2] == [[1, 0, 1], [0, 0.5, 0]]
        wait_for_frame(shown, lambda: shown.get_by_role("spinbutton", name="weight in row 1, column 2").fill("-2.5"))
        assert state(shown)["kernel"][0] == [1, -2.5, 1]

        shown.get_by_label("painting lowers").uncheck()
        shown.mouse.move(*place(picture, 1, 1, 16))
        shown.mouse.down()
        wait_for_frame(shown, lambda: shown.mouse.move(*place(picture, 1, 6, 16), steps=10))
        shown.mouse.up()
        row = state(shown)["image"][1]
        assert row == [0] + 6 * [1] + 9 * [0] and sum(map(sum, state(shown)["image"])) == 36 + 6
        wait_for_frame(shown, lambda: picture.press("-"))
        assert state(shown)["image"][1] == [0] + 5 * [1] + 10 * [0]

        wait_for_frame(shown, lambda: shown.mouse.move(*place(result, 3, 8, 14)))
        now, words = state(shown), shown.get_by_role("status").inner_text()
        right = correlate2d(torch.tensor(now["image"]), torch.tensor(now["kernel"]))[3, 8].item()
        assert now["place"] == [3, 8] and words.startswith("Correlation, row 4, column 9: ")
        assert words.endswith(f" = {right:g}".replace("-", "\u2212"))
        assert result.get_attribute("aria-valuetext") == f"row 4, column 9: {right:g}".replace("-", "\u2212")


def test_a_kernel_grows_shrinks_and_follows_sigma(chromium):
    with opened(chromium, lab01.KernelEditor()) as shown:

        def press(name):
            wait_for_frame(shown, lambda: shown.get_by_role("button", name=name, exact=True).click())
            return np.array(state(shown)["kernel"])

        assert np.array_equal(press("Larger kernel"), np.pad([[1, 0, 1], [0, 1, 0], [1, 0, 1]], 1))
        press("Gaussian")
        assert np.allclose(press("Larger kernel"), gaussian_kernel(1.0, 7))
        wait_for_frame(shown, lambda: shown.get_by_label("Gaussian, σ").fill("2.5"))
        assert np.allclose(state(shown)["kernel"], gaussian_kernel(2.5, 7))
        press("Laplacian")
        wait_for_frame(shown, lambda: shown.get_by_label("Gaussian, σ").fill("1.2"))
        assert abs(np.sum(state(shown)["kernel"])) < 1e-9, "still a Laplacian"
        assert press("Sobel down").tolist() == [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]
        assert press("Smaller kernel").tolist() == [[0]]
        black = press("Black picture, and back") is not None and state(shown)["image"]
        assert not np.any(black)
        press("Black picture, and back")
        assert state(shown)["image"] == lab01.KernelEditor().image


def send(shown, cases):
    """What the module's `send` gives: sizes forward and backward, and the outputs of the last layer."""
    code = """all => all.map(one => {
        const found = pure.send(...one);
        return [found.forward, found.backward, [...found.outputs.at(-1)], pure.alike(found.outputs.at(-1))]; })"""
    return shown.evaluate(code, cases)


def test_the_signal_is_labkits(chromium):
    always = [
        [depth, gain, activation, seed]
        for depth in (1, 2, 30, 100)
        for activation in lab02.ACTIVATIONS
        for gain in ((0.5, 0.93) if activation == "tanh" else (0.5, 1.0, 1.41, 2.5))
        for seed in (0, 3, 999)
    ]
    # A gain above 1 makes tanh chaotic: two sums that differ in their last digit drift apart, layer by layer.
    chaotic = [[depth, gain, "tanh", seed] for depth in (1, 10) for gain in (1.2, 5 / 3, 2.5) for seed in (0, 1, 2)]
    with opened(chromium, lab02.signal_explorer()) as shown:
        for first in (0, 5 * 2**20 + 3, 999 * 2**20):
            assert pure(shown, "drawn", [[first, 2000]])[0] == lab02._drawn(first, 2000).tolist()
        cases = sorted(always + chaotic, key=lambda case: case[3])  # each net is drawn once
        for case, (forward, backward, last, cosine) in zip(cases, send(shown, cases), strict=True):
            sizes, gradients, outputs = lab02._send(*case)
            assert np.allclose(forward, sizes, rtol=1e-9, atol=0), case
            assert np.allclose(backward, gradients, rtol=1e-9, atol=0), case
            assert np.allclose(last, outputs[-1].T.ravel(), rtol=0, atol=1e-9 * sizes[-1]), case
            assert cosine == pytest.approx(lab02._mean_cosine(outputs[-1]), abs=1e-9)


def test_the_histogram_is_numpys(chromium):
    edges = np.linspace(-3, 3, 42)
    cases = [[RANDOM.normal(0, size, 400).tolist(), reach, 41] for size in (0.01, 1, 4) for reach in (1, 3)]
    cases += [[[*edges, *np.nextafter(edges, 9), *np.nextafter(edges, -9)], 3, 41], [[0.0] * 5, 1, 41]]
    cases += [[np.linspace(-1, 1, 42).tolist(), 1, 41], [[-9, 9, 1, -1], 1, 41]]
    with opened(chromium, lab02.signal_explorer()) as shown:
        for (values, reach, bars), counts in zip(cases, pure(shown, "histogram", cases), strict=True):
            right, _ = np.histogram(np.clip(values, -reach, reach), np.linspace(-reach, reach, bars + 1))
            assert counts == right.tolist()


def test_the_signal_that_is_said_is_the_nets(chromium):
    with opened(chromium, lab02.SignalExplorer(activation="relu", gain=1.0, depth=20)) as shown:
        layer, end = shown.locator(".grip").all()
        sizes, gradients, _ = lab02._send(20, 1.0, "relu")
        words = shown.get_by_role("status").inner_text()
        assert words.startswith("relu, gain 1.00: after 20 layers the signal is × ")
        forward, backward = (float(one.replace("\u2212", "-")) for one in re.findall(r"× ([\d.e\u2212]+\d)", words))
        assert (forward, backward) == pytest.approx((sizes[-1], gradients[0]), rel=0.06)
        assert layer.get_attribute("aria-valuetext").startswith("layer 20 of 20, size ")
        wait_for_frame(shown, lambda: layer.press("ArrowLeft"))
        assert state(shown)["layer"] == 19 and "Layer 19: " in shown.get_by_role("status").inner_text()
        wait_for_frame(shown, lambda: end.press("ArrowLeft"))
        wait_for_frame(shown, lambda: end.press("ArrowLeft"))
        assert state(shown)["depth"] == 18 and layer.get_attribute("aria-valuetext").startswith("layer 18 of 18")


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


def test_the_forces_on_points_and_centers_are_labkits(chromium):
    cases = [
        [RANDOM.normal(0, 10 ** RANDOM.uniform(-2, 2), (n, 2)), RANDOM.normal(0, 1, (3, 2))] for n in (3, 9, 12) * 60
    ]
    cases += [[RANDOM.integers(-1, 2, (n, 2)), RANDOM.integers(-1, 2, (3, 2))] for n in (3, 9) * 50]  # in one place
    cases = [[points.tolist(), centers.tolist()] for points, centers in cases]
    rates = RANDOM.uniform(0, 1, len(cases)).tolist()
    with opened(chromium, lab05.Centers()) as shown:
        found = pure(shown, "forces", cases)
        moved = pure(shown, "follow", [[*case, rate] for case, rate in zip(cases, rates, strict=True)])
        spread = pure(shown, "scatter", [[points] for points, _ in cases])
    turn = torch.arange(3, dtype=torch.float64) * 2 * torch.pi / 3
    rows = torch.stack([turn.cos(), turn.sin()])
    for (points, centers), rate, seen, after, scatter in zip(cases, rates, found, moved, spread, strict=True):
        x = torch.tensor(points, dtype=torch.float64, requires_grad=True)
        labels, loss = torch.arange(3).repeat_interleave(len(x) // 3), CenterLoss(3, 2, rate).double()
        loss.centers.copy_(torch.tensor(centers, dtype=torch.float64))
        parts = {"push": cross_entropy(x @ rows, labels), "pull": loss(x, labels)}
        for name, part in parts.items():
            force = -len(x) * torch.autograd.grad(part, x)[0]
            assert np.allclose(seen[name], force, rtol=1e-9, atol=1e-9), name
        assert seen["softmax"] == pytest.approx(parts["push"].item(), rel=1e-9, abs=1e-9)
        assert seen["center"] == pytest.approx(parts["pull"].item(), rel=1e-9, abs=1e-9)
        loss.update(x.detach(), labels)
        assert np.allclose(after, loss.centers, rtol=1e-9, atol=1e-9)
        right = evaluation.scatter(x.detach(), labels)
        assert np.allclose(scatter, [right.within, right.between], rtol=1e-9, atol=1e-9)


def test_center_loss_alone_gathers_and_nothing_keeps_two_classes_apart(chromium):
    together = lab05.Centers(loss="center loss alone", centers=[[0.0, 0.0]] * 3, rate=0.0)
    with opened(chromium, together) as shown:
        for _ in range(30):
            wait_for_frame(shown, lambda: shown.get_by_role("button", name="One step").click())
        assert np.abs(state(shown)["points"]).max() < 1e-6, "all fall onto one place"
        assert "all classes in one place" in shown.get_by_role("status").inner_text()
        wait_for_frame(shown, lambda: shown.locator("select").select_option("softmax alone"))
        for _ in range(10):
            wait_for_frame(shown, lambda: shown.get_by_role("button", name="One step").click())
        directions = np.array(state(shown)["points"]).reshape(3, 3, 2).mean(1)
        assert (directions @ directions.T < 0).sum() == 6, "softmax drives the classes apart"


def test_the_places_and_what_comes_back_are_labkits(chromium):
    points = RANDOM.normal(0, 2, (40, 2)).tolist() + RANDOM.integers(-3, 4, (40, 2)).astype(float).tolist()
    points += [[0.0, 0.0], [0.6, 0.8], [-1.0, 0.0], [0.0, 1e-300], [3e-200, -4e-200], [1.8, -2.4]]
    cases = [
        [name, point, radius, detached, RANDOM.normal(0, 1, 2).tolist()]
        for name in lab06.MAPS
        for point in points
        for radius in (1.0, 0.7)
        for detached in (False, True)
    ]
    lengths = [[name, length, 1.3] for name in lab06.MAPS for length in RANDOM.uniform(0, 8, 50)]
    with opened(chromium, lab06.RangePlane()) as shown:
        found, landed = pure(shown, "through", cases), pure(shown, "landing", lengths)
    for (name, point, radius, detached, force), seen in zip(cases, found, strict=True):
        x = torch.tensor(point, dtype=torch.float64, requires_grad=True)
        how = {"grad": "detached"} if detached and name != "L2" else {}
        place = lab06.MAPS[name](x, radius, **how)
        (back,) = torch.autograd.grad(place, x, torch.tensor(force, dtype=torch.float64))
        assert np.allclose(seen["place"], place.detach(), rtol=1e-9, atol=1e-9), (name, point, radius)
        assert np.allclose(seen["back"], back, rtol=1e-9, atol=1e-9), (name, point, radius, detached)
    right = [lab06.landing(name, [length], radius)[0] for name, length, radius in lengths]
    assert np.allclose(landed, right, rtol=0, atol=1e-9)


def test_outside_the_ball_unit_range_sends_nothing_back_along_the_point(chromium):
    with opened(chromium, lab06.RangePlane(map="Unit-Range", point=[2.0, 0.0], target=[0.0, 0.0])) as shown:
        assert "back to the point come 0.00 outward and 0.00 across" in shown.get_by_role("status").inner_text()
        wait_for_frame(shown, lambda: shown.get_by_label("detached norm").check())
        assert "back to the point come −0.50 outward" in shown.get_by_role("status").inner_text()


def test_the_barrier_is_labkits(chromium):
    edges = [0.0, 0.15, 0.5, 0.85, 1.0]
    cases = [[p, q, 0.15, 1.0, 1.0] for p in edges for q in edges]
    cases += [RANDOM.uniform([0, 0, 0, 0, 0], [1, 1, 0.95, 3, 3]).tolist() for _ in range(300)]
    with opened(chromium, lab06.Barrier()) as shown:
        found, triplets = pure(shown, "exponential", cases), pure(shown, "standard", [case[:2] for case in cases])
    for (p, q, c_n, positive, negative), seen, standard in zip(cases, found, triplets, strict=True):
        pair = torch.tensor([p, q], dtype=torch.float64, requires_grad=True)
        t = torch.stack([(pair[0] - c_n) / (1 - c_n), (0.5 - pair[1]) / 0.5]).relu()
        loss = torch.tensor([positive, negative], dtype=torch.float64) @ barrier(t)
        slopes = torch.autograd.grad(loss, pair)[0]
        assert seen == pytest.approx([loss.item(), *slopes.tolist()], rel=1e-9, abs=1e-9), (p, q, c_n)
        assert seen[0] == pytest.approx(lab06.exponential_height(p, q, c_n, positive, negative), rel=1e-9, abs=1e-9)
        assert standard[0] == pytest.approx(lab06.triplet_height(p, q, 0.2), abs=1e-12)


def test_the_exponential_loss_compares_no_positive_with_a_negative_and_the_triplet_loss_does(chromium):
    with opened(chromium, lab06.Barrier(p=0.3, q=0.6)) as shown:
        assert "Slope over p 1.43, over q 0.00" in shown.get_by_role("status").inner_text()
        wait_for_frame(shown, lambda: shown.evaluate("model.set('q', 0.95)"))
        assert "Slope over p 1.43, over q 0.00" in shown.get_by_role("status").inner_text()
        wait_for_frame(shown, lambda: shown.locator("select").select_option("triplet, margin 0.2"))
        assert "loss 0.00" in shown.get_by_role("status").inner_text()
        wait_for_frame(shown, lambda: shown.evaluate("model.set('q', 0.4)"))
        assert "Slope over p 1.00, over q −1.00" in shown.get_by_role("status").inner_text()


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
