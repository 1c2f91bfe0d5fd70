"""How metrics are made and exposed: known labels from the start, and the camera on each series.

A series that appears only with its first event has no rate until its second, so an alert on it
comes late; every label whose values are known is therefore there at zero. The camera's name is
added when metrics are read, so that no caller repeats it and no series lacks it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

__all__ = ["CachedExposition", "Families", "Family", "WithCamera", "exemplar_of"]

Kind = Literal["counter", "gauge", "histogram", "info"]

_PREFIX = "streamgate_"
_UNITS = ("seconds", "bytes", "ratio")
_MOST_EXEMPLAR_RUNES = 128
_KEPT_S = 1.0
_OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
_AnyMetric = TypeVar("_AnyMetric", Counter, Gauge, Histogram)


@dataclass(frozen=True, slots=True)
class Family:
    """A metric as its reader sees it.

    Attributes:
        name: as it is queried; of a histogram without `_bucket`, `_sum` and `_count`.
        text: what it says.
        unit: seconds, bytes or ratio; empty for counts and for what the text explains.
        labels: each label's known values; none where the config or a peer's codec decides.
        buckets: upper bounds of a histogram.
    """

    name: str
    kind: Kind
    text: str
    unit: str
    labels: Mapping[str, tuple[str, ...]]
    buckets: tuple[float, ...] = ()


class Families:
    """Makes metrics in a registry of their own and remembers what each is."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.all: list[Family] = []

    def counter(self, name: str, text: str, **labels: Sequence[str]) -> Counter:
        """Make a counter; `_total` is added to its name."""
        made = Counter(
            _PREFIX + name, text, tuple(labels), unit=_unit(name), registry=self.registry
        )
        self._note(f"{name}_total", "counter", text, labels)
        return _started(made, labels)

    def gauge(self, name: str, text: str, **labels: Sequence[str]) -> Gauge:
        """Make a gauge."""
        made = Gauge(_PREFIX + name, text, tuple(labels), unit=_unit(name), registry=self.registry)
        self._note(name, "gauge", text, labels)
        return _started(made, labels)

    def histogram(
        self, name: str, text: str, buckets: tuple[float, ...], **labels: Sequence[str]
    ) -> Histogram:
        """Make a histogram with these upper bounds."""
        made = Histogram(
            _PREFIX + name, text, tuple(labels), buckets=buckets, unit=_unit(name),
            registry=self.registry,
        )  # fmt: skip
        self._note(name, "histogram", text, labels, buckets)
        return _started(made, labels)

    def info(self, name: str, text: str, *labels: str) -> Info:
        """Make a metric that is always 1 and says something by its labels; `_info` is added."""
        made = Info(_PREFIX + name, text, registry=self.registry)
        self._note(f"{name}_info", "info", text, dict.fromkeys(labels, ()))
        return made

    def _note(
        self,
        name: str,
        kind: Kind,
        text: str,
        labels: Mapping[str, Sequence[str]],
        buckets: tuple[float, ...] = (),
    ) -> None:
        known = {label: tuple(values) for label, values in labels.items()}
        family = Family(_PREFIX + name, kind, text, _unit(name), known, buckets)
        self.all.append(family)


class WithCamera(Collector):
    """A registry as it is scraped: every series has the label `camera`.

    The times of creation are left out: they would add a series to each counter and histogram, and
    a restart is told by `process_start_time_seconds`.
    """

    def __init__(self, registry: CollectorRegistry, camera: str) -> None:
        self._registry = registry
        self._camera = camera

    def collect(self) -> Iterator[Metric]:
        """Yield every metric with the camera's label."""
        for metric in self._registry.collect():
            shown = Metric(metric.name, metric.documentation, metric.type, metric.unit)
            shown.samples = list(self._labelled(metric))
            yield shown

    def _labelled(self, metric: Metric) -> Iterable[Sample]:
        created = f"{metric.name}_created"
        for sample in metric.samples:
            if sample.name != created:
                yield sample._replace(labels={"camera": self._camera, **sample.labels})


class CachedExposition:
    """A registry as text, made once a second at most, however many ask.

    Making it takes milliseconds of the event loop, which a few clients that ask without a pause
    would take from the analysis.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, registry: Collector, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._clock = clock
        self._made: dict[str, tuple[float, bytes]] = {}

    def newest(self, accept: str) -> tuple[bytes, str]:
        """Return the text in the format that an `Accept` header asks for, and its content type."""
        # What else clients may vary in the header must not have it made once more.
        encode, content_type = choose_encoder(_OPEN_METRICS if _asks_open_metrics(accept) else "")
        now = self._clock()
        made_at, text = self._made.get(content_type, (-math.inf, b""))
        if now - made_at >= _KEPT_S:
            text = encode(self._registry)
            self._made[content_type] = now, text
        return text, content_type


def _asks_open_metrics(accept: str) -> bool:
    for accepted in accept.split(","):
        media, *parameters = (part.strip().lower() for part in accepted.split(";"))
        versions = [p.partition("=")[2] for p in parameters if p.startswith("version=")]
        if media == "text/plain":
            return False
        if media == "application/openmetrics-text" and versions in ([], ["1.0.0"]):
            return True
    return False


def exemplar_of(camera: str, boot_id: str, track_id: int) -> dict[str, str] | None:
    """Return the exemplar that names a track, as logs and keys do; None if it would be too long."""
    track = f"{camera}-{boot_id}-{track_id}"
    return {"track": track} if len("track") + len(track) <= _MOST_EXEMPLAR_RUNES else None


def _unit(name: str) -> str:
    last = name.rsplit("_", 1)[-1]
    return last if last in _UNITS else ""


def _started(metric: _AnyMetric, labels: Mapping[str, Sequence[str]]) -> _AnyMetric:
    """Let the series of known labels exist from the start."""
    if labels and all(labels.values()):
        for values in product(*labels.values()):
            metric.labels(*values)
    return metric
