"""How often something that crashed may be started again, and when."""

from collections import deque
from random import Random

from actors import RestartPolicy
from runtime.failures import passing


class Budget:
    """The restarts left to one actor, or to one group."""

    __slots__ = ("_crashes", "_outages", "policy")

    def __init__(self, policy: RestartPolicy) -> None:
        self.policy = policy
        self._crashes: deque[int] = deque(maxlen=policy.restarts + 1)
        self._outages: deque[int] = deque(maxlen=policy.restarts + 1)
        """Errors that pass cost nothing: the actor is not to blame. They only make the pauses longer."""

    def spend(self, error: BaseException, now: int, random: Random) -> float | None:
        """Return the seconds to wait before the restart after an error, or None: the budget is spent."""
        outage = passing(error)
        times = self._outages if outage else self._crashes
        since = now - round(self.policy.within.total_seconds() * 1e6)
        while times and times[0] < since:
            times.popleft()
        times.append(now)
        if len(times) <= self.policy.restarts:
            return self.policy.backoff.pause(len(times), random)
        return self.policy.backoff.cap.total_seconds() if outage else None
