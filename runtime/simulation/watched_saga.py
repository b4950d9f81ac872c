"""A saga's cell that can be looked into, and whose code is run again after each turn: it must come out the same."""

from actors import Refused
from runtime.saga_cell import SagaCell
from runtime.saga_fit import code_of
from runtime.saga_reading import take_in
from runtime.saga_rehearsal import run_through
from runtime.saga_story import StepStory, Story
from runtime.simulation.bench import Bench


class WatchedSaga(SagaCell):
    """A saga that is tested."""

    __slots__ = ()

    def due(self, step: str) -> tuple[int, bool] | None:
        """Return in how many microseconds a step's timer goes off, and whether it is a timeout; None: it has none."""
        wake = self._timers.get(step)
        story = self.story.steps.get(step)
        if wake is None or story is None:
            return None
        steady = story.asked.to is not None  # sleeps go by wall time
        timers = self.world.delays if steady else self.world.timers
        under_way = steady and self.request(story, undo=wake.undo) in self._under_way
        return max(0, wake.due - timers.now()), under_way

    def reply_fits(self, step: StepStory, value: object) -> None:
        """Make sure that a value is what a step is answered with.

        Raises:
            TypeError, NotEncodable: it isn't.
        """
        assert step.asked.to is not None
        kind = self.world.kind(step.asked.to.actor)
        kind.check_reply(type(kind.command(step.asked.command)), value)
        self.reply_data(step, value)

    def run_again(self, bench: Bench) -> str | None:
        """Run the code against what the journal holds, as a runtime does after a crash; return what is wrong then."""
        story = Story()
        for record in bench.stored(self.address):
            take_in(story, record)
        if story.status != "running":
            return None
        try:
            further = run_through(
                self.world, self.address, self.kind, story, code_of(self.kind, story)(self.address.key)
            )
        except Refused as refusal:
            return f"it raises Refused({refusal.reason!r})"
        except Exception as error:  # noqa: BLE001 (the author's code, or a story that doesn't fit it)
            return f"{type(error).__name__}: {error}"
        return None if further is None else f"it goes on with {further}"
