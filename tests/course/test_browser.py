"""Lab 04 in a real JupyterLab and a real browser, as a notebook and as slides: it runs, and its pictures answer.

Needs Chromium or Chrome (docs/setup.md says how to get it). Without one these tests are skipped; in CI they fail then.
LABKIT_BROWSER_NOTEBOOK names another notebook to test.
"""

import os
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest
from browser import (
    CODE_CELLS,
    KERNEL_IDLE,
    LIMIT,
    OPENED,
    PIXELS,
    RUN_ALL,
    Server,
    find_chromium,
    guarded_page,
    launched_chromium,
)
from small_lab import SOLUTIONS, submission
from small_lab import cell as cell_of

LAB = Path(__file__).parents[2] / "notebooks" / "04_siamese_and_triplet.ipynb"
NOTEBOOK = Path(os.environ.get("LABKIT_BROWSER_NOTEBOOK", LAB))
QUIET = {
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},  # every cell on the page
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}
NOTEBOOK_WIDGET = "window.jupyterapp.shell.currentWidget.content"
ACTIVE = f"{NOTEBOOK_WIDGET}.activeCellIndex"
ACTIVE_IS_CODE = f"{NOTEBOOK_WIDGET}.activeCell.model.type === 'code'"
ACTIVE_HAS_WIDGET = f"""{NOTEBOOK_WIDGET}.activeCell.model.outputs.toJSON().some(
    o => o.data?.['application/vnd.jupyter.widget-view+json'])"""
ACTIVE_HAS_RUN = f"{NOTEBOOK_WIDGET}.activeCell.model.executionCount !== null"
ALTS = f"""{NOTEBOOK_WIDGET}.widgets.filter(c => c.model.type === 'code').flatMap(c => c.model.outputs.toJSON())
    .filter(o => o.data?.['image/png']).map(o => o.metadata?.['image/png']?.alt ?? '')"""


@pytest.fixture(scope="module")
def chromium():
    """The browser."""
    missing = "there is no Chromium on the PATH: install it, or set the environment variable CHROMIUM to its path"
    if not (path := find_chromium()):
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with launched_chromium(path) as browser:
        yield browser


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the notebook as if it had never been run: what the tests see is made in the browser."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    path = tmp_path_factory.mktemp("notebooks") / NOTEBOOK.name
    nbformat.write(notebook, path)
    return path


@pytest.fixture(scope="module")
def server(copy, tmp_path_factory):
    with Server("open_lab", copy, tmp_path_factory.mktemp("server"), QUIET) as server:
        yield server


@pytest.fixture(scope="module")
def page(chromium, server):
    """The notebook in JupyterLab, all cells run."""
    with guarded_page(chromium) as page:
        open_notebook(page, server)
        page.evaluate(RUN_ALL)
        page.wait_for_function(
            f"{KERNEL_IDLE} && ({CODE_CELLS}.every(c => c.count !== null) || {CODE_CELLS}.some(c => c.errors.length))"
        )
        yield page


def open_notebook(page, server):
    page.goto(server.address)
    page.wait_for_function(OPENED)
    page.wait_for_function(KERNEL_IDLE)


def move_slider(cell):
    """Move the first slider of a cell by keyboard; True as soon as the cell's picture has changed."""
    page, image, handle = cell.page, cell.locator("img.widget-image").first, cell.locator(".noUi-handle").first
    handle.scroll_into_view_if_needed()
    before = wait_for(lambda: image.evaluate(PIXELS), "the first picture")
    at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
    handle.focus()
    page.keyboard.press("ArrowLeft" if at_end else "ArrowRight")
    return wait_for(lambda: image.evaluate(PIXELS) not in (None, before), "another picture")


def drag_grip(cell):
    """Drag the first grip of a cell's hand, then press an arrow key on it; True as soon as both have moved it."""
    mouse, grip = cell.page.mouse, cell.locator(".hand .grip").first
    grip.scroll_into_view_if_needed()
    words = [grip.get_attribute("aria-valuetext")]
    box = grip.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + 30, y - 20)
    mouse.up()
    words.append(wait_for(lambda: (now := grip.get_attribute("aria-valuetext")) not in words and now, "the pointer"))
    cell.page.keyboard.press("ArrowRight")  # where the pointer went down, the focus is
    return wait_for(lambda: grip.get_attribute("aria-valuetext") not in words, "the key")


def wait_for(condition, what):
    """Return what `condition` gives once that is true; fail after the limit."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.05)
    pytest.fail(f"waited {LIMIT} s for {what}")


# --- As a notebook -------------------------------------------------------------------------------------------------


def test_all_cells_run_without_an_error(page):
    cells = page.evaluate(CODE_CELLS)
    assert cells and all(cell["count"] for cell in cells)
    assert [cell for cell in cells if cell["errors"]] == []


def test_a_slider_moved_by_keyboard_changes_its_picture(page):
    widgets = page.locator(".jp-CodeCell").filter(has=page.locator(".noUi-handle")).filter(has=page.locator("img"))
    assert widgets.count(), "the notebook shows no slider with a picture"
    assert all(move_slider(cell) for cell in widgets.all())


def test_a_hand_answers_the_pointer_and_the_keys(page):
    hands = page.locator(".jp-CodeCell").filter(has=page.locator(".hand"))
    assert hands.count(), "the notebook shows no hand"
    assert all(drag_grip(cell) for cell in hands.all())


def test_every_picture_is_described_in_words_on_the_page(page):
    alts = page.evaluate(ALTS)
    assert alts and all(alts), "a picture without alt text"
    words = [element.text_content() for element in page.locator(".jp-OutputArea details").all()]
    assert [alt for alt in alts if not any(alt in text for text in words)] == []


def test_the_page_asked_for_nothing_outside_this_computer_and_its_scripts_made_no_error(page):
    assert page.problems == []


def test_the_server_refuses_a_request_without_a_token(server):
    for address in ("/api/contents", "/api/sessions"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(server.url + address, timeout=LIMIT)
    assert "/login" in urllib.request.urlopen(server.url + "/lab", timeout=LIMIT).url


def test_a_request_to_another_computer_is_refused_and_reported(chromium, server):
    with guarded_page(chromium) as page:
        page.goto(f"{server.url}/login")
        outcome = page.evaluate("fetch('http://192.0.2.1/').then(() => 'answered', () => 'refused')")
    assert outcome == "refused"
    assert page.problems == ["request to http://192.0.2.1/"]


def test_run_all_goes_on_behind_an_exercise_that_is_not_solved_yet(chromium, tmp_path):
    path = tmp_path / "05_demo.ipynb"
    student = submission(answer=SOLUTIONS["answer"])
    student.cells.remove(cell_of(student, "slow"))  # it raises
    nbformat.write(student, path)
    (tmp_path / "server").mkdir()
    with Server("open_lab", path, tmp_path / "server", QUIET) as server, guarded_page(chromium) as page:
        open_notebook(page, server)
        page.evaluate(RUN_ALL)
        last = f"({CODE_CELLS}).at(-1)"
        wait_for(lambda: page.evaluate(f"{last}.count"), "the last cell")
        cells = page.evaluate(CODE_CELLS)
        errors = [cell["errors"][0].split(":")[0] for cell in cells if cell["errors"]]
        assert errors == ["NotImplementedError"] * 3
        assert not cells[-2]["errors"], "the check of the exercise that is solved"


# --- As slides -----------------------------------------------------------------------------------------------------


def test_slides_run_cells_and_their_pictures_answer(chromium, copy, tmp_path):
    before = copy.read_bytes()
    with Server("present", copy, tmp_path) as server, guarded_page(chromium) as page:
        open_notebook(page, server)
        page.wait_for_function("document.body.dataset.jpDeckMode === 'presenting'")
        for move, what in ((drag_grip, ".hand .grip"), (move_slider, ".noUi-handle")):
            cell = walk_to(page, what)
            slide = page.evaluate(ACTIVE)
            assert move(cell)
            assert page.evaluate(ACTIVE) == slide, "the arrow key moved what has the focus, not the slide"
        assert page.problems == []
    assert copy.read_bytes() == before, "the notebook itself is left alone"


def walk_to(page, what):
    """Go through the slides, running every code cell on the way; return the first cell that shows `what`."""
    while True:
        shown = page.locator(".jp-Cell.jp-mod-active.jp-deck-mod-visible")
        shown.wait_for()
        if page.evaluate(ACTIVE_IS_CODE):
            page.keyboard.press("Control+Enter")
            page.wait_for_function(f"{KERNEL_IDLE} && {ACTIVE_HAS_RUN}")
            assert [cell for cell in page.evaluate(CODE_CELLS) if cell["errors"]] == []
            if page.evaluate(ACTIVE_HAS_WIDGET):
                wait_for(shown.locator(".hand .grip, img.widget-image").count, "the widget")
            if shown.locator(what).count():
                return shown
        index = page.evaluate(ACTIVE)
        page.keyboard.press("Space")
        page.wait_for_function(f"{ACTIVE} !== {index}")
