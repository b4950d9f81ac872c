"""The cell of an async plain actor: the only kind that has tasks, and only while it has mail."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from functools import partial
from math import inf
from typing import Any, TypeVar

from actors import Actor, Address, Command, Failed, Query, Request, Stopped
from actors.actor import Reason
from runtime.actor_life import RESISTS, TURNS, Handling, Life, acting_for, handling, origin_here
from runtime.cells import Phase, World
from runtime.failures import failure
from runtime.kinds import Kind
from runtime.log import log
from runtime.mailbox import Envelope, recycle
from runtime.origin import Origin
from runtime.plain_cell import PlainCell
from runtime.slow_turns import Timed

A = TypeVar("A")
R = TypeVar("R")


class ActorCell(PlainCell):
    """An async plain actor at work.

    A message reaches the mailbox only when all that was enqueued before it was sent is durable: what the actor does
    outside can't be taken back. A new incarnation begins when the last task of the old one has ended.
    """

    __slots__ = ("_begins", "_life", "_old", "_taken")

    def __init__(self, world: World, address: Address[Any], kind: Kind) -> None:
        super().__init__(world, address, kind)
        self._life: Life | None = None
        self._old: Life | None = None
        """An incarnation that is still ending."""
        self._begins = False
        """Whether a new one is to begin when it has."""
        self._taken = 0

    @property
    def unfinished(self) -> bool:
        """Whether it has mail, also on its way, or is at work."""
        at_work = self._old is not None or (self._life is not None and bool(self._life.tasks))
        return at_work or self.limit < self.kind.mailbox.limit or super().unfinished

    @property
    def alive(self) -> bool:
        """Whether there is an incarnation, also one that is ending, or one is about to begin."""
        return super().alive or self._old is not None

    @property
    def latest(self) -> int:
        """The incarnation that is there, or about to begin, or else the last one."""
        return self.incarnation - (not super().alive)

    # -- mail ---------------------------------------------------------------------------------------------------

    def put(self, envelope: Envelope) -> None:
        """Put a message into the mailbox, once it may leave the turns."""

        def release(durable: bool) -> None:
            self.limit += 1
            if durable:
                super(ActorCell, self).put(envelope)
                self._work()
            else:
                self.give_back(envelope, Failed(f"{self.address} was not given it: the journal could not be written"))
                self.let_in()

        self.limit -= 1
        self.world.writer.hold(release)

    def post(self, envelope: Envelope) -> None:
        """Put a message into the control lane."""
        super().post(envelope)
        self._work()

    def _take(self) -> Envelope | None:
        while self.control:
            envelope = self.control.popleft()
            if envelope.reply is None or not envelope.reply.gone:
                return envelope
        self.control = recycle(self.control)
        while self.mail:
            envelope = self.mail.popleft()
            if not self.expired(envelope, self.world.clock.steady()):
                return envelope
        self.mail = recycle(self.mail)
        return None

    # -- life ---------------------------------------------------------------------------------------------------

    def revive(self) -> None:
        """Begin a new incarnation, when the old one has ended."""
        if self.closed():
            return
        self.phase = Phase.RECOVERING
        if self._old is not None:
            self._begins = True
            return
        self._begins = False
        try:
            actor: Actor = self.kind.cls(self.address.key)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 (the author's code; one that can't begin is parked in the end)
            self.crashed(error)
            return
        actor.attach(self)
        self.actor = actor
        self._life = life = Life(actor, self.incarnation)
        self._start(life, self._begin(life))

    async def _begin(self, life: Life) -> None:
        _, error = await self._guarded(life, Handling(self), life.actor.started)
        if self._life is life:
            if error is not None:
                self.crashed(error)
            else:
                self.phase = Phase.RUNNING
                self._work()

    def stop(self, reason: Reason | None, error: BaseException | None = None) -> None:
        """End the incarnation, leaving the mail; its tasks end by themselves, unless it is killed."""
        life, self._life = self._life, None
        number, self._begins = self.incarnation, False
        super().stop(None)
        if life is None:
            if reason is not None and self._old is None:
                self.world.watches.ended(self.address, reason, error)
            elif reason is not None and self._old is not None:
                self._old.next_end = (reason, error, number)
            return
        self._old, life.reason, life.error = life, reason, error
        if reason == "killed" or (reason in ("crashed", "parked") and asyncio.current_task() not in life.tasks):
            life.killed = True
            self._cancel(life)
        if not life.tasks:
            self._start(life, self._end(life))

    def kill(self) -> None:
        """Crash, also in the middle of ending."""
        if self._old is not None:
            self._old.killed = True
            self._cancel(self._old)
        super().kill()

    def end_with_owner(self) -> None:
        """End for good: whoever waits for an answer is told that none will come."""
        super().end_with_owner()
        if self._old is not None:
            self._old.for_good = True

    def forget(self) -> None:
        """Drop what is the incarnation's own; what was stashed goes back when the last task has ended."""
        stash, self._stash = self._stash, None
        super().forget()
        self._stash = stash

    def notice(self, stopped: Stopped) -> None:
        """Take in the end of one that was watched, behind what it had sent and what is not durable yet."""
        incarnation = self.incarnation

        def release(_durable: bool) -> None:
            if self.incarnation == incarnation:
                super(ActorCell, self).notice(stopped)

        self.world.writer.hold(release)

    def _cancel(self, life: Life) -> None:
        for task in list(life.tasks):
            task.cancel()

        def again() -> None:
            if life.tasks:
                log.warning("actor resists its end", actor=self.name, tasks=len(life.tasks))
                self._cancel(life)

        self.world.delays.after(RESISTS, again)

    async def _end(self, life: Life) -> None:
        if not life.killed:
            _, error = await self._guarded(life, Handling(self), life.actor.stopped)
            if error is not None:
                log.warning("actor failed at its end", actor=self.name, error=repr(error))
        life.actor.attach(None)  # a task that it has left behind must not act as the next incarnation
        self._old = None
        if life.unhandled:
            # At least once: the next incarnation gets these messages again, with the same ids.
            last_first = sorted(life.unhandled, reverse=True)
            self.put_back((envelope for _, envelope in last_first), self.world.clock.steady())
        super().forget()  # also what its last tasks have set up
        if life.for_good and not self._begins:
            self.turn_away(self.ended_error)
        if life.reason is not None:
            self.world.watches.ended(self.address, life.reason, life.error, life.number)
        if life.next_end is not None:
            self.world.watches.ended(self.address, *life.next_end)
        if self.phase is Phase.PARKED:
            self._bring_back()  # refuse what was put back
        elif self._begins or (self.phase is Phase.STOPPED and (self.mail or self.control)):
            self.revive()
        elif self.phase is Phase.STOPPED and life.reason == "finished":
            self.gone()
        elif self.phase is Phase.STOPPED:
            self.world.watches.ended(self.address, "finished")  # for who came while it was leaving the memory
            self.world.release(self)

    def _start(self, life: Life, work: Coroutine[Any, Any, None]) -> None:
        task = self.world.spawn(work)
        life.tasks.append(task)
        task.add_done_callback(partial(self._done, life))

    def _done(self, life: Life, task: asyncio.Task[Any]) -> None:
        life.tasks.remove(task)
        if life is self._life:
            self._work()
        elif life is self._old and not life.tasks:
            self._start(life, self._end(life))

    # -- work ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        life = self._life
        if life is not None and self._goes_on(life):
            waiting = len(self.mail) + len(self.control)
            idle = len(life.tasks) - life.busy  # they look for mail before they end
            for _ in range(min(waiting - idle, self.kind.at_once - len(life.tasks))):
                self._start(life, self._run(life))

    def _goes_on(self, life: Life) -> bool:
        """Whether this incarnation takes more mail."""
        return self._life is life and self.phase is Phase.RUNNING and not (life.finishing or life.killed)

    async def _run(self, life: Life) -> None:
        task = asyncio.current_task()
        assert task is not None
        while self._goes_on(life) and not task.cancelling():  # one that was cancelled, by whomever, is not used again
            envelope = self._take()
            self.let_in()
            if envelope is None:
                return
            life.busy += 1
            await self._handle(life, envelope)
            life.busy -= 1
            if not self._taken % TURNS:
                await asyncio.sleep(0)  # one that never waits must not keep the others waiting

    async def _handle(self, life: Life, envelope: Envelope) -> None:
        self._taken += 1
        self.kind.counts.turns += 1
        self.used = self.world.clock.steady()
        if self.mail:
            self.left_behind(1, self.used)
        now = Handling(self, envelope, self._taken)
        message, reply_to = envelope.message, envelope.reply
        reply, error = await self._guarded(life, now, partial(self._receive, life, message))
        if error is None and reply_to is not None and not now.stashed:
            try:
                self.kind.check_reply(message.__class__, reply)
            except TypeError as wrong:
                error = wrong
        if error is None:
            if reply_to is not None and not now.stashed:
                reply_to.done(reply)
        elif life.killed and isinstance(error, asyncio.CancelledError):
            if not now.stashed:
                life.unhandled.append((now.number, envelope))
        else:
            told = failure(self.address, message, error)
            if now.stashed:
                self.take_back(envelope)
            self.give_back(envelope, told)
            if told is not error and self._life is life:
                self.crashed(told)  # the failure may have left the object in disorder
        if life.finishing and self._life is life:
            self.stop("finished")

    def _receive(self, life: Life, message: Any) -> Any:
        work, slow = life.actor.receive(message), self.world.slow
        return Timed(work, slow, self.address, message) if slow.limit < inf and inspect.iscoroutine(work) else work

    async def _guarded(self, life: Life, now: Handling, work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        """Run the author's code, for so long as it may take; return its result, or what it raised."""
        now.begin()
        task = asyncio.current_task()
        assert task is not None
        limit, timer = life.actor.time_limit, None
        result: Any = None
        error: BaseException | None = None

        def too_long() -> None:
            nonlocal timer
            if now.overdue:
                log.warning("actor resists its time limit", actor=self.name)
            now.overdue = True
            task.cancel()
            timer = self.world.delays.after(RESISTS, too_long)

        if limit is not None:
            timer = self.world.delays.after(limit.total_seconds(), too_long)
        try:
            result = work()
            if inspect.isawaitable(result):
                result = await result
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as raised:  # noqa: BLE001 (the author's code may raise anything; it goes to the asker)
            error = raised
        finally:
            now.over = True
            if timer is not None:
                timer.cancel()
        if now.overdue and not life.killed:
            overdue = TimeoutError(f"it took longer than {limit}, the actor's time_limit")
            overdue.__cause__ = error
            return None, overdue
        return result, error

    def cut_off(self) -> None:
        """Cancel whatever is under way: the runtime closes, and can't wait any longer."""
        for life in (self._life, self._old):
            if life is not None:
                life.killed = True
                for task in list(life.tasks):
                    task.cancel()

    # -- the context of the actor -------------------------------------------------------------------------------

    @property
    def envelope(self) -> Envelope | None:
        """The message that the running task handles."""
        now = handling()
        return now.envelope if now is not None and now.cell is self else None

    @property
    def origin(self) -> Origin | None:
        """In whose name the running task acts."""
        return origin_here()

    def next_id(self, envelope: Envelope) -> str:
        """Return the id of the next request that is sent for a message: the same, should the message come again."""
        now = handling()
        assert now is not None
        now.sent += 1
        if envelope.id is None:
            envelope.id = self.world.new_id()  # it comes again when the actor is killed
        return f"{envelope.id}>{now.sent}"

    def tell(self, address: Address[A], message: Command[A, Any], id: str | None = None, /) -> None:  # noqa: A002
        """Send a command without waiting for anything."""
        if id is None and self.envelope is not None:
            id = self.next_id(self.envelope)  # noqa: A001
        self._envelope = acting_for(self.envelope)  # of the task that runs now
        try:
            super().tell(address, message, id)
        finally:
            self._envelope = None  # it may be a timer's, which holds this cell; no collector sees a circle through it

    async def ask(
        self,
        address: Address[A],
        request: Request[A, R],
        /,
        *,
        id: str | None = None,  # noqa: A002
        timeout: float | None = None,
        consistent: bool = False,
    ) -> R:
        """Ask another actor, in the name of the message that is being handled."""
        if isinstance(request, Query):
            return await self.world.query_inside(address, request, timeout=timeout, consistent=consistent)
        if id is None and (envelope := self.envelope) is not None:
            id = self.next_id(envelope)  # noqa: A001
        return await self.world.ask_inside(address, request, request_id=id, origin=self.origin, timeout=timeout)

    def stash(self) -> None:
        """Put the message that is being handled aside."""
        now = handling()
        if now is None or not now.stashed:
            super().stash()
        if now is not None:
            now.stashed = True

    def unstash(self) -> None:
        """Put all that was put aside back, before all other mail."""
        super().unstash()
        self._work()

    def finish(self) -> None:
        """End in order, when what is being handled has been."""
        super().finish()
        if self._life is not None:
            self._life.finishing = True
