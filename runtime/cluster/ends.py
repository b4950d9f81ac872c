"""How many nodes have ended while a request was under way with them: one that kills each must not be sent for ever.

What ends a node is not told by anybody. But where one that had a request is gone, and another life has taken its place,
the request may have been what ended it. So that is counted, by the command's id, for as long as no answer comes. A
request that was there at two ends hesitates before it is sent once more, at random, the longer the more often it was
there; and one that has its last chance goes alone. So those that are innocent come at other moments than the one that
is not, and are answered.
"""

from collections import OrderedDict
from random import Random

from actors import PoisonMessage, RetryPolicy
from runtime.cluster.request import Request
from runtime.log import log
from runtime.node import Node
from runtime.saga_mail import StepReturn

MOST_IDS = 10_000
"""So many requests are remembered that nodes have ended with; of more, those of longest ago begin anew."""
SUSPECT = 2
"""One that was there at so many ends is suspect."""
ALONE = 60.0
"""For so many seconds others that are suspect wait for one that has its last chance, and it for them."""
MOST_LIVES = 100
"""So many lives of other nodes are remembered that are over."""
HESITATION, LONGEST_HESITATION = 1.0, 60.0
"""For so many seconds, doubled for each end that a request was there at, it hesitates at the most; and for no more."""


class Ends:
    """The ends at which requests of one node were under way."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._random: Random = node.random
        self._by_id: OrderedDict[str, int] = OrderedDict()
        self._gone: OrderedDict[str, None] = OrderedDict()
        """The subjects of lives that are not there any more."""
        self._out: dict[int, Request] = {}
        """Those that are suspect and under way."""

    def recall(self, request: Request) -> None:
        """Tell a request at how many ends earlier attempts at it were under way."""
        request.ends = self._by_id.get(request.envelope.id or "", 0)
        request.hesitates = request.ends >= SUSPECT

    def forget(self, request: Request) -> None:
        """Begin anew: whoever has it has come back from it."""
        self._by_id.pop(request.envelope.id or "", None)

    def gone(self, request: Request) -> None:
        """Take note that nobody is there any more who was sent a request, or asked about it."""
        life = request.had_by
        if life:
            self._gone[life] = None
            if len(self._gone) > MOST_LIVES:
                self._gone.popitem(last=False)
        if request.server or request.copies > 1:  # else it has not come there
            request.lost_with = self._lost_with(request, life)

    def there(self, life: str) -> None:
        """Take note that one is there: it was the network that was gone."""
        self._gone.pop(life, None)

    def ended_with(self, request: Request, now: str = "") -> bool:
        """Whether a node that may have had a request is gone for good, and another one is there ``now``."""
        life = request.had_by
        if life in self._gone:  # another request has found out
            request.lost_with = self._lost_with(request, life)
        return request.lost_with not in ("", now)

    def _lost_with(self, request: Request, life: str) -> str:
        # A saga that has begun is counted by its own node, in its own stream, and may well wait through many ends.
        return "" if request.server and request.kind.is_saga else life

    def count(self, request: Request) -> None:
        """Take note that a node may have ended by a request."""
        self.over(request)
        request.lost_with = request.sent_to = request.server = ""
        request.ends += 1
        request.hesitates = request.ends >= SUSPECT
        if request.envelope.id is not None:
            self._by_id[request.envelope.id] = request.ends
            self._by_id.move_to_end(request.envelope.id)
            if len(self._by_id) > MOST_IDS:
                self._by_id.popitem(last=False)
        if request.hesitates:
            log.warning("nodes have ended each time that they had it", what=request.what_for_people, times=request.ends)

    def verdict(self, request: Request) -> PoisonMessage | None:
        """Return the error for a request that is not to be sent once more; None: it may be."""
        if request.ends <= self._most(request):
            return None
        self.forget(request)  # a person may try it again
        return PoisonMessage(
            f"{request.ends} nodes in a row have ended while {request.what_for_people} was under way with them; it "
            "seems to be what ends them, so it is not sent once more, and whether it has taken effect is unknown"
        )

    def may_go(self, request: Request) -> bool:
        """Whether a request may be sent now: one that has its last chance goes alone, beside none that is suspect."""
        if request.ends < SUSPECT or request.number in self._out:
            return True
        since, last = self._node.clock.steady() - ALONE * 1e6, self._last(request)
        beside = [other for other in self._out.values() if other.sent_at > since]
        return not any(last or self._last(other) for other in beside)

    def sent(self, request: Request) -> None:
        """Take note that a request is out."""
        if request.ends >= SUSPECT:
            self._out[request.number] = request

    def over(self, request: Request) -> None:
        """Take note that it is not any more."""
        self._out.pop(request.number, None)

    def _last(self, request: Request) -> bool:
        return request.ends >= self._most(request)

    def _most(self, request: Request) -> int:
        reply, policy = request.envelope.reply, RetryPolicy()
        if isinstance(reply, StepReturn):
            cls = self._node.kind(reply.saga.actor).cls
            policy = cls.undo_retry if reply.undo else cls.retry
        return policy.crashes

    def hesitation(self, request: Request) -> float:
        """Return for how many seconds a request hesitates: half of its time at the most, if that has an end."""
        request.hesitates = False
        longest, due = min(HESITATION * 2.0 ** min(request.ends, 10), LONGEST_HESITATION), request.envelope.due
        if due:
            longest = min(longest, (due - self._node.clock.steady()) / 2e6)
        return self._random.random() * longest
