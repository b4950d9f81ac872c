"""Tests of what needs an extra: they say in one line that they were skipped, but never on CI."""

import importlib
import os
from typing import Any

import pytest


def need(*modules: str) -> None:
    """Skip the tests of this module where one of these can't be imported."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"{module} is not installed: pip install '.[test]'", allow_module_level=True)


def hidden(*modules: str) -> dict[str, Any]:
    """Return what to put into ``sys.modules`` so that these can't be imported."""
    return dict.fromkeys(modules)
