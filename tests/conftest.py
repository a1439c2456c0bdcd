"""What tests of several files share."""

import os

import pytest
from browser import find_chromium, launched_chromium


@pytest.fixture(scope="module")
def chromium():
    """The browser; where there is none, tests are skipped, in CI they fail."""
    if not (path := find_chromium()):
        missing = "there is no Chromium on the PATH: install it, or set the environment variable CHROMIUM to its path"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with launched_chromium(path) as browser:
        yield browser
