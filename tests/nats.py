"""The NATS server that tests use where it answers: a system of its own for each test.

``UNDERSTUDY_NATS`` names it (default: the one on this machine). In CI tests fail where there is none.
"""

import os
import socket
from functools import cache
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

SERVER = os.environ.get("UNDERSTUDY_NATS", "nats://127.0.0.1:4222")


def new_url(server: str = SERVER) -> str:
    """Return the URL of a network of nobody else's."""
    return f"{server}?system=test-{uuid4().hex}"


@cache
def missing() -> str:
    """Why there is no server to test with, or nothing."""
    parts = urlsplit(SERVER)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 4222), timeout=5) as connection:
            said = connection.recv(64)
    except OSError as error:
        return f"{SERVER}: {error}"
    return "" if said.startswith(b"INFO ") else f"{SERVER} is no NATS server"


def answers() -> bool:
    """Whether tests that need the server run: where it answers, and in CI in any case, so that they fail there."""
    return bool(os.environ.get("CI")) or not missing()


needs_server = pytest.mark.nats
