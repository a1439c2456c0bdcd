"""The course's site: built once, then every page is read, and opened in a real browser without a network.

The browser's tests need Chromium or Chrome (docs/setup.md says how to get it); without one they are skipped, in CI they
fail then.
"""

import copy
import json
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urldefrag

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import LIMIT, guarded_page
from bs4 import BeautifulSoup

from course import site as building
from course.notebooks import labs, read, tags
from course.site.conf import as_restructured
from course.site.lab_page import web_version
from course.site.pages import script

READY = "Promise.all([document.fonts.ready, window.MathJax?.startup?.promise]).then(() => true)"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
LIGHTER = "document.querySelectorAll('pre, mjx-container svg').forEach(e => { e.textContent = e.textContent })"
LAB = "notebooks/04_siamese_and_triplet.html"
IN_THE_DARK = ("index.html", LAB, "docs/measured.html", "api/labkit.losses.html")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder, warnings = building.build(tmp_path_factory.mktemp("site") / "site")
    assert warnings == ""
    return folder


@pytest.fixture(scope="module")
def pages(site):
    """{path below the site: the page, parsed}."""
    files = sorted(site.rglob("*.html"))
    return {
        file.relative_to(site).as_posix(): BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")
        for file in files
    }


# -------------------------------------------------------------------------------------------------- without a browser


def test_there_is_a_page_for_every_lab_module_and_document(pages):
    wanted = {f"notebooks/{lab.stem}.html" for lab in labs()} | {"index.html", "search.html", "docs/measured.html"}
    wanted |= {"docs/tables.html", "docs/setup.html", "api/labkit.losses.html", "_modules/labkit/losses/triplet.html"}
    assert wanted <= set(pages)


def broken(pages, site):
    """Links and sources of the pages that lead nowhere: (page, target)."""
    for name, page in pages.items():
        for element in page.find_all(lambda element: element.has_attr("href") or element.has_attr("src")):
            target = element.get("href") or element.get("src") or ""
            if re.match(r"[a-z]+:", target):
                if element.name != "a":  # a script, style or picture from elsewhere
                    yield name, target
                continue
            path, anchor = urldefrag(target)
            file = (site / name).parent / unquote(path.split("?")[0]) if path else site / name
            if not file.resolve().is_file():
                yield name, target
            elif anchor and file.suffix == ".html":
                inside = pages[file.resolve().relative_to(site.resolve()).as_posix()]
                if not inside.find(id=unquote(anchor)):
                    yield name, target


def test_links_and_anchors_lead_somewhere_and_nothing_comes_from_elsewhere(pages, site):
    assert list(broken(pages, site)) == []


def test_a_broken_link_is_found(tmp_path):
    page = (
        '<a href="b.html#c">x</a><a href="#d">x</a><script src="https://a.b/c.js"></script><p id="e"><a href="#e">x</a>'
    )
    assert len(list(broken({"a.html": BeautifulSoup(page, "html.parser")}, tmp_path))) == 4  # there is no a.html either
    (tmp_path / "a.html").touch()
    assert len(list(broken({"a.html": BeautifulSoup(page, "html.parser")}, tmp_path))) == 3


def test_every_picture_has_words(pages):
    pictures = [image for page in pages.values() for image in page.find_all("img")]
    assert len(pictures) > 100
    assert not [image["src"] for image in pictures if len(image.get("alt", "").split()) < 4]


def test_solutions_are_folded_and_no_search_finds_them(pages, site):
    index = json.loads(re.fullmatch(r"Search.setIndex\((.*)\)", (site / "searchindex.js").read_text("utf-8"))[1])
    assert index["terms"]["semi"]
    tried = 0
    for lab in labs():
        page = copy.copy(pages[f"notebooks/{lab.stem}.html"])
        folded = [one.extract() for one in page.select("details.solution")]
        assert len(folded) == sum("exercise" in tags(cell) for cell in read(lab).cells)
        assert not [one for one in folded if one.has_attr("open")]
        texts = " ".join(one.get_text() for one in folded), page.get_text()
        hidden, shown = (set(re.findall(r"\w{4,}", text.lower())) for text in texts)
        stems = {word[:end] for word in hidden for end in range(len(word) - 2, len(word) + 1)}  # the index has stems
        stems -= {word[:end] for word in shown for end in range(len(word) + 1)}
        tried += len(stems)
        here = index["docnames"].index(f"notebooks/{lab.stem}")
        found = {stem: index["terms"].get(stem, index["titleterms"].get(stem, [])) for stem in stems}
        assert not [stem for stem, places in found.items() if here in ([places] if isinstance(places, int) else places)]
    assert tried > 20  # words that a solution has and the rest of its page has not


def test_no_page_says_what_is_for_instructors_and_every_bar_has_ended(pages):
    for name, page in pages.items():
        if name.startswith("notebooks/"):
            text = page.get_text()
            assert not re.search(r"For the instructor|### (BEGIN|END)|\b\d\d?%\|", text), name
    assert "4/4" in pages["notebooks/00_start_here.html"].get_text()


def test_downloads_are_the_lab_and_the_students_notebook(site):
    for lab in labs():
        assert (site / "downloads" / lab.name).read_bytes() == lab.read_bytes()
        student = read(site / "downloads" / "student" / lab.name)
        assert "BEGIN SOLUTION" not in "".join(cell.source for cell in student.cells)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not a site"):
        building.build(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_page_keeps_its_claims_and_numbers(tmp_path):
    lab = labs()[4]
    page = web_version(read(lab), lab, tmp_path)
    claims = [out for notebook in (read(lab), page) for cell in notebook.cells for out in cell.get("outputs", ())]
    claims = [out["data"]["text/markdown"] for out in claims if out.get("data", {}).get("text/markdown", "")[:1] == "✓"]
    assert claims[: len(claims) // 2] == claims[len(claims) // 2 :] != []


def test_a_hand_as_a_plain_script():
    assert re.match(r'window.hands = \{ ...window.hands, triplet: \(\(\) => \{ "use strict";\n', script("triplet"))
    assert not re.search(r"^(export|import) ", script("triplet"), re.MULTILINE)


def test_a_docstring_becomes_restructured_text():
    item = ["margin: default 0.2,", "    at least 0.", "mining:", '        "all"  every one.', "Raises."]
    wanted = ["- **margin**: default 0.2,", "  at least 0.", "- **mining**:", '  | "all"  every one.', "Raises."]
    assert [line for line in as_restructured(item) if line] == wanted
    assert as_restructured(["Mean of *all* `x_i`."]) == ["Mean of \\*all\\* ``x_i``.", "", ""]
    assert as_restructured(["text", ">>> 1", "1"]) == ["text", "", ">>> 1", "1", ""]
    assert as_restructured(["a    b", "c    d"]) == ["::", "", "    a    b", "    c    d", "", ""]


# ------------------------------------------------------------------------------------------------------- in a browser


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(site):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def faults_of(page, with_axe=True, lighter=False):
    """What is wrong with an open page: scripts' errors, requests refused, overflow, serious findings of axe.

    lighter: the colors of code and the parts of formulas, thousands of elements, are left out of what axe looks at.
    """
    page.evaluate(READY)
    faults = list(page.problems)
    page.problems.clear()
    if page.evaluate(OVERFLOW) > 0:
        faults.append(f"{page.evaluate(OVERFLOW)} pixels too wide")
    if lighter:
        page.evaluate(LIGHTER)
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"] if with_axe else []
    for finding in found:
        if finding["impact"] in ("serious", "critical"):
            faults.append(f"{finding['id']}: {[node['target'] for node in finding['nodes']][:3]}")
    return faults


def test_every_page_opens_on_a_telephone_without_a_fault(chromium, address, pages):
    faults = {}
    with guarded_page(chromium, width=400, height=800) as page:
        page.on("response", lambda response: response.ok or page.problems.append(f"{response.status} {response.url}"))
        for name in pages:
            page.goto(address + name)
            source = name.startswith("_modules/") and name != "_modules/labkit/losses/circle.html"  # all alike
            if found := faults_of(page, with_axe=not source, lighter=name.startswith("notebooks/")):
                faults[name] = found
    assert faults == {}


@pytest.mark.parametrize("width", [1280, 3840])
def test_in_the_dark_and_on_large_screens_pages_are_without_a_fault_too(chromium, address, width):
    with guarded_page(chromium, width=width, height=1000) as page:
        page.add_init_script("localStorage.setItem('theme', 'dark')")
        for name in IN_THE_DARK:
            page.goto(address + name)
            assert page.evaluate("document.body.dataset.theme") == "dark"
            assert faults_of(page, lighter=name == LAB) == []


def test_a_hand_answers_on_the_start_page_and_follows_the_theme(chromium, address):
    with guarded_page(chromium) as page:
        page.emulate_media(color_scheme="light")
        page.goto(address)
        grip, mouse = page.locator(".hand .grip").first, page.mouse
        grip.wait_for()
        grip.scroll_into_view_if_needed()
        ink = "getComputedStyle(document.querySelector('.hand')).color"
        page.wait_for_function(f"{ink} === 'rgb(34, 34, 34)'")
        before, box = grip.get_attribute("aria-valuetext"), grip.bounding_box()
        mouse.move(box["x"] + 15, box["y"] + 15)
        mouse.down()
        mouse.move(box["x"] + 60, box["y"] - 20)
        mouse.up()
        page.wait_for_function(
            "before => document.querySelector('.hand .grip').getAttribute('aria-valuetext') !== before", arg=before
        )
        page.evaluate("document.body.dataset.theme = 'dark'")
        page.wait_for_function(f"{ink} === 'rgb(232, 232, 232)'")
        page.emulate_media(media="print")
        assert page.locator(".hand-place > img").is_visible() and not page.locator(".hand").is_visible()
        assert page.problems == []


def test_every_hand_of_the_labs_comes_to_life(chromium, address, pages):
    with guarded_page(chromium) as page:
        for name in [name for name in pages if pages[name].select(".hand-place")]:
            page.goto(address + name)
            page.wait_for_function("!document.querySelector('.hand-place:not(.alive)')", timeout=LIMIT * 1000)
            assert page.locator(".hand .grip, .hand button, .hand input").count()
        assert page.problems == []


def test_formulas_are_set_and_a_click_unfolds_a_solution(chromium, address):
    with guarded_page(chromium) as page:
        page.goto(address + LAB)
        page.evaluate(READY)
        assert page.locator("mjx-container svg").count() > 50
        assert page.locator("[data-mml-node=merror]").count() == 0
        solution = page.locator("details.solution").first
        assert not solution.locator("pre").is_visible()
        solution.locator("summary").click()
        assert "torch.where" in solution.locator("pre").inner_text()


def test_search_finds_semi_hard(chromium, address):
    with guarded_page(chromium) as page:
        page.goto(address + "search.html?q=semi-hard")
        link = page.locator("#search-results a", has_text="Siamese and triplet").first
        link.wait_for()
        assert "04_siamese_and_triplet.html" in link.get_attribute("href")
        assert page.problems == []
