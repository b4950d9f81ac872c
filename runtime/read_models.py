"""The read models of a node: from opening their databases to closing them, and how a new one takes over."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup

from actors import Elsewhere, ReadModel, ReadModelBehind, RuntimeClosed
from persistence import JournalError, Record
from persistence.views import Build, Shelf, View, form_of
from runtime.fold_projection import projection_of, schema_of
from runtime.footing import fit
from runtime.kinds import Kind
from runtime.lending import Lending
from runtime.log import log
from runtime.node import Node
from runtime.observed_projector import ObservedProjector, projector_for
from runtime.projector import Projector
from runtime.subscribers import producers_among
from runtime.views import Views, fingerprint

FOLLOW = 60.0
"""Seconds for which one wait for other processes' events lasts."""
AGAIN = 1.0
"""Seconds after which a journal that can't be looked at is looked at again."""


class Keeper:
    """Keeps one read model: the projector that is asked, and one that is being built to take its place."""

    def __init__(self, node: Node, kind: Kind, producers: list[Kind], shelf: Shelf) -> None:
        self._node = node
        self._kind = kind
        self._producers = producers
        self._shelf = shelf
        self._fingerprint = fingerprint(kind, producers, node.journal)
        self._tasks: TaskGroup | None = None
        self._build = Build(self._fingerprint)
        self.current = self._projector(self._view(self._build))

    # -- opening and closing ------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open today's tables, or make them; the ones of the version before answer until these have caught up.

        Raises:
            JournalUnusable: they can't be opened.
        """
        builds = await self._builds()
        ours = [build for build in builds if build.fingerprint == self._fingerprint]
        if ours:
            self._build = ([build for build in ours if build.ready] or ours)[-1]
            self.current = self._projector(self._view(self._build))
        await self.current.view.open()
        if self.current.view.leading:
            try:
                await fit(self._kind.name, self.current.view, self._node.journal)
            except JournalError as error:  # the projector comes to it again, and says so
                log.warning("read model not compared with the journal", read_model=self._kind.name, error=str(error))
        if not self.current.view.ready:
            await self._find_stand_in([build for build in builds if build.ready and build not in ours])
        self.current.on_ready = partial(self._start, self._clear_away)
        self._node.projectors[self._kind.name] = self.current

    async def _builds(self) -> list[Build]:
        """Return the tables of this journal that there are, the latest last."""
        builds = await self._shelf.builds(self._kind.name)
        return [build for build in builds if build.journal == self._node.journal.identity]

    def _view(self, build: Build) -> View:
        node = self._node
        kind = self._kind
        view = self._shelf.view(kind.name, build, schema_of(kind), node.journal.identity, node.clock.now)
        view.partitions = kind.cls.partitions
        return view

    def _projector(self, view: View) -> Projector:
        node = self._node
        make = projector_for(self._kind, observed=node.observer.on)
        projection = projection_of(self._kind, self._producers)

        def changed(records: Sequence[Record]) -> None:
            if projector is self.current:  # what is being built anew is nobody's answer yet
                node.news.rows(projection, records)

        projector = make(
            self._kind, projection, node.journal, view, node.delays, node.clock.now, node.slow, changed=changed
        )
        projector.random = node.random
        if isinstance(projector, ObservedProjector):
            projector.observer = node.observer
        return projector

    async def _find_stand_in(self, others: list[Build]) -> None:
        form = form_of(schema_of(self._kind))
        same = [build for build in others if build.form == form]  # today's answer() can't read other tables
        if same:
            view = self._view(same[-1])
            await view.open_for_reading()
            self.current.stand_in = Lending(view)
            self.current.strict = True
            log.info("read model is built anew, the version before answers until then", read_model=self._kind.name)

    def run(self, tasks: TaskGroup) -> None:
        """Have the projector work."""
        self._tasks = tasks
        tasks.start_soon(self.current.run)

    async def close(self) -> None:
        """Close all databases."""
        await self.current.close()
        if self.current.stand_in is not None:
            await self.current.stand_in.view.close()

    # -- taking over --------------------------------------------------------------------------------------------

    def _start(self, work: Callable[[], Any]) -> None:
        if self._tasks is not None:
            self._tasks.start_soon(work)

    async def _clear_away(self) -> None:
        """Remove what is older than the tables that have caught up, and let go of the version before."""
        stand_in, self.current.stand_in = self.current.stand_in, None
        self.current.strict = False
        self._node.news.tell_category(self._kind.name)
        try:
            if stand_in is not None:
                log.info("read model has caught up and answers", read_model=self._kind.name)
                await stand_in.close()
            builds = await self._builds()
            names = [(build.fingerprint, build.generation) for build in builds]
            today = (self._build.fingerprint, self._build.generation)
            for build in builds[: names.index(today)] if today in names else []:
                await self._shelf.drop(self._kind.name, build)
        except Exception as error:  # noqa: BLE001 (what is left harms nobody: the next start removes it)
            log.warning("old tables not removed", read_model=self._kind.name, error=repr(error))

    async def rebuild(self, *, strict: bool) -> None:
        """Build the tables anew beside the ones that are there, which answer until then; return when they are replaced.

        Raises:
            Parked: it came to an event that can't be projected; the old tables stay.
            ReadModelBehind: it is being built anew already.
            Elsewhere: another process projects it.
            RuntimeClosed: the runtime was closed before.
            JournalUnusable: the new ones can't be made.
        """
        name, node = self._kind.name, self._node
        if name in node.builders or self.current.stand_in is not None:
            there = node.builders.get(name, self.current)
            raise ReadModelBehind(f"{name} is being built anew already, and is at position {there.position}")
        if not self.current.view.leading:
            raise Elsewhere(f"{name} is projected by another process; have it built anew there")
        assert self._tasks is not None
        build = Build(self._fingerprint, self._build.generation + 1)
        new = node.builders[name] = self._projector(self._view(build))
        new.strict = strict
        try:
            await self._shelf.drop(name, build)  # one that was begun, and that a crash has ended
            await new.view.open()
            if node.closing:
                raise RuntimeClosed(f"the runtime was closed before {name} was built anew")
            self._tasks.start_soon(new.run)
            await self._level(new)
        except BaseException:
            del node.builders[name]
            new.retire()
            with anyio.CancelScope(shield=True):
                await new.view.close()
                await self._drop(build)
            raise
        await self._take_over(new, build)

    async def _level(self, new: Projector) -> None:
        """Wait until the new tables are as far as the old ones, and it is kept that they were.

        Raises:
            Parked: they will never be.
        """
        await new.reached(self._node.journal.position)
        await new.orders.give(new.keep_ready)
        while new.position < self.current.position:
            await new.reached(self.current.position)

    async def _take_over(self, new: Projector, build: Build) -> None:
        old, old_build = self.current, self._build
        new.strict = False
        self.current, self._build = new, build
        self._node.projectors[self._kind.name] = old.successor = new
        del self._node.builders[self._kind.name]
        old.waiting.move_to(new.waiting)
        new.let_go()  # of those who have waited for what is there by now
        new.look()
        old.retire()
        self._node.news.tell_category(self._kind.name)
        with anyio.CancelScope(shield=True):
            await old.lending.close()
            await self._drop(old_build)

    async def _drop(self, build: Build) -> None:
        try:
            await self._shelf.drop(self._kind.name, build)
        except JournalError as error:
            log.warning("old tables not removed", read_model=self._kind.name, error=str(error))  # at the next start


async def open_read_models(node: Node, views: Views, stack: AsyncExitStack) -> dict[str, Keeper]:
    """Open the databases of all read models, and give the node a projector for each; ``stack`` closes them."""
    keepers: dict[str, Keeper] = {}
    producers = producers_among(node.directory.all_kinds)
    for kind in node.directory.kinds(ReadModel):
        keeper = keepers[kind.name] = Keeper(node, kind, producers, views.shelf(kind, node.journal))
        stack.push_async_callback(keeper.close)
        await keeper.open()
    return keepers


async def follow(node: Node) -> None:
    """Have read models and subscribers look at what other processes write, until cancelled."""
    position = node.journal.position
    while True:
        try:
            position = await node.journal.changed(position, FOLLOW)
        except JournalError as error:
            log.warning("the journal can't be followed", error=str(error), retry_in=AGAIN)
            await node.delays.pause(AGAIN)
        for follower in node.followers:
            follower.look()
