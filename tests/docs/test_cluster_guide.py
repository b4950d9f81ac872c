"""The guide's two processes talk with each other, as printed."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from tests.nats import needs_server, new_url

ROOT = Path(__file__).parents[2]


@needs_server
async def test_two_processes_as_printed(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "cluster.md").read_text()
    url = new_url()
    for code in re.findall(r"```py\n(.*?)```", guide, re.DOTALL):
        name = re.match(r"# (\w+\.py)\n", code)
        assert name is not None
        (tmp_path / name[1]).write_text(code.replace("nats://127.0.0.1:4222", url))
    said = re.search(r"It prints\n\n```text\n(.*?)```", guide, re.DOTALL)
    assert said is not None
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error"]
    hotels = await asyncio.create_subprocess_exec(
        *command, "hotels.py", cwd=tmp_path, env=environment, stdout=PIPE, stderr=PIPE
    )
    try:
        assert hotels.stdout is not None
        assert await hotels.stdout.readline() == b"the hotels are open\n"
        for _ in range(2):  # run again, it tells the same
            journeys = await asyncio.create_subprocess_exec(
                *command, "journeys.py", cwd=tmp_path, env=environment, stdout=PIPE, stderr=PIPE
            )
            out, errors = await journeys.communicate()
            assert (out.decode(), errors.decode()) == (said[1], "")
    finally:
        hotels.send_signal(signal.SIGTERM)
        _, errors = await hotels.communicate()
    assert errors.decode() == ""
