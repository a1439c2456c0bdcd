"""What runs the lessons: command line, exercises and their checks, the students' version, grading, slides."""
