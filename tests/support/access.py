"""axe-core over a page, or a part of it: what it finds that a person would stumble over. It comes with the package."""

from axe_playwright_python.sync_playwright import Axe

GRAVE = ("serious", "critical")


def grave_faults(page, *parts):
    """Serious and critical violations as "rule: HTML of the element"; in the whole page, or within CSS selectors."""
    found = Axe().run(page, context={"include": [[part] for part in parts]} if parts else None)
    violations = [one for one in found.response["violations"] if one["impact"] in GRAVE]
    return [f"{one['id']}: {node['html'][:160]}" for one in violations for node in one["nodes"]]
