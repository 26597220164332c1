"""What the server counts, in the format of Prometheus, in a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Requests by path, method and status, their durations, and whatever `watch` is told of.

    Args:
        paths: the known ones; what is asked for elsewhere is counted as `other`, or anybody could fill the memory with names.
    """

    def __init__(self, paths: Collection[str]) -> None:
        self._registry, self._paths = CollectorRegistry(), frozenset(paths)
        self._watched: list[tuple[str, str, Callable[[], float], bool]] = []
        self._registry.register(self)  # type: ignore[arg-type]
        self._requests = Counter("modelwright_requests", "Requests answered", ["path", "method", "status"], registry=self._registry)
        self._seconds = Histogram(
            "modelwright_request_seconds",
            "Time from a request to the end of its answer",
            ["path"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._first = Histogram(
            "modelwright_first_token_seconds", "Time from a request to its first token", buckets=SECONDS, registry=self._registry
        )

    def answered(self, path: str, method: str, status: int, seconds: float) -> None:
        """A request has ended; 499 is the status of those whose client went away."""
        path = path if path in self._paths else "other"
        method = method if method in ("GET", "POST") else "other"
        self._requests.labels(path, method, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def first_token(self, seconds: float) -> None:
        """A text has begun to come."""
        self._first.observe(seconds)

    def watch(self, name: str, what: str, read: Callable[[], float], *, counts: bool = False) -> None:
        """Tell what `read` gives: a number that only grows if it `counts`, else one that goes up and down."""
        self._watched.append((name, what, read, counts))

    def collect(self) -> Iterator[Metric]:
        """What is watched, now."""
        for name, what, read, counts in self._watched:
            yield (CounterMetricFamily if counts else GaugeMetricFamily)(f"modelwright_{name}", what, value=read())

    def page(self) -> bytes:
        """All of it as text."""
        return generate_latest(self._registry)
