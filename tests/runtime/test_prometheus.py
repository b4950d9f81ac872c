"""What Prometheus scrapes is what the runtime's numbers say, in the form that its own parser reads."""

import asyncio
import threading

import pytest

from actors import Meta, Subscriber
from runtime import ManualClock, Runtime
from tests.extras import need
from tests.runtime.cast import ALL, Board, Desk, Hold, Lines, Look, Note, Room, WasHeld
from tests.runtime.tools import HeldJournal, comes, quiet

need("prometheus_client")

from prometheus_client import CollectorRegistry, generate_latest  # noqa: E402
from prometheus_client.metrics_core import Metric  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

from runtime.prometheus import PrometheusCollector  # noqa: E402

R = Room.at("r")
BY_CLASS = {
    "understudy_actors": "gauge",
    "understudy_actors_parked": "gauge",
    "understudy_mailbox_messages": "gauge",
    "understudy_mailbox_deepest_messages": "gauge",
    "understudy_mailbox_oldest_seconds": "gauge",
    "understudy_turns": "counter",
    "understudy_actor_failures": "counter",
    "understudy_actor_restarts": "counter",
    "understudy_messages_expired": "counter",
}
BY_READ_MODEL = {
    "understudy_read_model_position": "gauge",
    "understudy_read_model_lag_events": "gauge",
    "understudy_read_model_parked": "gauge",
    "understudy_read_model_log_bytes": "gauge",
    "understudy_read_model_set_aside": "gauge",
    "understudy_read_model_failures": "counter",
    "understudy_read_model_lag_seconds": "gauge",
    "understudy_read_model_events_per_second": "gauge",
}
BY_SUBSCRIBER = {
    "understudy_subscriber_under_way": "gauge",
    **{
        name.replace("read_model", "subscriber"): kind
        for name, kind in BY_READ_MODEL.items()
        if not name.endswith("log_bytes")
    },
}
OF_ALL = {
    "understudy_journal_position": "gauge",
    "understudy_journal_queued_events": "gauge",
    "understudy_journal_damaged": "gauge",
    "understudy_journal_failing": "gauge",
    "understudy_journal_log_bytes": "gauge",
    "understudy_journal_group_events": "histogram",
    "understudy_journal_group_write_seconds": "histogram",
    "understudy_dead_letters": "counter",
    "understudy_timers": "gauge",
    "understudy_sagas_queued": "gauge",
    "understudy_sagas_under_way": "gauge",
    "understudy_steps_held_back": "gauge",
}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry(auto_describe=True)


def scraped(registry: CollectorRegistry) -> dict[str, Metric]:
    text = generate_latest(registry).decode()
    return {metric.name: metric for metric in text_string_to_metric_families(text)}


def value(metrics: dict[str, Metric], name: str, **labels: str) -> float:
    found = [
        sample.value
        for metric in metrics.values()
        for sample in metric.samples
        if sample.name == name and dict(sample.labels) == labels
    ]
    assert len(found) == 1, (name, labels, found)
    return found[0]


async def test_all_is_there_with_its_type_its_labels_and_a_word_of_help(registry: CollectorRegistry) -> None:
    class Mails(Subscriber):
        async def handle(self, event: WasHeld, meta: Meta) -> None: ...

    runtime = Runtime("memory:", [*ALL, Mails])
    registry.register(PrometheusCollector(runtime))  # before it is open
    assert scraped(registry) == {}
    async with runtime:
        for key in range(20):
            await runtime.ask(Room.at(str(key)), Look())
        metrics = scraped(registry)
    assert {name: metric.type for name, metric in metrics.items()} == {
        **BY_CLASS,
        **BY_READ_MODEL,
        **BY_SUBSCRIBER,
        **OF_ALL,
    }
    assert all(metric.documentation for metric in metrics.values())
    for name, metric in metrics.items():
        of = [("class", BY_CLASS), ("read_model", BY_READ_MODEL), ("subscriber", BY_SUBSCRIBER)]
        label = {label for label, names in of if name in names}
        assert all(set(sample.labels) - {"le"} == label for sample in metric.samples), name
    assert len(metrics["understudy_actors"].samples) == len(runtime_classes(metrics))
    assert scraped(registry) == {}


def runtime_classes(metrics: dict[str, Metric]) -> set[str]:
    classes = {sample.labels["class"] for name in BY_CLASS for sample in metrics[name].samples}
    assert {"Room", "Desk", "Trip"} <= classes
    assert classes.isdisjoint(("Board", "Mails"))
    return classes


async def test_the_numbers_are_those_of_the_runtime(registry: CollectorRegistry) -> None:
    clock, journal, over = ManualClock(), HeldJournal(), asyncio.Event()

    async def hangs(self: Desk, message: Note) -> str:
        await over.wait()
        return ""

    Desk.script = hangs
    async with Runtime(journal, ALL, clock=clock) as runtime:
        registry.register(PrometheusCollector(runtime))
        journal.hold()
        asked = [asyncio.ensure_future(runtime.ask(R, Hold("t"))) for _ in range(3)]
        await journal.arrived.wait()
        clock.advance(0.25)
        assert value(scraped(registry), "understudy_journal_queued_events") == 3
        journal.gate.set()
        await asyncio.gather(*asked)
        await runtime.ask(Board.at(), Lines(), consistent=True)
        await runtime.tell(Room.at("full"), Hold("t"))
        await quiet(runtime)
        for _ in range(3):
            await runtime.tell(Desk.at(), Note("a"))
            await runtime.tell(Desk.at("b"), Note("b"))
        await runtime.tell(Desk.at("b"), Note("b"))
        await comes(lambda: runtime.stats().actors["Desk"].mail == 5)
        clock.advance(7)
        metrics = scraped(registry)
        over.set()
    assert value(metrics, "understudy_actors", **{"class": "Room"}) == 2
    assert value(metrics, "understudy_turns_total", **{"class": "Room"}) == 4
    assert value(metrics, "understudy_mailbox_messages", **{"class": "Desk"}) == 5
    assert value(metrics, "understudy_mailbox_deepest_messages", **{"class": "Desk"}) == 3
    assert value(metrics, "understudy_mailbox_oldest_seconds", **{"class": "Desk"}) == 7
    assert value(metrics, "understudy_dead_letters_total") == 1
    assert value(metrics, "understudy_journal_position") == 3
    assert value(metrics, "understudy_read_model_lag_events", read_model="Board") == 0
    assert value(metrics, "understudy_read_model_position", read_model="Board") == 3
    name = "understudy_journal_group_write_seconds"
    assert value(metrics, f"{name}_bucket", le="0.125") == 0
    assert value(metrics, f"{name}_bucket", le="0.25") == 1
    assert value(metrics, f"{name}_bucket", le="+Inf") == value(metrics, f"{name}_count") == 1
    assert value(metrics, f"{name}_sum") == 0.25
    assert value(metrics, "understudy_journal_group_events_bucket", le="2.0") == 0
    assert value(metrics, "understudy_journal_group_events_bucket", le="4.0") == 1
    assert value(metrics, "understudy_journal_group_events_sum") == 3


async def test_two_runtimes_of_one_process_have_names_that_differ(registry: CollectorRegistry) -> None:
    one, two = Runtime("memory:", ALL), Runtime("memory:", ALL)
    registry.register(PrometheusCollector(one))
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(PrometheusCollector(two))
    registry.register(PrometheusCollector(two, prefix="other"))
    async with one, two:
        assert {"understudy_timers", "other_timers"} <= set(scraped(registry))


async def test_a_scraper_on_another_thread_harms_nobody(registry: CollectorRegistry) -> None:
    async with Runtime("memory:", ALL) as runtime:
        registry.register(PrometheusCollector(runtime))
        seen: list[float] = []

        def scrape() -> None:
            seen.extend(value(scraped(registry), "understudy_actors", **{"class": "Room"}) for _ in range(20))

        scraper, key = threading.Thread(target=scrape), 0
        scraper.start()
        while scraper.is_alive():
            key += 1
            await runtime.ask(Room.at(str(key)), Hold("t"))
        scraper.join()
    assert seen == sorted(seen)
    assert len(seen) == 20
    assert seen[-1] > 0
