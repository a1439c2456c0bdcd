"""labkit: the small package under the course. A lab finds its code in the module that bears its name.

Nothing is imported here, so that `import labkit` costs nothing; write `from labkit import data, training`.
"""
