"""A question that a test has asked, and what came of it."""

from typing import Any, Generic, TypeVar

from runtime.simulation.telling import told, unexpected

P = TypeVar("P")
R = TypeVar("R")


class Asked(Generic[P, R]):
    """The answer to a query, for :meth:`answers` to look at."""

    def __init__(self, test: P, who: str, query: object, found: Any) -> None:
        self._test = test
        self._who = who
        self._query = query
        self._found = found

    def answers(self, reply: R) -> P:
        """Expect this answer; return the test, for more.

        Raises:
            AssertionError: it is another one.
        """
        __tracebackhide__ = True
        if self._found != reply:
            raise unexpected(f"{self._who}: the answer to {told(self._query)}", told(reply), told(self._found))
        return self._test
