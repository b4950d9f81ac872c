"""No threads: what a simulation runs may start none, or it would not be the same run again."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NoReturn


@contextmanager
def no_threads(ident: int, refuse: Callable[[str], NoReturn]) -> Generator[None]:
    """Refuse threads that the thread ``ident`` starts meanwhile; what other threads do is their own."""
    before: Any = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if threading.get_ident() == ident:
            refuse(f"a thread ({thread.name})")
        before(thread)

    setattr(threading.Thread, "start", start)  # noqa: B010 (no method of ours)
    try:
        yield
    finally:
        setattr(threading.Thread, "start", before)  # noqa: B010
