"""Sphinx's settings for the course's site (course.site calls Sphinx), and how labkit's docstrings become text."""

import os
import re
from itertools import groupby

project = "Deep metric learning, hands on"
author = "the authors of labkit"
copyright = "the authors: code MIT, text and figures CC BY 4.0"
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.githubpages", "sphinx.ext.mathjax", "sphinx.ext.viewcode"]
exclude_patterns = ["extra"]
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # sliders need a kernel, and their scripts would come from elsewhere
nb_render_markdown_format = "gfm"
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type", "config.cache"]
mathjax_path = "../mathjax/tex-svg.js"
mathjax3_config = {"options": {"enableMenu": False, "enableAssistiveMml": True}, "svg": {"fontCache": "global"}}

default_role = "literal"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
viewcode_follow_imported_members = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = project
html_static_path = [os.path.join(os.path.dirname(__file__), "static")]
html_extra_path = [os.path.join(os.environ.get("LABKIT_SITE", "."), "extra")]
html_favicon = os.path.join(html_static_path[0], "favicon.svg")
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_copy_source = False  # it would hold the solutions, for searches to find
html_show_sphinx = False
html_use_index = html_domain_indices = False  # the search finds more
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"

ITEM = re.compile(r"^([a-z]\w*(?:, \w+)*):(?: (.*))?$")


def as_restructured(lines):
    """The lines of a docstring in the house's form as reStructuredText.

    Paragraphs flow; `name: text` is a list; what is indented or aligned stays as it stands; examples are examples.
    """
    text = []
    for filled, group in groupby(lines, key=lambda line: bool(line.strip())):
        block = list(group)
        example = next((at for at, line in enumerate(block) if line.startswith(">>>")), len(block))
        before, after = (block[:example], block[example:]) if filled else ([], [])
        aligned = sum(bool(re.match(r"\S.*? {3,}\S", line)) for line in before) > 1
        if before and (aligned or before[0][0] == " "):
            text += ["::", "", *("    " + line for line in before), ""]
        else:
            text += _flowing(before)
        text += [*after, ""]
    return text


def _flowing(lines):
    text, inside = [], False  # whether the line before belongs to an item of a list
    for line in lines:
        if item := ITEM.match(line):
            text += ["", f"- **{_plain(item[1])}**: {_plain(item[2] or '')}".rstrip()]
        elif inside and line[0] == " ":
            text += ["", "  | " + _plain(line.strip()), ""] if line[:5].isspace() else ["  " + _plain(line.strip())]
        else:
            text += ["", _plain(line.strip())] if inside else [_plain(line.strip())]
        inside = bool(item) or (inside and line[0] == " ")
    return [*text, ""]


def _plain(text):
    """The text with code as code, and nothing else taken for markup."""
    parts = re.split(r"`([^`]+)`", text)
    return "".join(f"``{part}``" if at % 2 else re.sub(r"([\\*|_`])", r"\\\1", part) for at, part in enumerate(parts))


def setup(app):
    """Sphinx calls this."""

    def docstring(app, what, name, thing, options, lines):
        lines[:] = as_restructured(lines)

    def ranked(app, page, template, context, doctree):  # a heading must say of which rank it is
        tree = context.get("furo_navigation_tree", "")
        context["furo_navigation_tree"] = tree.replace('role="heading"', 'role="heading" aria-level="2"')

    app.connect("autodoc-process-docstring", docstring)
    app.connect("html-page-context", ranked, priority=900)  # after furo
