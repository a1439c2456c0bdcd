"""`python -m course` is the command line, `labkit`."""

from course.cli import main

main(prog_name="labkit")
