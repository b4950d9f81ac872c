"""Money transfers a second, durable, from one account to another: strongly, by ``transact``, and by a saga.

    python -m benchmarks.transfers [--postgres URL] [--scale 1.0] [--rounds 1]
                                   [--loop LOOP] [--fsync MS] [--json FILE]

Both move the money from one service to another. The strong way writes both accounts' events in one append: nobody ever
sees money that is nowhere. The saga's way takes two steps, each in its own turn, with an undo for the first.
"""

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any

from actors import Command, Decision, Event, Refused, Saga, Service, State
from benchmarks.databases import place
from benchmarks.disk import add_fsync, print_fsync
from benchmarks.loops import add_loop
from benchmarks.measuring import latency
from runtime import Runtime

RUNS = ((1, 500), (50, 10_000), (500, 20_000))
"""Transfers in flight, and how many in all."""
ACCOUNTS, OPENING = 500, 1_000_000


class Deposited(Event):
    amount: int


class Withdrawn(Event):
    amount: int


class Deposit(Command["Account", None]):
    amount: int


class Withdraw(Command["Account", None]):
    amount: int


class Balance(State):
    cents: int = 0


class Account(Service[Balance, Deposit | Withdraw, Deposited | Withdrawn]):
    initial = Balance()

    def decide(self, state: Balance, command: Deposit | Withdraw) -> Decision:
        match command:
            case Deposit(amount):
                return command.reply(None, Deposited(amount))
            case Withdraw(amount):
                if amount > state.cents:
                    raise Refused(f"there are only {state.cents}")
                return command.reply(None, Withdrawn(amount))

    def evolve(self, state: Balance, event: Deposited | Withdrawn) -> Balance:
        return Balance(state.cents + (event.amount if isinstance(event, Deposited) else -event.amount))


class Move(Command["Transfer", None]):
    source: str
    target: str
    amount: int


class Transfer(Saga[Move, None]):
    async def run(self, command: Move) -> None:
        source, target, amount = Account.at(command.source), Account.at(command.target), command.amount
        await self.ask("withdraw", source, Withdraw(amount), undo=Deposit(amount))
        await self.ask("deposit", target, Deposit(amount))


def accounts_of(n: int) -> tuple[str, str]:
    """Two accounts, never the same one."""
    return f"a{n % ACCOUNTS}", f"a{(n + 1 + n // ACCOUNTS % (ACCOUNTS - 1)) % ACCOUNTS}"


async def strongly(runtime: Runtime, n: int) -> None:
    source, target = accounts_of(n)
    await runtime.transact((Account.at(source), Withdraw(1)), (Account.at(target), Deposit(1)), id=f"transfer-{n}")


async def by_saga(runtime: Runtime, n: int) -> None:
    source, target = accounts_of(n)
    await runtime.ask(Transfer.at(f"transfer-{n}"), Move(source, target, 1))


WAYS = {"transact": strongly, "saga": by_saga}


async def ours(way: str, in_flight: int, count: int, postgres: str | None) -> dict[str, Any]:
    transfer, seconds = WAYS[way], list[float]()
    async with place(postgres) as url, Runtime(url, actors=[Account, Transfer]) as runtime:
        await asyncio.gather(*(runtime.ask(Account.at(f"a{n}"), Deposit(OPENING)) for n in range(ACCOUNTS)))
        numbers, groups, events = iter(range(count)), runtime.groups, runtime.position

        async def client() -> None:
            for n in numbers:
                begun = time.perf_counter()
                await transfer(runtime, n)
                seconds.append(time.perf_counter() - begun)

        begun = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(in_flight)))
        taken = time.perf_counter() - begun
        figures = latency(seconds)
        return {
            "per_second": count / taken,
            "p50_ms": figures["p50_us"] / 1e3,
            "p99_ms": figures["p99_us"] / 1e3,
            "commits_per_transfer": (runtime.groups - groups) / count,
            "events_per_transfer": (runtime.position - events) / count,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description="money transfers a second")
    parser.add_argument("--postgres", metavar="URL", help="a database to work in, too")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times as many transfers")
    parser.add_argument("--rounds", type=int, default=1, help="how often each is measured; the best counts")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here too")
    add_loop(parser)
    add_fsync(parser)
    options = parser.parse_args()
    print_fsync()
    print(f"{'':12}{'way':>9}{'in flight':>11}{'a second':>10}{'p50 ms':>9}{'p99 ms':>9}{'commits':>9}{'events':>8}")
    table: list[dict[str, Any]] = []
    for engine, postgres in (("sqlite", None), ("postgresql", options.postgres)):
        if engine == "postgresql" and postgres is None:
            continue
        for in_flight, count in RUNS:
            count = max(in_flight, int(count * options.scale))
            for way in WAYS:
                rounds = [asyncio.run(ours(way, in_flight, count, postgres)) for _ in range(options.rounds)]
                best = max(rounds, key=lambda one: float(one["per_second"]))
                table.append({"engine": engine, "way": way, "in_flight": in_flight, **best})
                print(
                    f"{engine:12}{way:>9}{in_flight:>11}{best['per_second']:>10,.0f}{best['p50_ms']:>9.2f}"
                    f"{best['p99_ms']:>9.2f}{best['commits_per_transfer']:>9.3f}{best['events_per_transfer']:>8.1f}",
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
