"""The guides' examples run as printed, and print what the guides say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.extras import need

EXTRAS = ("opentelemetry.sdk", "prometheus_client")
"""What the examples import and only the extras bring."""
ROOT = Path(__file__).parents[2]
GUIDES = sorted(page for page in (ROOT / "docs").glob("*.md") if "```python" in page.read_text())


@pytest.mark.parametrize("guide", GUIDES, ids=lambda page: page.stem)
def test_an_example_prints_what_the_guide_says(guide: Path, tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```(?:\s+It prints\s+```text\n(.*?)```)?", guide.read_text(), re.DOTALL)
    assert examples
    need(*[module for module in EXTRAS if f"from {module}" in guide.read_text()])
    for code, output in examples:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stderr, done.returncode) == ("", 0)
        assert done.stdout == output
