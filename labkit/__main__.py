"""`python -m labkit COMMAND`, as people know the course's command line; labkit itself imports nothing of it."""

import runpy

if __name__ == "__main__":  # the docstrings' test imports every module
    runpy.run_module("course", run_name="__main__")
