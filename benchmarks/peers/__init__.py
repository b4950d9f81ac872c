"""Contestants that are not Understudy. Each runs as a script, in an environment that has it, and prints JSON."""
