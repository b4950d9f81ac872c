"""What every database of a read model must keep: one suite, inherited by each engine's own test file."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from persistence import JournalUnusable
from persistence.views import Aside, Build, ParkedRow, Shelf, SkippedRow, View, form_of

SCHEMA = """create table trips (trip text primary key, seat int not null check (seat >= 0));
    create index seats on trips (seat)"""
OTHER = "create table trips (trip text primary key, seat int not null, more text)"
BOARD = Build("0123abcd")
NOON = 1_700_000_000_123_456
awkward = st.sampled_from(["", "\0", "a\0", "\\", "\\000", "'", '"', "é", "🪑"]) | st.text(
    st.characters(codec="utf-8"), max_size=8
)


class ViewContract(ABC):
    keeps = True
    """Whether what is closed is there when it is opened again."""
    mark = "?"
    """With what parameters are written: ``?``, or ``$1``."""

    @abstractmethod
    def shelf(self, folder: Path) -> Shelf: ...

    @asynccontextmanager
    async def room(self, folder: Path) -> AsyncGenerator[Shelf]:
        yield self.shelf(folder)

    @abstractmethod
    async def rows(self, view: View, query: str = "select trip, seat from trips order by trip") -> list[Any]: ...

    @abstractmethod
    async def write(self, view: View) -> None:
        """Try to write as a query."""

    def sql(self, text: str) -> str:
        """Return a statement with its parameters written as the engine has them."""
        for number in (1, 2, 3) if self.mark == "$" else ():
            text = text.replace("?", f"${number}", 1)
        return text

    @property
    def insert(self) -> str:
        return self.sql("insert into trips values (?, ?)")

    @asynccontextmanager
    async def opened(
        self, shelf: Shelf, build: Build = BOARD, schema: str = SCHEMA, journal: str = "j1"
    ) -> AsyncGenerator[View]:
        view = shelf.view("Board", build, schema, journal, lambda: NOON)
        try:
            await view.open()
            yield view
        finally:
            await view.close()

    # -- rows and checkpoint ------------------------------------------------------------------------------------

    async def test_rows_checkpoint_and_mark_change_together(self, tmp_path: Path) -> None:
        async with self.room(tmp_path) as shelf, self.opened(shelf) as view:
            assert (view.checkpoint, view.mark, view.leading) == (0, "", True)
            await view.apply([(self.insert, ("a", 1)), (self.insert, ("b", 2))], 2, mark="m2")
            assert await self.rows(view) == [("a", 1), ("b", 2)]
            assert (view.checkpoint, view.mark) == (2, "m2")
            await view.apply([], 7, mark="m7")
            if self.keeps:
                await view.close()
                await view.open()
            assert (view.checkpoint, view.mark) == (7, "m7")
            assert await self.rows(view) == [("a", 1), ("b", 2)]

    async def test_statements_run_in_order_with_runs_of_one_as_one(self, tmp_path: Path) -> None:
        update = self.sql("update trips set seat = seat * ? where trip = ?")
        delete = self.sql("delete from trips where seat = ?")
        async with self.room(tmp_path) as shelf, self.opened(shelf) as view:
            await view.apply(
                [(self.insert, ("a", 1)), (self.insert, ("b", 3)), (update, (2, "a")), (update, (5, "a")),
                 (self.insert, ("c", 3)), (delete, (3,)), (self.insert, ("b", 9))], 5,
            )  # fmt: skip
            assert await self.rows(view) == [("a", 10), ("b", 9)]

    @pytest.mark.parametrize("place", [0, 1, 2])
    @pytest.mark.parametrize("bad", ["a duplicate", "a check", "no table", "no SQL", "a type", "too few"])
    async def test_a_failing_statement_changes_nothing_and_is_blamed(
        self, tmp_path: Path, bad: str, place: int
    ) -> None:
        wrong = {
            "a duplicate": (self.insert, ("a", 1)),
            "a check": (self.insert, ("z", -1)),
            "no table": (self.sql("insert into nothing values (?)"), (1,)),
            "no SQL": ("insert insert", ()),
            "a type": (self.insert, ("z", object())),
            "too few": (self.insert, ("z",)),
        }[bad]
        good = [(self.insert, ("b", 2)), (self.sql("update trips set seat = 99 where trip = ?"), ("a",))]
        async with self.room(tmp_path) as shelf, self.opened(shelf) as view:
            await view.apply([(self.insert, ("a", 1))], 1)
            with pytest.raises(Exception, match=r".") as raised:
                await view.apply([*good[:place], wrong, *good[place:]], 3)
            assert not view.passes(raised.value)
            assert not isinstance(raised.value, JournalUnusable)
            assert view.checkpoint == 1
            assert await self.rows(view) == [("a", 1)]
            await view.apply(good, 2)
            assert await self.rows(view) == [("a", 99), ("b", 2)]

    @pytest.mark.parametrize(
        "text",
        ["commit", " COMMIT", "/* x */ commit", "-- x\ncommit", "/**/end", "rollback", "begin", "savepoint a",
         "drop table trips", "commit and chain", "prepare transaction 'a'", "set transaction read only",
         "insert into trips values ('z', 1); commit", ""],
    )  # fmt: skip
    async def test_a_projection_can_not_end_the_transaction(self, tmp_path: Path, text: str) -> None:
        async with self.room(tmp_path) as shelf, self.opened(shelf) as view:
            await view.apply([(self.insert, ("a", 1))], 1)
            with pytest.raises(Exception, match=r"."):
                await view.apply([(self.insert, ("b", 2)), (text, ()), (self.insert, ("c", 2))], 2)
            assert await self.rows(view) == [("a", 1)]
            assert view.checkpoint == 1

    async def test_a_batch_is_not_run_twice(self, tmp_path: Path) -> None:
        async with self.room(tmp_path) as shelf, self.opened(shelf) as view:
            await view.apply([(self.insert, ("a", 1))], 3)
            for position in (2, 3):
                with pytest.raises(JournalUnusable, match="is at position 3 already"):
                    await view.apply([(self.insert, (f"b{position}", 1))], position)
            assert await self.rows(view) == [("a", 1)]

    @pytest.mark.parametrize("turns", range(6))
    async def test_a_cancelled_batch_is_remembered_as_it_was_kept(self, tmp_path: Path, turns: int) -> None:
        """Failure 25."""
        async with self.room(tmp_path) as shelf, self.opened(shelf) as view:
            task = asyncio.create_task(view.apply([(self.insert, (f"{n}", n)) for n in range(200)], 200))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert (len(await self.rows(view)), view.checkpoint) in ((0, 0), (200, 200))
            await view.apply([(self.insert, ("more", 1))], 201)

    async def test_a_batch_that_takes_too_long_is_ended(self, tmp_path: Path) -> None:
        endless = "with recursive n(n) as (select 1 union all select n from n) select count(*) from n"
        async with self.room(tmp_path) as shelf:
            view: Any = shelf.view("Board", BOARD, SCHEMA, "j1", lambda: NOON)
            view.slowest = 0.05
            try:
                await view.open()
                with pytest.raises(Exception, match=r"interrupted|timeout") as raised:
                    await view.apply([(self.insert, ("a", 1)), (f"insert into trips values ('b', ({endless}))", ())], 1)
                assert not view.passes(raised.value)
                assert await self.rows(view) == []
                await view.apply([(self.insert, ("a", 1))], 1)
            finally:
                await view.close()

    # -- what is set aside --------------------------------------------------------------------------------------

    async def test_what_is_set_aside_changes_with_the_rows(self, tmp_path: Path) -> None:
        first, behind = ParkedRow(2, "k", NOON, "bad", 0), ParkedRow(4, "k", NOON)
        async with self.room(tmp_path) as shelf, self.opened(shelf) as view:
            with pytest.raises(Exception, match=r"."):
                await view.apply([("insert insert", ())], 4, aside=Aside([first, behind]))
            assert await view.parked() == []
            await view.apply([(self.insert, ("a", 1))], 4, mark="m", aside=Aside([behind, first]))
            assert await view.parked() == [first, behind]
            tried = ParkedRow(2, "k", NOON, "worse", 1)
            await view.apply([], 4, mark="m", aside=Aside([tried]))
            assert await view.parked() == [tried, behind]
            gone = SkippedRow(2, "k", NOON, "worse", "why", "ana")
            await view.apply([(self.insert, ("b", 1))], 4, mark="m", aside=Aside(taken=[2], skipped=[gone]))
            if self.keeps:
                await view.close()
                await view.open()
            assert await view.parked() == [behind]
            assert await view.skipped() == [gone]
            assert await self.rows(view) == [("a", 1), ("b", 1)]

    async def test_what_was_taken_by_somebody_is_not_taken_twice(self, tmp_path: Path) -> None:
        async with self.room(tmp_path) as shelf, self.opened(shelf) as view:
            await view.apply([], 4, aside=Aside([ParkedRow(2, "k", NOON, "bad")]))
            for _ in range(2):
                with pytest.raises(JournalUnusable, match="changed by somebody else"):
                    await view.apply([(self.insert, ("a", 1))], 4, aside=Aside(taken=[2, 3]))
            await view.apply([(self.insert, ("a", 1))], 4, aside=Aside(taken=[2]))
            with pytest.raises(JournalUnusable, match="changed by somebody else"):
                await view.apply([(self.insert, ("b", 1))], 4, aside=Aside(taken=[2]))
            assert await self.rows(view) == [("a", 1)]

    @settings(
        max_examples=15,
        deadline=None,
        database=None,
        suppress_health_check=[
            HealthCheck.differing_executors,
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
        ],
    )
    @given(key=awkward, text=awkward)
    async def test_any_text_can_be_a_key_and_a_reason(self, tmp_path: Path, key: str, text: str) -> None:
        async with self.room(tmp_path) as shelf, self.opened(shelf) as view:
            await view.remake()
            row, gone = ParkedRow(1, key, NOON, text, 1), SkippedRow(1, key, NOON, text, text, text)
            await view.apply([], 1, aside=Aside([row], skipped=[gone]))
            assert await view.parked() == [row]
            assert await view.skipped() == [gone]

    async def test_what_was_blanked_is_cleaned_up(self, tmp_path: Path) -> None:
        async with self.room(tmp_path) as shelf, self.opened(shelf) as view:

            async def unclean() -> bool:
                """Look, also into what is kept."""
                if self.keeps:
                    await view.close()
                    await view.open()
                return view.unclean

            await view.apply([(self.insert, (f"{n} " + "secret" * 500, n)) for n in range(50)], 50)
            assert not await unclean()
            await view.apply([("update trips set trip = seat || ' gone'", ())], 51, blanks=True)
            assert await unclean()
            await view.apply([(self.insert, ("more", 1))], 52)
            assert await unclean()
            await view.clean()
            assert not await unclean()
            assert len(await self.rows(view)) == 51
            await view.apply([(self.insert, ("later", 1))], 53)

    # -- when it is made anew -----------------------------------------------------------------------------------

    async def test_one_of_another_journal_is_made_anew(self, tmp_path: Path) -> None:
        async with self.room(tmp_path) as shelf:
            async with self.opened(shelf) as view:
                await view.apply([(self.insert, ("a", 1))], 5, aside=Aside([ParkedRow(5, "k", NOON, "bad")]))
                await view.keep_ready()
            async with self.opened(shelf, journal="j2") as view:
                assert (view.checkpoint, view.ready, await self.rows(view), await view.parked()) == (0, False, [], [])
                await view.apply([(self.insert, ("a", 7))], 1)

    async def test_one_can_be_made_anew(self, tmp_path: Path) -> None:
        async with self.room(tmp_path) as shelf, self.opened(shelf) as view:
            await view.apply([(self.insert, ("a", 1))], 5, mark="m", aside=Aside([ParkedRow(5, "k", NOON, "bad")]))
            await view.remake()
            assert (view.checkpoint, view.mark, await self.rows(view), await view.parked()) == (0, "", [], [])
            await view.apply([(self.insert, ("a", 1))], 1)

    async def test_a_schema_that_is_no_sql_is_told(self, tmp_path: Path) -> None:
        async with self.room(tmp_path) as shelf:
            with pytest.raises(JournalUnusable, match="can't be used"):
                async with self.opened(shelf, schema="create tabel trips (trip text)"):
                    pass

    # -- reading ------------------------------------------------------------------------------------------------

    async def test_a_query_can_not_write(self, tmp_path: Path) -> None:
        async with self.room(tmp_path) as shelf, self.opened(shelf) as view:
            for position in (1, 2):  # before and after a batch
                with pytest.raises(Exception, match=r"readonly|read-only"):
                    await self.write(view)
                await view.apply([(self.insert, (f"{position}", 1))], position)
            assert len(await self.rows(view)) == 2

    async def test_many_queries_at_once(self, tmp_path: Path) -> None:
        async with self.room(tmp_path) as shelf, self.opened(shelf) as view:
            await view.apply([(self.insert, (f"{n}", n)) for n in range(50)], 50)
            answers = await asyncio.gather(*(self.rows(view) for _ in range(30)))
            assert all(len(answer) == 50 for answer in answers)

    async def test_one_that_is_not_open_says_so(self, tmp_path: Path) -> None:
        async with self.room(tmp_path) as shelf:
            view = shelf.view("Board", BOARD, SCHEMA, "j1", lambda: NOON)
            await view.close()
            for use in (lambda: view.apply([], 1), lambda: self.rows(view), view.parked, view.keep_ready):
                with pytest.raises(JournalUnusable, match="not open"):
                    await use()

    @pytest.mark.parametrize("turns", range(12))
    async def test_a_cancelled_opening_leaves_nothing_behind(self, tmp_path: Path, turns: int) -> None:
        """Failure 39."""
        async with self.room(tmp_path) as shelf:
            view = shelf.view("Board", BOARD, SCHEMA, "j1", lambda: NOON)
            task = asyncio.create_task(view.open())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                await view.close()
            async with self.opened(shelf) as again:
                await again.apply([(self.insert, ("a", 1))], 1)


class KeptViewContract(ViewContract):
    """What also holds where tables are kept: several builds of one read model."""

    async def test_builds_stand_side_by_side(self, tmp_path: Path) -> None:
        builds = [BOARD, Build("0123abcd", 2), Build("fedc9876")]
        async with self.room(tmp_path) as shelf:
            for number, build in enumerate(builds):
                view = shelf.view("Board", build, OTHER if number else SCHEMA, "j1", lambda n=number: NOON + n)  # type: ignore[misc]
                await view.open()
                await view.apply([], number + 1)
                if number == 1:
                    await view.keep_ready()
                await view.close()
            for name in ("Boar", "Boards", "Board-x"):  # others that are called nearly the same
                async with self.opened(shelf) as view:
                    pass
                other = shelf.view(name, BOARD, SCHEMA, "j1", lambda: NOON)
                await other.open()
                await other.close()
            assert await shelf.builds("Board") == [
                Build("0123abcd", 0, "j1", form_of(SCHEMA), NOON, False, 1),
                Build("0123abcd", 2, "j1", form_of(OTHER), NOON + 1, True, 2),
                Build("fedc9876", 0, "j1", form_of(OTHER), NOON + 2, False, 3),
            ]
            old = shelf.view("Board", builds[1], OTHER, "j1", lambda: NOON)
            await old.open_for_reading()
            assert await self.rows(old) == []
            await old.close()
            assert await shelf.drop("Board", builds[0])
            assert await shelf.drop("Board", builds[0])
            assert [build.fingerprint for build in await shelf.builds("Board")] == ["0123abcd", "fedc9876"]
            async with self.opened(shelf, builds[2], OTHER) as view:
                assert (view.checkpoint, view.ready) == (3, False)
