"""Faults: what may go wrong in a run, each at one numbered place of it; and plans, which say all that makes a run."""

import re
from typing import Literal

import msgspec

from runtime.simulation.errors import BadPlan
from runtime.simulation.schedule import LENGTH, Priorities, Replayed, Schedule, Uniform

Place = Literal["write", "turn", "handling", "view", "read", "keys"]
"""Where something may go wrong: at a group that the journal writes, a turn of an actor, a message that an async plain
actor handles, a batch that a read model writes, a page that is read from the journal, keys of subjects that are kept or
destroyed. Each sort is numbered from 1, over the whole run."""

What = Literal["crash", "kill", "late", "twice", "fail", "full", "step"]

LATE = 1.0
"""Seconds by which a late reply is late."""
TOO_LATE = 3600.0
"""Seconds by which a reply is late that comes after most timeouts and deadlines."""
FULL = 30.0
"""Seconds for which a full disk is full."""
STEP = 3600.0
"""Seconds by which the clock is set forward or back."""

_LETTERS: dict[str, Place] = {"w": "write", "t": "turn", "h": "handling", "v": "view", "r": "read", "k": "keys"}


class Fault(msgspec.Struct, frozen=True, order=True):
    """One thing that goes wrong.

    ``crash``: the process dies; at a write, when the first ``how`` of the group's batches are durable, elsewhere
    ``before`` or ``after`` what is done there. ``kill``: the actor, or the read model, dies ``before`` or ``after`` it.
    ``late``: the reply comes ``how`` seconds later; ``twice``: it comes twice. ``fail``: the write fails, ``before`` or
    ``after`` it happened; so does a read, which has no ``how``. ``full``: from this write on the disk is full for
    ``how`` seconds. ``step``: the wall clock is set by ``how`` seconds.
    """

    what: What
    place: Place
    number: int
    how: str = ""

    def __str__(self) -> str:
        return f"{self.what}-{self.place[0]}{self.number}{f'.{self.how}' if self.how else ''}"

    @property
    def seconds(self) -> float:
        """Its ``how``, as seconds."""
        return float(self.how)

    def tell(self, label: str) -> str:
        """Return it for people; ``label`` says what is done at its place."""
        match self.what:
            case "crash" if self.place == "write":
                return f"the process dies when {self.how} of the batches of write {self.number} are durable ({label})"
            case "crash":
                return f"the process dies {self.how} {label}"
            case "kill":
                return f"{'the read model' if self.place == 'view' else 'the actor'} is killed {self.how} {label}"
            case "late":
                return f"{label}, and its reply comes {self.seconds:g} s late"
            case "twice":
                return f"{label}, and its reply comes twice"
            case "fail" if self.place == "read":
                return f"read {self.number} of the journal fails ({label})"
            case "fail" if self.place == "keys":
                return f"it fails that {label}, {self.how} it happened"
            case "fail":
                return f"{self.place} {self.number} fails {self.how} it happened ({label})"
            case "full":
                return f"the disk is full for {self.seconds:g} s from write {self.number} on ({label})"
            case "step":
                return f"the clock is set by {self.seconds:+g} s at write {self.number} ({label})"


class Plan(msgspec.Struct, frozen=True):
    """All that makes a run: the same plan, the same run. As text it is what ``--understudy-replay`` takes.

    ``schedule`` is ``fifo`` (what is ready first runs first), ``random``, or ``pct`` with about how many choices a run
    has, like ``pct-40``; or the text says choices made before, ``given`` by their numbers.
    """

    seed: int = 0
    schedule: str = "fifo"
    faults: tuple[Fault, ...] = ()
    given: tuple[tuple[int, int], ...] = ()

    def new_schedule(self) -> Schedule | None:
        """Return a schedule that chooses as the plan says; None: what is ready first runs first."""
        sort, _, length = self.schedule.partition("-")
        if sort == "random":
            return Uniform(self.seed)
        if sort == "pct":
            return Priorities(self.seed, int(length or LENGTH))
        return Replayed(dict(self.given)) if self.given else None

    def __str__(self) -> str:
        parts = [f"seed-{self.seed}"]
        if self.schedule != "fifo":
            parts.append(self.schedule)
        parts += [str(fault) for fault in self.faults]
        parts += [f"choice-{at}.{place}" for at, place in sorted(self.given)]
        return "+".join(parts)


_FAULT = re.compile(
    r"(?P<what>crash|kill|late|twice|fail|full|step)-(?P<place>[wthvrk])(?P<number>[0-9]{1,9})(\.(?P<how>[a-z0-9.-]{1,20}))?"
)
_CHOICE = re.compile(r"choice-(?P<at>[0-9]{1,9})\.(?P<place>[0-9]{1,6})")
_SCHEDULE = re.compile(r"fifo|random|pct(-[0-9]{1,6})?")
_SEED = re.compile(r"seed-(?P<seed>[0-9]{1,18})")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def plan_of(text: str) -> Plan:
    """Return the plan that was written down as this text.

    Raises:
        BadPlan: it is none.
    """
    seed, schedule = 0, "fifo"
    faults: list[Fault] = []
    given: list[tuple[int, int]] = []
    for part in text.strip().split("+"):
        if _SCHEDULE.fullmatch(part):
            schedule = part
        elif found := _SEED.fullmatch(part):
            seed = int(found["seed"])
        elif found := _CHOICE.fullmatch(part):
            given.append((int(found["at"]), int(found["place"])))
        elif found := _FAULT.fullmatch(part):
            fault = msgspec.convert(
                {"what": found["what"], "place": _LETTERS[found["place"]], "number": int(found["number"]),
                 "how": found["how"] or ""}, Fault,
            )  # fmt: skip
            if not _makes_sense(fault):
                raise BadPlan(f"there is no fault {part!r}; copy the whole line that the report ends with")
            faults.append(fault)
        else:
            raise BadPlan(
                f"{part!r} is no part of a plan; copy the whole line that the report ends with, like "
                "--understudy-replay=seed-0+crash-w3.1"
            )
    return Plan(seed, schedule, tuple(faults), tuple(given))


def _makes_sense(fault: Fault) -> bool:
    match fault.what, fault.place:
        case ("crash", "write"):
            return fault.how.isdigit()
        case (
            ("crash", "handling" | "view" | "keys")
            | ("kill", "turn" | "handling" | "view")
            | ("fail", "write" | "view" | "keys")
        ):
            return fault.how in ("before", "after")
        case ("late", "turn") | ("full" | "step", "write"):
            return _NUMBER.fullmatch(fault.how) is not None
        case ("twice", "turn") | ("fail", "read"):
            return not fault.how
        case _:
            return False
