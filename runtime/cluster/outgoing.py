"""Requests to other nodes: sent, sent again until their outcome is told, and given up when nothing is heard of them.

Nothing here is durable, and nothing needs to be. A command is sent with an id, so a copy too many takes effect once
(P3). What becomes unknown is called unknown (P10), and who asked can ask again by the same id.
"""

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import msgspec

from actors import Address, Command, Elsewhere, MailboxFull, OutcomeUnknown, Refused
from actors.errors import UnderstudyError
from persistence import NotEncodable
from runtime.cluster import frames
from runtime.cluster.ends import Ends
from runtime.cluster.network import Link
from runtime.cluster.payloads import may_be_sent, reply_read, written
from runtime.cluster.request import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    PATIENCE,
    RESTLESS,
    Request,
    Route,
    closed,
    given_up,
    in_doubt,
)
from runtime.cluster.subjects import life_subject
from runtime.cluster.told_errors import error_of
from runtime.failures import failure
from runtime.kinds import Kind
from runtime.mailbox import Envelope
from runtime.node import Node
from runtime.promises import Promise
from runtime.reminder_mail import ReminderReturn
from runtime.saga_mail import OnlyStart, StepReturn

MOST_UNDER_WAY = 10_000
"""How many requests one node may have under way to others."""
AT_ONCE = 3
"""How often, between two looks, a request that has found nobody looks for another way at once."""


class Outgoing:
    """All requests of one node that are under way to others."""

    def __init__(self, node: Node, link: Link, life: str) -> None:
        self._node = node
        self._link = link
        self._life = life
        self._numbers = count(1)
        self._requests: dict[int, Request] = {}
        self._routes: dict[str, Route] = {}
        self._ends = Ends(node)
        self._askings: dict[int, Route] = {}
        """Routes that are being asked for, by the number of the question."""
        self.on_none: Callable[[], None] = lambda: None
        """Called when the last one under way is over."""

    def __len__(self) -> int:
        return len(self._requests)

    # -- sending ------------------------------------------------------------------------------------------------

    def send(
        self,
        address: Address[Any],
        kind: Kind,
        envelope: Envelope,
        over: Callable[[], None],
        owner: str = "",
        hops: int = 0,
    ) -> None:
        """Send a message to an actor of another node; to the ``owner`` of its journal, where his subject is given."""
        if len(self._requests) >= MOST_UNDER_WAY:
            full = MailboxFull(f"{MOST_UNDER_WAY:,} requests to other nodes are under way already; ask again later")
            self._tell(address, envelope, full)
            over()
            return
        message: Any = envelope.message
        if envelope.id is None and issubclass(type(message), Command):
            envelope.id = self._node.new_id()  # a copy too many must be known as one
        request = Request(next(self._numbers), address, kind, envelope, over, self._now)
        request.hops = hops
        if owner:
            request.subject, request.owned = owner, True
        self._ends.recall(request)
        try:
            if not may_be_sent(kind, message):
                raise Elsewhere(f"{address} lives on another node, and can only be asked and told from here")
            request.what = written(kind, envelope)
            data = self._packed(request)
            if (size := len(data)) > self._link.largest:
                raise NotEncodable(f"it has {size:,} bytes, and the network carries {self._link.largest:,}; send less")
        except Exception as error:  # noqa: BLE001 (whatever is wrong with it, it goes to who asked)
            told = error if isinstance(error, UnderstudyError) else failure(address, message, error)
            self._tell(address, envelope, told)
            over()
            return
        self._requests[request.number] = request
        self._set_timer(request)
        self._go(request, data)

    @property
    def _now(self) -> int:
        return self._node.clock.steady()

    def _packed(self, request: Request) -> bytes:
        envelope = request.envelope
        origin, reply = envelope.origin, envelope.reply
        frame = frames.Ask(
            frames.VERSION,
            self._life,
            request.number,
            request.address,
            request.what[0],
            msgspec.Raw(request.what[1]),
            envelope.id,
            "" if origin is None else origin.correlation,
            None if origin is None else origin.context,
            envelope.sender,
            max(envelope.due - self._now, 1) if envelope.due else 0,
            envelope.path,
            envelope.undoes,
            envelope.data is not None,
            envelope.trace,
            envelope.lock,
            isinstance(reply, (OnlyStart, ReminderReturn)),
            reply is None,
            request.hops,
        )
        return frames.pack(frame)

    def _go(self, request: Request, data: bytes | None = None) -> None:
        """Send a copy of a request, to whom it is for, or have him looked for; ``data`` is it as it is sent now."""
        route = self._routes.get(request.subject)
        if route is None:
            route = self._routes[request.subject] = Route(request.subject, next(self._numbers))
        if not route.server:
            route.waiting[request.number] = request
            if route.asked is None or self._now - route.asked >= FIRST_PAUSE * 1e6 / 2:
                self._ask_for(route)
            return
        subject = life_subject(route.server)
        if self._ends.ended_with(request, subject):
            self._ends.count(request)
        if request.ends and (poison := self._ends.verdict(request)) is not None:
            self._end(request.number)
            self._fail(request, poison)
        elif request.hesitates or not self._ends.may_go(request):
            self._set_timer(request, self._ends.hesitation(request))
        else:
            self._send_to(request, subject, data)

    def _send_to(self, request: Request, subject: str, data: bytes | None = None) -> None:
        request.copies = request.copies + 1 if subject == request.sent_to else 1
        request.sent_to, request.lost_with = subject, ""
        request.reached += 1
        if request.copies == 1:
            request.sent_at = self._now
            self._ends.sent(request)
            if request.pause > FIRST_PAUSE:  # of another node it is to be known soon, too, whether it is still there
                request.pause = FIRST_PAUSE
                self._set_timer(request)
        self._link.send(subject, self._packed(request) if data is None else data, request.number)

    def _ask_for(self, route: Route) -> None:
        route.asked = self._now
        self._askings[route.number] = route
        who = frames.Who(frames.VERSION, self._life, route.number)
        self._link.send(route.subject, frames.pack(who), route.number)

    # -- what comes back ----------------------------------------------------------------------------------------

    def here(self, frame: frames.Here) -> None:
        """Take note of who serves a class, and send what has waited for that."""
        route = self._askings.pop(frame.number, None)
        if route is None:
            return
        route.asked, route.server = None, frame.server
        self._ends.there(life_subject(frame.server))
        waiting, route.waiting = route.waiting, {}
        for request in waiting.values():
            if request.number in self._requests:
                self._go(request)

    def nobody(self, number: int) -> None:
        """Take note that nobody was there to whom something was sent."""
        if self._askings.pop(number, None) is not None:
            return  # those who wait ask again when it is their time
        request = self._requests.get(number)
        if request is not None:
            self._ends.gone(request)
            self._again(request)

    def lost(self, frame: frames.Lost) -> None:
        """Take note that a node has not taken a request in, or has forgotten it."""
        request = self._requests.get(frame.number)
        asked = life_subject(frame.server)
        if request is not None and asked in (request.sent_to, life_subject(request.server)):
            self._again(request)

    def _again(self, request: Request) -> None:
        """Look for another way, for a node has gone: at once, but for one that finds nobody again and again."""
        if request.server:
            request.server = ""  # what it has done with it is not known
        elif request.sent_to:
            request.reached -= 1  # that copy has come to nothing
        else:
            return  # it is known already
        self._forget_way(request)
        request.sent_to = ""
        request.rerouted += 1
        if request.rerouted <= AT_ONCE:
            self._go(request)

    def _forget_way(self, request: Request) -> None:
        """Have somebody else looked for who serves the class, if it is the one to whom a request has gone."""
        route = self._routes.get(request.subject)
        if route is not None and request.sent_to == life_subject(route.server):
            route.server = ""

    def underway(self, frame: frames.Underway) -> None:
        """Take note that a node has a request, and works on it."""
        request = self._requests.get(frame.number)
        if request is not None:
            request.server, request.heard = frame.server, self._now
            request.pause = LONGEST_PAUSE
            self._set_timer(request)

    def done(self, frame: frames.Done) -> None:
        """Give a reply to who asked."""
        request = self._end(frame.number)
        if request is None:
            return
        self._ends.forget(request)
        envelope, reply = request.envelope, request.envelope.reply
        try:
            if reply is None or reply.gone:
                return
            only_arrives = isinstance(reply, (OnlyStart, ReminderReturn))
            value = None if only_arrives else reply_read(request.kind, envelope.message, envelope.undoes, frame.reply)
        except Exception as error:  # noqa: BLE001 (whatever is wrong with it, who asked must hear of it)
            what = f"{request.address} has handled {type(envelope.message).__name__}, but its reply can't be read here"
            self._tell(request.address, envelope, OutcomeUnknown(f"{what}: {error}"))
        else:
            if type(reply) is StepReturn:
                reply.told = bytes(frame.reply)  # as the other node has written it down
            reply.done(value)
        finally:
            request.over()

    def failed(self, frame: frames.Failed) -> None:
        """Give an error to who asked."""
        request = self._end(frame.number)
        if request is not None:
            self._ends.forget(request)
            self._fail(request, error_of(frame), uncertain=frame.uncertain)

    def _fail(self, request: Request, error: Exception, *, uncertain: bool = False) -> None:
        reply = request.envelope.reply
        if uncertain or request.reached > 1:  # another copy may have taken effect, or may do so yet
            if not isinstance(reply, StepReturn):
                error = in_doubt(request, error)
            if isinstance(reply, StepReturn | Promise):  # a promise is another node's, whose saga has to know
                reply.uncertain = isinstance(error, Refused)
        try:
            self._tell(request.address, request.envelope, error)
        finally:
            request.over()

    def _tell(self, address: Address[Any], envelope: Envelope, error: Exception) -> None:
        if envelope.reply is None:
            self._node.dead_letter(address, envelope.message, error)
        elif not envelope.reply.gone:
            envelope.reply.failed(error)

    def _end(self, number: int) -> Request | None:
        request = self._requests.pop(number, None)
        if request is not None:
            self._ends.over(request)
            if request.timer is not None:
                request.timer.cancel()
            route = self._routes.get(request.subject)
            if route is not None:
                route.waiting.pop(number, None)
            if not self._requests:
                self.on_none()
        return request

    # -- patience -----------------------------------------------------------------------------------------------

    def _set_timer(self, request: Request, hesitation: float = 0.0) -> None:
        if request.timer is not None:
            request.timer.cancel()
        if hesitation:
            request.heard = self._now + round(hesitation * 1e6)  # it is not silence that it waits for
        request.timer = self._node.delays.after(hesitation or request.pause, partial(self._look_after, request))

    def _look_after(self, request: Request) -> None:
        """Send a request again of which nothing was heard, ask how it is, or give it up."""
        due, silence = request.envelope.due, self._now - request.heard
        if request.gone or (due and due <= self._now):
            self._give_up(request)  # who asked knows
            request.over()
            return
        restless = not request.server and min(silence, self._now - request.sent_at) >= RESTLESS * 1e6
        if restless or silence >= PATIENCE * 1e6:
            self._forget_way(request)
        if silence >= PATIENCE * 1e6:
            self._give_up(request)
            self._fail(request, self._ends.verdict(request) or given_up(request))
            return
        request.rerouted = 0
        request.pause = min(2 * request.pause, LONGEST_PAUSE)
        self._set_timer(request)
        if request.server:
            still = frames.pack(frames.Still(frames.VERSION, self._life, request.number))
            self._link.send(life_subject(request.server), still, request.number)
            return
        self._go(request)

    def _give_up(self, request: Request) -> None:
        self._end(request.number)
        if self._ends.ended_with(request):
            self._ends.count(request)

    def close(self) -> None:
        """Give up all that is under way: the node closes, and what becomes of it is unknown."""
        for number in list(self._requests):
            request = self._end(number)
            if request is not None:
                reply = request.envelope.reply
                if reply is None or isinstance(reply, Promise):
                    self._tell(request.address, request.envelope, closed(request))
                request.over()
