"""What can be wrong with a simulation itself."""


class SimulationError(Exception):
    """Base of the errors of a simulation."""


class NoRealIO(SimulationError):
    """Code that is simulated wants a socket, a process, a signal or a thread."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"there is no real I/O in a simulation, and {what} is some; write a plain actor that does it through an "
            "object which the test can replace, and give the simulation a fake (docs/testing.md)"
        )


class Deadlock(SimulationError):
    """Nothing is ready, no timer is set, and the run has not ended; the message says who waits for what."""


class Endless(SimulationError):
    """A run has taken more steps than it may; the message says who is under way."""


class BadPlan(SimulationError, ValueError):
    """The text of a plan to be played again can't be understood."""
