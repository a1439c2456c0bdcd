"""A whole page with one hand, for a browser without any kernel."""

import json
import re
from contextlib import contextmanager

from browser import guarded_page

from labkit.figures.hands import source

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Hand</title>
<meta name="viewport" content="width=device-width">
<style>body { background: #fff } @media (prefers-color-scheme: dark) { body { background: #111 } }</style></head>
<body><main id="hand"></main>
<script type="module">
CODE
const state = STATE, listeners = {};
const model = { get: (name) => state[name], save_changes: () => {}, off: () => {},
  on: (name, act) => (listeners[name] ||= []).push(act),
  set: (name, value) => { state[name] = value; (listeners[`change:${name}`] || []).forEach((act) => act()); } };
widget.render({ model, el: document.getElementById("hand") });
Object.assign(window, { model, state, pure: { PURE } });
</script></body></html>
"""


def page(module: str, state: dict) -> str:
    """A whole HTML page with one hand, for a browser without any kernel; no request leaves it.

    state: the values of its traits.
    """
    code = source(module)
    pure = ", ".join(re.findall(r"^export function (\w+)", code, re.M))
    code = re.sub(
        r"^export default", "const widget =", re.sub(r"^export function", "function", code, flags=re.M), flags=re.M
    )
    filled = {"CODE": code, "STATE": json.dumps(state).replace("</", "<\\/"), "PURE": pure}
    return re.sub("CODE|STATE|PURE", lambda found: filled[found.group()], PAGE)


@contextmanager
def opened(chromium, hand, width=900, scheme="light"):
    """A page that shows a hand without any kernel; its scripts make no error and ask nobody for anything."""
    with guarded_page(chromium, width=width) as shown:
        shown.emulate_media(color_scheme=scheme)
        shown.set_content(page(hand.module, hand.state))
        shown.wait_for_function("document.getElementById('hand').hand?.frames > 0")
        yield shown
        assert not shown.problems
