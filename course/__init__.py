"""What runs the lessons: command line, exercises and their checks, the students' version, grading, slides."""

import sys

# jsonschema, on which nbformat stands, builds a grammar of addresses (IRIs) if it can: two seconds at every start, for
# something that no notebook holds.
sys.modules.setdefault("rfc3987_syntax", None)
