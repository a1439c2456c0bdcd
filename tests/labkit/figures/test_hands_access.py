"""Every hand for everybody: axe finds nothing serious, the keyboard reaches all, focus is seen, a telephone is enough.

Generic over Hand.__subclasses__(): a new hand is held to it without a word here. Needs Chromium, as test_hands does.
"""

import contextlib

import pytest
from access import grave_faults
from deck import HANDS
from hand_page import opened
from playwright.sync_api import TimeoutError

OUTLINE = """() => { const s = getComputedStyle(document.activeElement);
    return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2 ? s.outlineColor : null; }"""
REACHABLE = """() => [...document.querySelectorAll(
    ".hand :is(button, input, select, textarea, a[href], [tabindex]:not([tabindex='-1']))")]
    .filter(e => e.checkVisibility())"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("module", HANDS)
def test_axe_finds_nothing_serious(chromium, module, scheme):
    with opened(chromium, HANDS[module](), scheme=scheme) as one:
        assert grave_faults(one) == []


def test_axe_would_find_a_slider_without_a_name(chromium):
    with opened(chromium, next(iter(HANDS.values()))()) as one:
        one.locator(".grip, [role=slider]").first.evaluate("grip => grip.removeAttribute('aria-label')")
        assert any(fault.startswith("aria-input-field-name") for fault in grave_faults(one))


@pytest.mark.parametrize("module", HANDS)
def test_the_keyboard_reaches_everything_and_the_focus_is_seen(chromium, module):
    with opened(chromium, HANDS[module]()) as one:
        wanted = one.evaluate(f"({REACHABLE})().length")
        assert wanted
        reached = set()
        for _ in range(2 * wanted + 2):
            one.keyboard.press("Tab")
            if not one.evaluate("document.activeElement.closest('.hand')"):
                break
            reached.add(one.evaluate(f"({REACHABLE})().indexOf(document.activeElement)"))
            assert one.evaluate(OUTLINE), one.evaluate("document.activeElement.outerHTML")
        assert reached == set(range(wanted))


@pytest.mark.parametrize("module", HANDS)
def test_every_slider_says_its_value_in_words_and_the_keys_change_it(chromium, module):
    with opened(chromium, HANDS[module]()) as one:
        for slider in one.locator(".hand input[type=range], .hand [role=slider]").all():
            if not slider.is_visible():
                continue
            before = slider.get_attribute("aria-valuetext")
            assert before and "e-" not in before and len(before) < 80, before
            changed = [slider.element_handle(), before]
            for key in ("ArrowLeft", "ArrowRight", "ArrowRight"):  # one of them moves it, wherever it stands
                slider.press(key)
                with contextlib.suppress(TimeoutError):
                    one.wait_for_function(
                        "([s, old]) => s.getAttribute('aria-valuetext') !== old", arg=changed, timeout=1000
                    )
                    break
            assert slider.get_attribute("aria-valuetext") != before, before


@pytest.mark.parametrize("module", HANDS)
def test_nothing_runs_over_on_a_telephone(chromium, module):
    with opened(chromium, HANDS[module](), width=400) as one:
        assert one.evaluate("document.documentElement.scrollWidth") <= 400
        boxes = one.evaluate("[...document.querySelectorAll('.hand *')].map(e => e.getBoundingClientRect().right)")
        assert max(boxes) <= 400
