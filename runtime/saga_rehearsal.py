"""Rehearsals: a saga's code is run against its story, and nothing comes of it."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Protocol

from actors import Address, Request, Saga, UnknownActor
from runtime.kinds import Kind
from runtime.saga_events import SagaEvent
from runtime.saga_fit import code_of
from runtime.saga_run import SagaRun
from runtime.saga_story import StepStory, Story


class Cast(Protocol):
    """Who is there to be asked."""

    def kind(self, name: str, /) -> Kind:
        """Return what is known of a class of actors, by its name."""
        ...


class Further(BaseException):
    """The code goes further than the story. No error of the author's: nothing that he writes must catch it."""

    def __init__(self, event: SagaEvent) -> None:
        self.event = event
        """What would happen next."""
        super().__init__(repr(event))


class Rehearsal:
    """A stage on which nothing can happen."""

    def __init__(self, address: Address[Any], story: Story) -> None:
        self.address = address
        self.story = story
        self.now = 0

    def emit(self, event: SagaEvent) -> None:
        """Stop: this has not happened."""
        raise Further(event)

    def send(self, step: StepStory, to: Address[Any], command: Request[Any, Any]) -> bool:  # noqa: ARG002
        """Send nothing."""
        return False

    def sleep(self, step: str, due: int) -> None:
        """Wait for nothing."""

    def drop(self, step: StepStory) -> None:
        """Give nothing up."""


def run_through(cast: Cast, address: Address[Any], kind: Kind, story: Story, saga: Saga[Any, Any]) -> Further | None:
    """Run a saga's code as far as its story goes; return what the code would do next, if it goes further.

    Raises:
        Refused: the code says that the story goes back.
        Exception: whatever else the code raises, or what does not fit its story.
    """
    run = _run(cast, address, kind, story, saga)
    try:
        run.advance()
    except Further as further:
        return further
    finally:
        run.close()
    return None


@contextmanager
def rehearsed(cast: Cast, address: Address[Any], kind: Kind, story: Story) -> Generator[Saga[Any, Any]]:
    """Give a saga as its code has left it where its story stands, or at the error by which it came no further.

    What its code does at its end, in a ``finally`` say, is done behind that.

    Raises:
        UnknownActor: it was never started.
        SagaMismatch: the code of its version is not there any more.
    """
    if story.start is None:
        raise UnknownActor(f"{address} was never started")
    saga = code_of(kind, story)(address.key)
    with ExitStack() as stack:
        # One that is queued has not run yet; one that is parked, say, came only so far, and its story tells why.
        if story.started is not None:
            with suppress(Exception, Further):
                run = _run(cast, address, kind, story, saga)
                stack.callback(run.close)
                run.advance()
        yield saga


def _run(cast: Cast, address: Address[Any], kind: Kind, story: Story, saga: Saga[Any, Any]) -> SagaRun:
    assert story.started is not None
    return SagaRun(Rehearsal(address, story), saga, kind.command(story.started.command), kind, cast.kind)
