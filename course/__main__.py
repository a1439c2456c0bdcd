"""`python -m labkit` is the command line."""

from course.cli import main

main(prog_name="labkit")
