"""Prometheus: a runtime's numbers for a scraper, made when it comes; needs the extra ``prometheus``.

    REGISTRY.register(PrometheusCollector(runtime))
    start_http_server(9464)

Everything is labelled by class, nothing by key, so there are as many series as classes and no more.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from actors import RuntimeClosed
from runtime.histogram import HistogramStats
from runtime.runtime import Runtime
from runtime.stats import ActorStats, JournalStats, ReadModelStats, Stats, SubscriberStats


class PrometheusCollector(Collector):
    """The numbers of one runtime; none while it is not open. Several in one process need names that differ."""

    def __init__(self, runtime: Runtime, prefix: str = "understudy") -> None:
        self._runtime = runtime
        self._prefix = prefix

    def describe(self) -> Iterable[Metric]:
        """Return what it collects, also of a runtime that is not open yet."""
        return self._metrics(NOTHING)

    def collect(self) -> Iterator[Metric]:
        """Yield the numbers as they are now."""
        try:
            stats = self._runtime.stats()
        except RuntimeClosed:
            return
        yield from self._metrics(stats)

    def _metrics(self, stats: Stats) -> Iterator[Metric]:
        yield from self._actors(stats.actors.items())
        yield from self._journal(stats.journal)
        log_bytes = ("log_bytes", "log_bytes", "Size of the write-ahead log")
        yield from self._followers("read_model", stats.read_models.items(), [log_bytes], "in the tables")
        under_way = ("under_way", "under_way", "Events that are being handled")
        yield from self._followers("subscriber", stats.subscribers.items(), [under_way], "handled")
        yield self._counter(
            "dead_letters", "Messages that nobody waited for and that could not be handled", stats.dead_letters
        )
        yield self._gauge("timers", "Timers that run", stats.timers)
        if stats.network is not None:
            yield self._gauge("network_asking", "Requests to other nodes under way", stats.network.asking)
            yield self._gauge("network_serving", "Requests of other nodes under way here", stats.network.serving)
        yield from self._flow(stats)

    def _actors(self, actors: Iterable[tuple[str, ActorStats]]) -> Iterator[Metric]:
        gauges: list[tuple[str, str, str]] = [
            ("active", "actors", "Actors in memory"),
            ("parked", "actors_parked", "Actors that are set aside"),
            ("mail", "mailbox_messages", "Messages that wait for their turn"),
            ("deepest", "mailbox_deepest_messages", "Messages in the fullest mailbox"),
            ("oldest", "mailbox_oldest_seconds", "How long the oldest message has waited, at the most"),
        ]
        counters: list[tuple[str, str, str]] = [
            ("turns", "turns", "Messages handled"),
            ("failures", "actor_failures", "Crashes of actors"),
            ("restarts", "actor_restarts", "Starts of actors after a crash"),
            ("expired", "messages_expired", "Messages not begun, because nobody waited for the reply any more"),
        ]
        found = list(actors)
        for field, name, says in gauges:
            gauge = GaugeMetricFamily(f"{self._prefix}_{name}", says, labels=["class"])
            for cls, stats in found:
                gauge.add_metric([cls], getattr(stats, field))
            yield gauge
        for field, name, says in counters:
            counter = CounterMetricFamily(f"{self._prefix}_{name}", says, labels=["class"])
            for cls, stats in found:
                counter.add_metric([cls], getattr(stats, field))
            yield counter

    def _flow(self, stats: Stats) -> Iterator[Metric]:
        label = ["class"]
        queued = GaugeMetricFamily(f"{self._prefix}_sagas_queued", "Sagas that wait for their place", labels=label)
        under_way = GaugeMetricFamily(f"{self._prefix}_sagas_under_way", "Sagas that have a place", labels=label)
        steps = GaugeMetricFamily(f"{self._prefix}_steps_held_back", "Steps that wait for a rate", labels=label)
        for name, queue in stats.queues.items():
            queued.add_metric([name], queue.queued)
            under_way.add_metric([name], queue.under_way)
        for name, waiting in stats.rates.items():
            steps.add_metric([name], waiting)
        yield from (queued, under_way, steps)

    def _journal(self, stats: JournalStats) -> Iterator[Metric]:
        yield self._gauge("journal_position", "Position of the last durable event", stats.position)
        yield self._gauge("journal_queued_events", "Events enqueued and not yet durable", stats.queued)
        yield self._gauge("journal_failing", "1 where the last group could not be written", stats.error is not None)
        yield self._gauge("journal_damaged", "1 where a check has found damage", stats.damage is not None)
        yield self._gauge("journal_log_bytes", "Size of the write-ahead log beside the journal", stats.log_bytes)
        yield self._histogram("journal_group_events", "Events in each group", stats.group_events)
        yield self._histogram("journal_group_write_seconds", "Time to write and sync each group", stats.group_seconds)

    def _followers(
        self,
        what: str,
        followers: Iterable[tuple[str, ReadModelStats | SubscriberStats]],
        more: Sequence[tuple[str, str, str]],
        done: str,
    ) -> Iterator[Metric]:
        """Yield the numbers of read models or subscribers, which have most of them in common."""
        gauges: list[tuple[str, str, str]] = [
            ("position", "position", f"Position up to which all is {done}, or set aside"),
            ("lag", "lag_events", "Durable events not come to yet"),
            ("lag_seconds", "lag_seconds", "Age of the oldest durable event not come to yet"),
            ("rate", "events_per_second", "Events come to a second, over the last minute"),
            ("parked", "parked", "1 where it is set aside"),
            ("set_aside", "set_aside", "Events that are set aside"),
            *more,
        ]
        found = list(followers)
        for field, name, says in gauges:
            gauge = GaugeMetricFamily(f"{self._prefix}_{what}_{name}", says, labels=[what])
            for cls, stats in found:
                gauge.add_metric([cls], getattr(stats, field))
            yield gauge
        failures = CounterMetricFamily(f"{self._prefix}_{what}_failures", "Attempts that failed", labels=[what])
        for cls, stats in found:
            failures.add_metric([cls], stats.failures)
        yield failures

    def _gauge(self, name: str, says: str, value: float) -> Metric:
        return GaugeMetricFamily(f"{self._prefix}_{name}", says, value=value)

    def _counter(self, name: str, says: str, value: float) -> Metric:
        return CounterMetricFamily(f"{self._prefix}_{name}", says, value=value)

    def _histogram(self, name: str, says: str, stats: HistogramStats) -> Metric:
        bounds = [*map(repr, stats.bounds), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(stats.counts)), strict=True))
        return HistogramMetricFamily(f"{self._prefix}_{name}", says, buckets=buckets, sum_value=stats.total)


_EMPTY = HistogramStats((), (0,), 0, 0.0, 0.0)
NOTHING = Stats({}, JournalStats(0, 0, 0, _EMPTY, _EMPTY, None, 0, None), {}, 0, 0, 0)
"""The numbers of a runtime that is not open."""
