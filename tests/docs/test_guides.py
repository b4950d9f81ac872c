"""The guides' examples run as printed, and print what the guides say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.extras import need

EXTRAS = {
    "from opentelemetry.sdk": "opentelemetry.sdk",
    "from prometheus_client": "prometheus_client",
    "KeyFile": "cryptography",
    "cron=": "cronsim",
}
"""What only the extras bring, by the words by which an example shows that it needs it."""
ROOT = Path(__file__).parents[2]
GUIDES = sorted(page for page in (ROOT / "docs").glob("*.md") if "```python" in page.read_text())


@pytest.mark.parametrize("guide", GUIDES, ids=lambda page: page.stem)
def test_an_example_prints_what_the_guide_says(guide: Path, tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```(?:\s+It prints\s+```text\n(.*?)```)?", guide.read_text(), re.DOTALL)
    assert examples
    need(*[module for word, module in EXTRAS.items() if word in guide.read_text()])
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
