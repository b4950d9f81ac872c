"""How often something that crashed may be started again, and when."""

from collections import deque
from random import Random

from actors import RestartPolicy


class Budget:
    """The restarts left to one actor, or to one group."""

    __slots__ = ("_crashes", "policy")

    def __init__(self, policy: RestartPolicy) -> None:
        self.policy = policy
        self._crashes: deque[int] = deque(maxlen=policy.restarts + 1)

    def spend(self, now: int, random: Random) -> float | None:
        """Return the seconds to wait before the next restart, or None: the budget is spent."""
        crashes = self._crashes
        since = now - round(self.policy.within.total_seconds() * 1e6)
        while crashes and crashes[0] < since:
            crashes.popleft()
        crashes.append(now)
        if len(crashes) > self.policy.restarts:
            return None
        return self.policy.backoff.pause(len(crashes), random)
