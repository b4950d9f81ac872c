"""Fuzzing of all that is read: a right value, or an error of our own types, in bounded time and memory.

``python -m tests.fuzz --examples 100000`` is the long run; with pytest the folder has a few examples of each.
"""

VARIABLE = "UNDERSTUDY_FUZZ"
"""How many examples each test has, where that is not the default."""
