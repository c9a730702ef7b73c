"""What is counted for Prometheus. Labels are names of routes and models, never anything a client wrote."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from regard.decoding.search import Hypothesis

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7)


class Metrics:
    """The numbers of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter("regard_requests", "Answers", ["route", "code"], registry=registry)
        self._seconds = Histogram(
            "regard_request_seconds", "From request to answer", ["route"], buckets=SECONDS, registry=registry
        )
        self._rejected = Counter("regard_requests_rejected", "Refused by a bound", ["reason"], registry=registry)
        self._cancelled = Counter(
            "regard_requests_cancelled", "Clients that left before their answer", registry=registry
        )
        self._waits = Histogram("regard_queue_wait_seconds", "Before the search", buckets=SECONDS, registry=registry)
        self._dropped = Counter("regard_sentences_dropped", "Given up before their search", registry=registry)
        self._sizes = Histogram("regard_batch_size", "Sentences searched together", buckets=SIZES, registry=registry)
        self._padding = Histogram(
            "regard_batch_padding_ratio", "Share of a batch that is padding", buckets=SHARES, registry=registry
        )
        self._tokens_in = Counter("regard_tokens_in", "Source tokens searched", ["model"], registry=registry)
        self._tokens_out = Counter("regard_tokens_out", "Tokens of the best outputs", ["model"], registry=registry)
        self._searching = Counter("regard_search_seconds", "Time spent searching", ["model"], registry=registry)
        self.queue_length = Gauge("regard_queue_depth", "Sentences that wait", registry=registry)
        self.models = Gauge("regard_model_loaded", "1 for each model that is open", ["model"], registry=registry)

    def answered(self, route: str, code: int, seconds: float) -> None:
        """A request has been answered."""
        self._requests.labels(route, str(code)).inc()
        self._seconds.labels(route).observe(seconds)

    def rejected(self, reason: str) -> None:
        """A request was refused before any route saw it."""
        self._rejected.labels(reason).inc()

    def cancelled(self) -> None:
        """A client left before its answer."""
        self._cancelled.inc()

    def left_queue(self, taken: int, wanted: int, waits: Sequence[float]) -> None:
        """So many jobs were taken from the queue, of which so many are still `wanted`."""
        self._dropped.inc(taken - wanted)
        for wait in waits:
            self._waits.observe(wait)

    def searched(
        self, model: str, lengths: Sequence[int], found: Sequence[Sequence[Hypothesis]], seconds: float
    ) -> None:
        """A batch of sources of these lengths has been searched."""
        self._sizes.observe(len(lengths))
        self._padding.observe(1 - sum(lengths) / (max(lengths) * len(lengths)))
        self._tokens_in.labels(model).inc(sum(lengths))
        self._tokens_out.labels(model).inc(sum(len(best[0].tokens) for best in found))
        self._searching.labels(model).inc(seconds)

    def text(self) -> bytes:
        """All of it, in Prometheus's format."""
        return generate_latest(self.registry)
