"""Labs in a real JupyterLab and a real browser, as notebooks and slides: they run, fit the screen, and answer the hand.

Lab 04 is run whole; all labs are stepped through as slides at one size (LABKIT_SLIDES=all: at all three).
Needs Chromium or Chrome (docs/setup.md says how to get it). Without one these tests are skipped; in CI they fail then.
LABKIT_BROWSER_NOTEBOOK names another notebook to test.
"""

import os
import re
import string
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest
from access import grave_faults
from browser import (
    CODE_CELLS,
    KERNEL_IDLE,
    LIMIT,
    OPENED,
    PIXELS,
    RUN_ALL,
    Server,
    guarded_page,
)
from deck import HANDS, SHOWN, SIZES, WALK, all_labs, hands_notebook
from small_lab import SOLUTIONS, submission
from small_lab import cell as cell_of

from course.notebooks import labs

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
# How often a slide is laid out in half a second.
LAID_OUT = """async () => {
    const show = slides.show;
    let times = 0;
    slides.show = () => { times += 1; show.call(slides); };
    await new Promise(done => setTimeout(done, 500));
    delete slides.show;
    return times;
}"""


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
    assert handle.get_attribute("aria-label") and image.get_attribute("alt")
    before = wait_for(lambda: image.evaluate(PIXELS), "the first picture")
    at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
    handle.focus()
    page.keyboard.press("ArrowLeft" if at_end else "ArrowRight")
    shown = cell.locator(".widget-readout").first
    wait_for(lambda: handle.get_attribute("aria-valuetext") == shown.inner_text(), "the value as it is shown")
    return wait_for(lambda: image.evaluate(PIXELS) not in (None, before), "another picture")


def drag_grip(cell):
    """Drag the first grip of a cell's hand, then press an arrow key on it; True as soon as both have moved it."""
    mouse, grip = cell.page.mouse, cell.locator(".hand .grip:visible").first
    grip.hover()  # which waits until the slide has been scaled to the screen
    words = [grip.get_attribute("aria-valuetext")]
    box = grip.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse.down()
    mouse.move(x - 30, y - 20)  # to the left: some begin at the right end of where they may go
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
        cell = walk_to(page, ".hand .grip")
        slide = page.evaluate(ACTIVE)
        assert drag_grip(cell)
        assert page.evaluate(ACTIVE) == slide, "the arrow key moved what has the focus, not the slide"
        assert page.problems == []
    assert copy.read_bytes() == before, "the notebook itself is left alone"


# A picture whose code need not be seen.
PICTURE = """from labkit import figures
from IPython.display import Markdown, display
figures.show(figures.bars({"a": 1}, "height"), alt="One bar. It is one high.")"""


SLIDER = """from labkit.figures.live import live
live(lambda height: figures.bars({"a": height}, "height"), "One bar.", height=(0.0, 1.0, 0.9))"""


@pytest.fixture(scope="module")
def deck(chromium, tmp_path_factory):
    """A notebook with all hands, open as slides and run: the page, and the notebook's path."""
    cells = [("markdown", "# Hands", "slide"), ("code", "hidden = 1", "skip")]
    cells += [("markdown", "## A picture\n\nIts sentence.", "slide"), ("code", PICTURE, "fragment")]
    cells += [("markdown", "**Ask** first.", "notes"), ("code", "hidden + 1", "subslide")]
    cells += [("markdown", "## A slider\n\nMove it.", "slide"), ("code", SLIDER, "fragment")]
    folder = tmp_path_factory.mktemp("deck")
    path = hands_notebook(folder / "hands.ipynb", cells)
    (folder / "server").mkdir()
    with Server("present", path, folder / "server") as server, guarded_page(chromium, *SIZES[0]) as page:
        open_notebook(page, server)
        page.wait_for_function(SHOWN)
        page.keyboard.press("r")
        page.wait_for_function(f"{KERNEL_IDLE} && {CODE_CELLS}.every(c => c.count !== null)")
        yield page, path


def number(page):
    """What the bar says: "3 / 9"; after a frame, so that the last key has been answered."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.locator(".slides-bar button[title=contents]").inner_text()


def test_a_room_moves_jumps_and_blanks_by_keys(deck):
    page, _ = deck
    press = page.keyboard.press
    press("Home")
    last = number(page).split(" / ")[1]
    assert number(page) == f"1 / {last}"
    press("PageDown")  # as remotes do
    assert number(page) == f"2 / {last}" and page.locator(".slides-bar .section").inner_text() == "A picture"
    press("PageDown")
    assert number(page) == f"2 / {last}", "a fragment of the same slide"
    cell = page.locator(".jp-CodeCell.jp-mod-active")
    assert cell.locator("img").is_visible() and not cell.locator(".jp-Cell-inputWrapper").is_visible()
    press("c")
    cell.locator(".jp-Cell-inputWrapper").wait_for(state="visible")
    press("c")
    cell.locator(".jp-Cell-inputWrapper").wait_for(state="hidden")
    press("n")
    assert page.locator(".slides-notes").inner_text().strip() == "Ask first."
    press("n")
    page.locator(".slides-notes").wait_for(state="hidden")
    press("b")
    assert page.locator(".slides-blank").is_visible()
    press("PageDown")
    assert not page.locator(".slides-blank").is_visible() and number(page) == f"2 / {last}", (
        "the screen comes back first"
    )
    press("PageDown")
    assert number(page) == f"3 / {last}" and page.locator(".jp-mod-active .jp-Cell-inputWrapper").is_visible()
    press("PageUp")
    assert number(page) == f"2 / {last}"
    press("End")
    assert number(page) == f"{last} / {last}"
    for key in ("2", "Enter"):
        press(key)
    assert number(page) == f"2 / {last}"
    press("o")
    entries = page.locator(".slides-dialog li")
    assert entries.count() == int(last) and entries.nth(1).inner_text() == "2 · A picture"
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        press(key)
    assert number(page) == f"4 / {last}" and not page.locator(".slides-dialog").count()
    press("?")
    assert "PageDown" in page.locator(".slides-dialog").inner_text()
    press("Escape")
    assert not page.locator(".slides-dialog").count() and number(page) == f"4 / {last}"


def test_the_speaker_has_a_window_with_notes_clock_and_what_comes_next(deck):
    page, _ = deck
    page.keyboard.press("Home")
    page.keyboard.press("PageDown")
    with page.context.expect_page() as opened:
        page.keyboard.press("s")
    speaker = opened.value
    wait_for(lambda: "Ask first." in speaker.locator("#notes").inner_text(), "the notes")
    assert re.match(r"\d+:\d\d · ", speaker.locator("#clock").inner_text())
    assert speaker.locator("#next").inner_text() == "hidden + 1"
    speaker.keyboard.press("Home")  # keys work there as well
    wait_for(lambda: number(page).startswith("1 /"), "the first slide")
    assert "No notes" in speaker.locator("#notes").inner_text()
    speaker.close()


def test_no_key_damages_the_notebook(deck):
    page, path = deck
    before, on_disk = page.evaluate(f"{NOTEBOOK_WIDGET}.model.cells.length"), path.read_bytes()
    source = f"[...{NOTEBOOK_WIDGET}.widgets].map(c => [c.model.id, c.model.type, c.model.sharedModel.getSource()])"
    cells = page.evaluate(source)
    keys = [*string.ascii_letters, *string.digits, *string.punctuation, "Enter", "Backspace", "Delete", "Tab", "Insert"]
    keys += [f"Control+{key}" for key in ("b", "m", "x", "v", "z", "Shift+-", "a", "d")]
    keys += [f"Shift+{key}" for key in ("ArrowDown", "ArrowUp", "m", "d", "l", "Delete")] + [
        "Alt+Enter",
        "d",
        "d",
        "F2",
    ]
    for start in ("Home", "End"):
        page.keyboard.press(start)
        for key in keys:
            if key in "sf":
                continue  # a window, the full screen
            page.evaluate(f"slides.go({NOTEBOOK_WIDGET}.activeCellIndex)")
            page.keyboard.press(key)
            for _ in range(2):
                if page.locator("dialog[open]").count():
                    page.keyboard.press("Escape")
    page.wait_for_function(KERNEL_IDLE)
    assert page.evaluate(source) == cells and len(cells) == before
    assert path.read_bytes() == on_disk
    page.evaluate("() => { slides.blank.hidden = true; slides.notes.hidden = true; }")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_live_hands_fit_the_screen_with_their_sentence(deck, size):
    page, _ = deck
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.wait_for_function(f"slides.fitted?.startsWith('{size[0]},{size[1]}')")
    steps = page.evaluate(WALK)
    assert misfits(steps) == []
    page.set_viewport_size({"width": SIZES[0][0], "height": SIZES[0][1]})


def misfits(steps):
    """Steps that leave the screen, are too small to read, or lose the active cell; pictures without a sentence."""
    told = {picture for step in steps if step["sentence"] for picture in step["pictures"]}
    small = 11 / 16  # of 16 px of type on a screen 720 px high; a picture alone has type of its own
    faults = [
        step for step in steps if step["over"] > 1 or not step["active"] or (step["zoom"] < small and not step["alone"])
    ]
    return faults + sorted({picture for step in steps for picture in step["pictures"]} - told)


def test_a_slider_answers_the_keyboard_and_says_its_name_and_value(deck):
    page, _ = deck
    cell = page.locator(".jp-CodeCell").filter(has=page.locator(".noUi-handle"))
    index = page.evaluate(f"{NOTEBOOK_WIDGET}.widgets.findIndex(c => c.node.querySelector('.noUi-handle'))")
    page.evaluate(f"slides.go({index})")
    assert move_slider(cell)
    assert grave_faults(page, ".jp-mod-active .jp-OutputArea .widget-box") == []
    assert page.evaluate(ACTIVE) == index


def test_every_hand_answers_on_a_slide_and_axe_finds_nothing_serious(deck):
    page, _ = deck
    hands = page.locator(".jp-CodeCell").filter(has=page.locator(".hand"))
    indices = page.evaluate(f"{NOTEBOOK_WIDGET}.widgets.flatMap((c, i) => c.node.querySelector('.hand') ? [i] : [])")
    assert len(indices) == hands.count() == len(HANDS)
    for index in indices:
        page.evaluate(f"slides.go({index})")
        shown = page.locator(".jp-CodeCell.jp-mod-active").filter(has=page.locator(".hand"))
        if shown.locator(".hand .grip:visible").count():
            assert drag_grip(shown)
        assert page.evaluate(LAID_OUT) <= 3, "a slide that nobody touches comes to rest"
        assert grave_faults(page, ".jp-mod-active .hand", ".slides-bar") == []
        assert page.evaluate(ACTIVE) == index, "the arrow key moved the point, not the slide"
    for key, part in (("o", ".slides-dialog"), ("?", ".slides-dialog"), ("n", ".slides-notes")):
        page.evaluate("slides.go(slides.steps[1])")
        page.keyboard.press(key)
        assert grave_faults(page, part) == []
        page.keyboard.press("Escape" if part == ".slides-dialog" else key)
    assert page.problems == []


@pytest.mark.parametrize("hindered", ["", "slides.look = () => {};"])
def test_slides_that_the_slideshow_missed_come_all_the_same(deck, hindered):
    page, _ = deck
    gone = "for (const c of slides.notebook.widgets) c.removeClass('jp-deck-mod-visible')"
    page.evaluate(f"() => {{ slides.fitted = null; slides.first = true; {hindered} {gone}; slides.show(); }}")
    page.wait_for_function(SHOWN)
    assert page.evaluate("slides.first ?? false") == (not hindered), "looked at again, or started anew"
    assert page.evaluate("slides.notebook.activeCell.hasClass('jp-deck-mod-visible')")


def test_escape_leaves_the_slides_and_the_notebook_is_as_ever(deck):
    page, _ = deck
    page.evaluate("slides.go(slides.steps[0])")
    page.keyboard.press("Escape")
    page.wait_for_function("!document.body.dataset.jpDeckMode && !document.querySelector('.slides-bar')")
    assert not page.evaluate(f"{NOTEBOOK_WIDGET}.widgets.some(c => c.node.style.zoom || c.hasClass('slides-folded'))")
    page.evaluate("window.jupyterapp.commands.execute('deck:start')")
    page.wait_for_function(SHOWN)


@pytest.mark.parametrize("size", SIZES if os.environ.get("LABKIT_SLIDES") == "all" else SIZES[:1])
def test_a_picture_and_its_sentence_never_leave_the_screen_in_any_lab(chromium, tmp_path, size):
    faults = {}
    with all_labs(chromium, tmp_path) as open_lab:
        for lab in labs():
            with open_lab(lab) as page:
                page.set_viewport_size({"width": size[0], "height": size[1]})
                steps = page.evaluate(WALK)
                assert len(steps) > 40
                if found := misfits(steps):
                    faults[lab.stem] = found
                assert [problem for problem in page.problems if problem.startswith("request")] == []
    assert faults == {}


def test_charts_do_without_tables_that_no_room_could_read_until_c(chromium, tmp_path):
    lab = next(lab for lab in labs() if lab.stem.startswith("08"))
    with all_labs(chromium, tmp_path) as open_lab, open_lab(lab) as page:
        shown = "document.querySelector('.jp-deck-mod-visible.slides-charts')"
        step = page.evaluate(f"slides.steps.find(i => {{ slides.go(i); slides.show(); return {shown}; }})")
        assert step is not None
        table = page.locator(".jp-deck-mod-visible .jp-OutputArea table").first
        assert page.evaluate("slides.zoom") > 0.75 and not table.is_visible()
        page.keyboard.press("c")
        table.wait_for()
        page.keyboard.press("c")
        table.wait_for(state="hidden")


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
