"""Tests of what users test with: given, when, then for one actor."""
