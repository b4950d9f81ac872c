"""Tests of what needs an extra: they say in one line that they were skipped, but never on CI."""

import importlib
import os

import pytest


def need(*modules: str) -> None:
    """Skip a test, or all tests of a module, where one of these can't be imported."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"{module} is not installed: pip install '.[test]'", allow_module_level=True)
