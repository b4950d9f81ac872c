"""Bugs to plant: each breaks one promise of the runtime, by taking a part of it away."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from actors import Refused
from persistence import Batch
from persistence.keyring import Keyring
from persistence.sqlite_view import SqliteView
from persistence.writer import Writer
from runtime import forgetting, recovery, runtime, service_memory
from runtime.actor_cell import ActorCell
from runtime.cells import Cell
from runtime.follower import Follower
from runtime.mailbox import NO_MAIL, Envelope
from runtime.node import Node
from runtime.promises import Promise
from runtime.saga_mail import StepReturn
from runtime.saga_stage import SagaStage
from runtime.saga_story import StepStory, Story
from runtime.service_cell import ServiceCell
from runtime.simulation import Explored, InvariantBroken, Simulation
from runtime.timers import Timers
from runtime.waking import Waking
from tests.simulation import goodbye
from tests.simulation.company import ACTORS, INVARIANTS, SCENARIOS, post

Plant = pytest.MonkeyPatch


def no_deduplication(plant: Plant) -> None:
    """P3: a service takes a command again that it has seen."""
    append: Any = vars(ServiceCell)["_append"]

    def seen(*_: object) -> bool:
        return False

    def without_id(self: Any, events: Any, _id: object) -> Any:
        return append(self, events, None)

    plant.setattr(ServiceCell, "_seen", seen)
    plant.setattr(ServiceCell, "_append", without_id)


def reply_before_durable(plant: Plant) -> None:
    """P1: a client gets its reply at once."""

    def done(self: Promise, value: Any) -> None:
        if not self.future.done():
            self.future.set_result(value)

    plant.setattr(Promise, "done", done)


def undo_in_forward_order(plant: Plant) -> None:
    """P8: what was done first is undone first."""

    def next_undo(self: Story) -> StepStory | None:
        return next((step for step in self.steps.values() if step.needs_undo), None)

    plant.setattr(Story, "next_undo", next_undo)


def undo_left_out(plant: Plant) -> None:
    """P8: the step that was done first is not undone."""

    def next_undo(self: Story) -> StepStory | None:
        waiting = [step for step in self.steps.values() if step.needs_undo][1:]
        return max(waiting, key=lambda step: step.ended, default=None)

    plant.setattr(Story, "next_undo", next_undo)


def no_fence(plant: Plant) -> None:
    """P9: an undo that comes before its step is not remembered."""

    def fence(self: Any, envelope: Envelope, step: str) -> Any:
        raise Refused(f"{step} was never done")

    plant.setattr(ServiceCell, "_fence", fence)


def checkpoint_before_rows(plant: Plant) -> None:
    """P7: the checkpoint moves in a transaction of its own, before the rows."""
    apply: Any = vars(SqliteView)["apply"]

    async def in_two(self: Any, statements: Sequence[Any], checkpoint: int, **more: Any) -> None:
        await apply(self, (), checkpoint, **more)

        def rows(db: Any) -> None:
            db.execute("pragma query_only = 0")
            for text, values in statements:
                db.execute(text, values)

        await self._writer.run(rows)

    plant.setattr(SqliteView, "apply", in_two)


def rows_before_checkpoint(plant: Plant) -> None:
    """P7: the rows are written in a transaction of their own, before the checkpoint."""
    apply: Any = vars(SqliteView)["apply"]

    async def in_two(self: Any, statements: Sequence[Any], checkpoint: int, **more: Any) -> None:
        def rows(db: Any) -> None:
            db.execute("pragma query_only = 0")
            for text, values in statements:
                db.execute(text, values)

        await self._writer.run(rows)
        await apply(self, (), checkpoint, **more)

    plant.setattr(SqliteView, "apply", in_two)


def group_split(plant: Plant) -> None:
    """P2: the events of one command are enqueued one by one."""
    enqueue: Any = vars(Writer)["enqueue"]

    def one_by_one(self: Writer, batch: Batch) -> None:
        for append in batch:
            for number, event in enumerate(append.events or [None]):
                command = append.command if number == 0 else None
                events = [event] if event is not None else []
                expected = append.expected + number
                enqueue(self, (msgspec.structs.replace(append, events=events, expected=expected, command=command),))

    plant.setattr(Writer, "enqueue", one_by_one)


def timer_early(plant: Plant) -> None:
    """P11: timers ring when half of their time is over."""
    at: Any = vars(Timers)["at"]

    def early(self: Timers, due: int, fire: Any) -> Any:
        return at(self, (due + self.now()) // 2, fire)

    plant.setattr(Timers, "at", early)


def snapshot_ahead(plant: Plant) -> None:
    """A snapshot says that it is of one event more than it has seen."""
    snapshot_of: Any = vars(service_memory)["snapshot_of"]

    def ahead(cell: Any) -> Any:
        snapshot = snapshot_of(cell)
        snapshot.version += 1
        return snapshot

    plant.setattr(service_memory, "snapshot_of", ahead)


def restart_loses_mail(plant: Plant) -> None:
    """What lies in the mailbox of an actor that crashes is gone."""
    stop: Any = vars(Cell)["stop"]

    def lose(self: Cell, *args: Any) -> None:
        self.mail = NO_MAIL
        stop(self, *args)

    plant.setattr(Cell, "stop", lose)


def new_id_at_each_attempt(plant: Plant) -> None:
    """P3: a step that is sent again has another id."""
    request: Any = vars(SagaStage)["request"]

    def another(self: SagaStage, step: StepStory, *, undo: bool = False) -> Any:
        return request(self, step, undo=undo) + ("" if undo else f"@{self.incarnation}.{self.world.suspects.run}")

    plant.setattr(SagaStage, "request", another)


def nobody_is_woken(plant: Plant) -> None:
    """P8: a process that starts brings back nobody whose work is unfinished."""

    async def unfinished(*_: Any) -> int:
        return 0

    plant.setattr(Waking, "unfinished", unfinished)


def mail_before_durable(plant: Plant) -> None:
    """A plain actor gets its mail before what led to it is durable."""

    def put(self: Any, envelope: Envelope) -> None:
        Cell.put(self, envelope)
        self._work()

    plant.setattr(ActorCell, "put", put)


def first_reply_forgotten(plant: Plant) -> None:
    """P3: a repeat gets a reply by the state as it is now."""

    def repeat(self: Any, envelope: Envelope, version: int) -> None:
        if envelope.reply is not None:
            envelope.reply.done(self._decide(envelope.message).reply)

    plant.setattr(ServiceCell, "_repeat", repeat)


def event_skipped(plant: Plant) -> None:
    """P6: a read model that fails once goes on behind what it has not projected."""
    go_back: Any = vars(Follower)["_go_back"]

    def on(self: Any) -> None:
        go_back(self)
        self.position = min(self.position + 1, self._journal.position)

    plant.setattr(Follower, "_go_back", on)


def outcome_lost(plant: Plant) -> None:
    """A saga that is killed misses the outcomes that come while it is read back."""
    for name in ("done", "failed"):
        post: Any = vars(StepReturn)[name]

        def lose(self: StepReturn, outcome: Any, post: Any = post) -> None:
            cell = self.find(self.saga)
            if cell is not None and cell.runnable:
                post(self, outcome)

        plant.setattr(StepReturn, name, lose)


def failed_group_goes_on(plant: Plant) -> None:
    """A group that could not be written is dropped, and those who built upon it go on."""

    async def lost(self: Any, error: BaseException) -> None:
        await self.journal.recover()

    plant.setattr(Node, "_lost", lost)


def failed_read_forgotten(plant: Plant) -> None:
    """P14: an actor that could not be read from the journal is not read again."""

    def forget(*_: object) -> None: ...

    plant.setattr(recovery, "_Reading", type("Forgetful", (vars(recovery)["_Reading"],), {"failed": forget}))


def keys_kept_behind_the_group(plant: Plant) -> None:
    """What was sealed with new keys may be in the journal, and the key is nowhere."""
    flush: Any = vars(Keyring)["flush"]
    late: list[Keyring] = []

    async def next_time(self: Keyring) -> None:
        if self in late:
            late.remove(self)
            await flush(self)
        else:
            late.append(self)

    plant.setattr(Keyring, "flush", next_time)


def nobody_is_told_after_a_crash(plant: Plant) -> None:
    """A key was destroyed, and the process died before it wrote that down."""

    async def nothing(_: object) -> list[Any]:
        return []

    plant.setattr(runtime, "reconcile", nothing)


def memory_is_not_read_again(plant: Plant) -> None:
    """What was made of a forgotten value stays in the memory of its actor."""

    def leave_it(_: object) -> None: ...

    plant.setattr(forgetting, "_read_again", leave_it)


def found(bug: Callable[[Plant], None], plant: Plant) -> InvariantBroken:
    """Plant a bug, and return what the kit says of it."""

    def explored() -> Explored:
        return Simulation().explore(*SCENARIOS, actors=ACTORS, invariants=INVARIANTS, outside=post)

    bug(plant)
    with pytest.raises(InvariantBroken) as failed:
        (goodbye.explored if bug in PERSONAL else explored)()
    return failed.value


PERSONAL = [keys_kept_behind_the_group, nobody_is_told_after_a_crash, memory_is_not_read_again]
"""Those that only show where somebody is forgotten."""
BUGS = [
    no_deduplication,
    reply_before_durable,
    undo_in_forward_order,
    undo_left_out,
    no_fence,
    checkpoint_before_rows,
    rows_before_checkpoint,
    group_split,
    timer_early,
    snapshot_ahead,
    restart_loses_mail,
    new_id_at_each_attempt,
    nobody_is_woken,
    mail_before_durable,
    first_reply_forgotten,
    event_skipped,
    outcome_lost,
    failed_group_goes_on,
    failed_read_forgotten,
    *PERSONAL,
]
