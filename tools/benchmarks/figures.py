"""How quickly a figure follows the hand, and whether the slides of all labs fit the screen: measured in Chromium.

    python -m tools.benchmarks.figures pace      pointer to new frame of every hand; on an idle machine, some minutes
    python -m tools.benchmarks.figures slides    every slide of every lab at three sizes; idle or not

Each writes its table to data/measured. What is timed runs from the pointer's event to the moment at which the browser
has painted the frame that was drawn for it: in a page without a kernel, in JupyterLab, and on a slide. First draws are
measured from the start of the page, or of the cell, to the first frame. Beside them, one figure with a slider.
"""

import itertools
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from browser import KERNEL_IDLE, OPENED, Server, find_chromium, guarded_page, launched_chromium  # noqa: E402
from deck import HANDS, SHOWN, SIZES, WALK, all_labs, hands_notebook  # noqa: E402
from hand_page import page as hand_page  # noqa: E402

from course.notebooks import labs  # noqa: E402
from experiments import records  # noqa: E402

MOVES = 80
GOALS = {"median_ms": 17, "p95_ms": 34, "first_draw_ms": 1000, "slider_ms": 120}
# After a frame is drawn in requestAnimationFrame, a message to oneself comes when it has been painted.
WATCH = """root => {
    const hand = root.parentElement.hand, draw = hand.draw, laps = window.laps = [];
    let start = null;
    addEventListener('pointermove', event => { start ??= event.timeStamp; }, true);
    hand.draw = () => {
        draw();
        if (start === null) return;
        const began = start, channel = new MessageChannel();
        start = null;
        channel.port1.onmessage = () => laps.push(performance.now() - began);
        channel.port2.postMessage(0);
    };
}"""
SLIDER = """import numpy as np
from labkit.figures import lab00
points = np.random.default_rng(0).normal(size=(9, 300, 2))
lab00.embedding_explorer(list(points), np.arange(300) % 10, list("0123456789"))"""
NEXT_PICTURE = """image => new Promise(done => {
    const start = performance.now();
    image.addEventListener('load', () => image.decode().then(() => done(performance.now() - start)), {once: true});
})"""


def latencies(root) -> list[float]:
    """Milliseconds from pointer to frame, while the first point of a hand, or else its picture, is dragged about."""
    mouse, grips = root.page.mouse, root.locator(".grip")
    grip = grips.first if grips.count() else root.locator("canvas").first
    grip.scroll_into_view_if_needed()
    box = grip.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    root.evaluate(WATCH)
    mouse.move(x, y)
    mouse.down()
    for move in range(MOVES):
        mouse.move(x + 12 + 20 * (move % 2) + move / 4, y - 8 - move / 8)
        time.sleep(0.03 + 0.001 * (7 * move % 17))  # not in step with the screen
    mouse.up()
    return root.evaluate("() => new Promise(done => setTimeout(() => done(window.laps), 200))")


def summary(times: list[float]) -> dict:
    """Median and 95th percentile; none if nothing was drawn."""
    if len(times) < 20:
        return {"frames": len(times)}
    return {
        "median_ms": round(statistics.median(times), 1),
        "p95_ms": round(statistics.quantiles(times, n=20)[-1], 1),
        "frames": len(times),
    }


def pages(chromium) -> list[dict]:
    """Every hand in a page without a kernel."""
    rows = []
    for module, hand in HANDS.items():
        with guarded_page(chromium) as page:
            page.set_content(hand_page(module, hand().state))
            first = page.wait_for_function(
                "document.getElementById('hand').hand?.frames > 0 && performance.now()"
            ).json_value()
            row = {"hand": module, "place": "page", **summary(latencies(page.locator(".hand")))}
            rows.append({**row, "first_draw_ms": round(first)})
    return rows


def in_jupyterlab(chromium, folder: Path, function: str) -> list[dict]:
    """Every hand, and one figure with a slider, in a notebook ("open_lab") or on slides ("present")."""
    rows = []
    path = hands_notebook(folder / "hands.ipynb", [("markdown", "# Hands", "slide"), ("code", SLIDER, "fragment")])
    quiet = {"@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}}
    with Server(function, path, folder / function, quiet) as server, guarded_page(chromium, *SIZES[0]) as page:
        page.goto(server.address)
        page.wait_for_function(f"({OPENED}) && ({KERNEL_IDLE})")
        if function == "present":
            page.wait_for_function(SHOWN)
        notebook = "window.jupyterapp.shell.currentWidget.content"
        place = {"open_lab": "JupyterLab", "present": "slide"}[function]
        for number, module in enumerate(["slider", *HANDS]):
            index = 2 * number + 1
            page.evaluate(f"{notebook}.activeCellIndex = {index}")
            run = "window.jupyterapp.commands.execute('notebook:run-cell')"
            page.evaluate(f"{run}.then(() => 0)")  # imports, once
            cell = page.locator(".jp-CodeCell").nth(number)
            drawn = ".hand canvas" if number else "img.widget-image"
            cell.locator(drawn).first.wait_for()
            start = time.perf_counter()
            page.evaluate(f"{run}.then(() => 0)")
            cell.locator(drawn).first.wait_for()
            first = 1000 * (time.perf_counter() - start)
            page.wait_for_function(KERNEL_IDLE)
            row = {"hand": module, "place": place, "first_draw_ms": round(first)}
            if number:
                rows.append({**row, **summary(latencies(cell.locator(".hand").first))})
                continue
            times, handle = [], cell.locator("[role=slider]").first
            handle.focus()
            for move in range(20):
                picture = cell.locator("img.widget-image").first.element_handle()
                promise = page.evaluate_handle(f"image => ({{lap: ({NEXT_PICTURE})(image)}})", picture)
                page.keyboard.press("ArrowLeft" if move // 4 % 2 == 0 else "ArrowRight")
                times.append(promise.evaluate("one => one.lap"))
            rows.append({**row, **summary(times)})
    return rows


def pace() -> list[dict]:
    """A row for each hand and place."""
    with tempfile.TemporaryDirectory() as folder, launched_chromium(find_chromium()) as chromium:
        rows = pages(chromium)
        for function in ("open_lab", "present"):
            (Path(folder) / function).mkdir()
            rows += in_jupyterlab(chromium, Path(folder), function)
    return rows


def slides(sizes=SIZES) -> list[dict]:
    """A row for each lab and size: steps, how many leave the screen, and how small the type gets."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, launched_chromium(find_chromium()) as chromium:
        with all_labs(chromium, Path(folder)) as open_lab:
            for lab, (width, height) in itertools.product(labs(), sizes):
                with open_lab(lab) as page:
                    page.set_viewport_size({"width": width, "height": height})
                    page.wait_for_function(f"slides.fitted?.startsWith('{width},{height}')")
                    steps = page.evaluate(WALK)
                    told = {picture for step in steps if step["sentence"] for picture in step["pictures"]}
                    zooms = sorted(step["zoom"] for step in steps if not step["alone"])
                    rows.append(
                        {
                            "lab": lab.stem[:2],
                            "size": f"{width}×{height}",
                            "steps": len(steps),
                            "slides": steps[-1]["slide"],
                            "off_screen": sum(step["over"] > 1 for step in steps),
                            "pictures_without_sentence": len({p for s in steps for p in s["pictures"]} - told),
                            "type_px_at_720": {
                                name: round(16 * zoom, 1)
                                for name, zoom in zip(
                                    ("least", "tenth", "median"),
                                    (zooms[0], zooms[len(zooms) // 10], zooms[len(zooms) // 2]),
                                    strict=True,
                                )
                            },
                        }
                    )
                    print(rows[-1], flush=True)
    return rows


def main(what: str) -> None:
    before = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    rows = {"pace": pace, "slides": slides}[what]()
    load = {"load_before": before, "load_after": os.getloadavg()[0] if before is not None else None}
    if what == "pace":
        for row in rows:
            print("  ".join(f"{key} {value}" for key, value in row.items()))
        print(f"goals on an idle machine: {GOALS}; load {load}")
    path = records.record(
        f"figures_{what}", rows, **load, **({"goals": GOALS, "moves": MOVES} if what == "pace" else {})
    )
    print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    if sys.argv[1:] not in (["pace"], ["slides"]):
        sys.exit("what to measure: got " + (" ".join(sys.argv[1:]) or "nothing") + ", expected pace or slides")
    main(sys.argv[1])
