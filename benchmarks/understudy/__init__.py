"""Understudy, as a contestant like the others."""
