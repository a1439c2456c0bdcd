"""For developers of the course, from the repository's root: `python -m tools COMMAND`, or `python lab.py COMMAND`."""
