"""A camera, its daemon, Prometheus and Alertmanager, and one fault after another.

The rules are those of the fleet with short windows: a day takes 15 seconds, or a minute where the
machine is so busy that the daemon was slow to start.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import needs
from tests.dashboards.faults import Daemon, Link, Receiver
from tests.dashboards.films import film
from tests.servers.prometheus import Alertmanager, Inbox, Prometheus, until
from tests.servers.rtsp import RtspServer
from tools.monitoring.__main__ import rules_text
from tools.monitoring.timing import Timing

__all__ = ["FAULTS", "Fault", "Scene", "play"]

START_S = 300.0
PATIENCE_S = 90.0
_BRISK_START_S = 15.0
_SLOWEST = 4
EXAMPLE = needs.ROOT / "dashboards" / "alertmanager.yml"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done, the alerts that it must raise, and how it is undone.

    Attributes:
        inhibited: alerts that Alertmanager must keep back, because another one says more.
    """

    name: str
    make: Callable[[Scene], None]
    mend: Callable[[Scene], None]
    alerts: frozenset[str]
    inhibited: frozenset[str] = frozenset()


@dataclass(slots=True)
class Scene:
    """Everything that takes part, and what came of each fault.

    Attributes:
        quiet: alerts that fired while nothing was wrong.
        troubles: what went wrong in the test of a fault, by its name.
        took_s: how long each alert took to fire and to clear, by its name.
    """

    camera: RtspServer
    link: Link
    receiver: Receiver
    daemon: Daemon
    inbox: Inbox
    prometheus: Prometheus
    films: dict[str, Path]
    config: dict[str, Any]
    pace: int
    quiet: set[str] = field(default_factory=set)
    troubles: dict[str, str] = field(default_factory=dict)
    took_s: dict[str, tuple[float, float]] = field(default_factory=dict)
    told: dict[str, dict[str, Any]] = field(default_factory=dict)

    def show(self, name: str) -> None:
        """Let the camera show another film."""
        self.camera.restart(self.films[name])

    def show_after_days(self, name: str) -> None:
        """Show another film once it is known what is usual at this hour."""
        usual = "camera:streamgate_faces_detected:usual_increase_hour > 50"
        until(lambda: bool(self.prometheus.query(usual)), "three days", timeout_s=PATIENCE_S * 3)
        self.show(name)

    def reload(self, config: dict[str, Any]) -> None:
        """Change the daemon's file and let it be read."""
        self.daemon.configure(config)
        self.daemon.signal(signal.SIGHUP)


def _alerts(*names: str) -> frozenset[str]:
    return frozenset(f"Streamgate{name}" for name in names)


FAULTS = (
    Fault(
        "the sink is down",
        lambda scene: scene.receiver.stop(),
        lambda scene: scene.receiver.start(),
        _alerts("DeliveryFailing", "OutboxGrowing", "ShotsLost"),
        inhibited=_alerts("OutboxGrowing"),
    ),
    Fault(
        "the sink chokes on some",
        lambda scene: setattr(scene.receiver, "chokes", True),
        lambda scene: setattr(scene.receiver, "chokes", False),
        _alerts("DeadLetters"),
    ),
    Fault(
        "the network is slow",
        lambda scene: setattr(scene.link, "delay_s", 4.0),
        lambda scene: setattr(scene.link, "delay_s", 0.0),
        _alerts("Late"),
    ),
    Fault(
        "the lens is out of focus",
        lambda scene: scene.show("blurred"),
        lambda scene: scene.show("sharp"),
        _alerts("QualityDrift", "NothingUsable"),
    ),
    Fault(
        "the picture is frozen and shows nobody",
        lambda scene: scene.show_after_days("frozen"),
        lambda scene: scene.show("sharp"),
        _alerts("PictureFrozen", "NoFaces"),
    ),
    Fault(
        "the configuration is broken",
        lambda scene: scene.reload({"camera": {"name": "door"}}),
        lambda scene: scene.reload(scene.config),
        _alerts("ReloadRefused"),
    ),
    Fault(
        "the camera is off",
        lambda scene: scene.camera.kill(),
        lambda scene: scene.camera.restart(),
        _alerts("CameraDown"),
    ),
    Fault(
        "the daemon is killed",
        lambda scene: scene.daemon.kill(),
        lambda scene: scene.daemon.start(),
        _alerts("Down"),
    ),
)
# Whether the films' faces are like the reference depends on the weights: promtool's cases try it.
STANDING = _alerts("CalibrationUnlike")
# Other work on the machine can bring these about; they are waited for where they are meant.
_BUSY_MACHINE = _alerts("Late", "ScorerSaturated")


def _short(pace: int) -> Timing:
    # A camera that shows another film is away for four seconds; that is not to be told.
    return Timing(
        window_s=6 * pace, trend_s=8 * pace, hour_s=15 * pace, day_s=15 * pace, week_s=105 * pace,
        at_once_s=8 * pace, soon_s=2 * pace, later_s=2 * pace, long_s=3 * pace,
    )  # fmt: skip


@contextmanager
def play(folder: Path, faults: Sequence[Fault] = FAULTS) -> Iterator[Scene]:
    """Set everything up, make each fault and mend it; what came of it is in the scene."""
    films = {
        "sharp": film(folder / "sharp.mkv"),
        "blurred": film(folder / "blurred.mkv", blur=True),
        "frozen": film(folder / "frozen.mkv", people=0, frozen=True),
    }
    with ExitStack() as stack:
        camera = stack.enter_context(RtspServer(films["sharp"]))
        link = stack.enter_context(Link(camera.port))
        receiver = stack.enter_context(Receiver())
        config = _config(link, receiver)
        daemon = stack.enter_context(Daemon(folder, config))
        inbox = stack.enter_context(Inbox())
        alertmanager = stack.enter_context(Alertmanager(folder, EXAMPLE, inbox))
        took_s = until(daemon.is_ready, "frames arrive", timeout_s=START_S)
        pace = min(_SLOWEST, 1 + int(took_s / _BRISK_START_S))
        prometheus = stack.enter_context(
            Prometheus(
                folder,
                targets=[daemon.address],
                rules=rules_text(_short(pace)),
                alertmanager=alertmanager,
                interval_s=pace,
            )
        )
        scene = Scene(camera, link, receiver, daemon, inbox, prometheus, films, config, pace)
        scene.config = {**config, "web": {"port": daemon.port}}
        decline = "camera:streamgate_quality_decline:usual >= 0"
        until(lambda: bool(prometheus.query(decline)), "faces are scored", timeout_s=START_S)
        scene.quiet = prometheus.firing() - _BUSY_MACHINE
        for fault in faults:
            try:
                _make_and_mend(scene, fault)
            except AssertionError as error:
                scene.troubles[fault.name] = str(error)
        yield scene


def _make_and_mend(scene: Scene, fault: Fault) -> None:
    told = fault.alerts - fault.inhibited
    patience_s = PATIENCE_S * scene.pace
    fired_s: dict[str, float] = {}
    try:
        fault.make(scene)
        for name in sorted(fault.alerts):
            fired_s[name] = until(
                lambda name=name: name in scene.prometheus.firing(),  # type: ignore[misc] # bound now
                f"{name} fires",
                timeout_s=patience_s,
            )
        for name in sorted(told):
            until(
                lambda name=name: scene.inbox.states.get(name) == "firing",  # type: ignore[misc] # bound now
                f"somebody is told of {name}",
                timeout_s=patience_s,
            )
            scene.told[name] = scene.inbox.alerts[name]
        kept_back = fault.inhibited & scene.inbox.states.keys()
        assert not kept_back, f"{kept_back} should have been kept back"
    finally:
        fault.mend(scene)
    cleared_s = until(
        lambda: not (fault.alerts & scene.prometheus.firing()),
        f"{set(fault.alerts)} clear",
        timeout_s=patience_s,
    )
    until(
        lambda: all(scene.inbox.states.get(name) == "resolved" for name in told),
        f"somebody is told that {set(told)} are over",
        timeout_s=patience_s,
    )
    # The next fault must not meet the echo of this one.
    until(
        lambda: scene.prometheus.firing() <= STANDING | _BUSY_MACHINE,
        "all else is quiet again",
        timeout_s=patience_s,
    )
    scene.took_s |= {name: (fired_s[name], cleared_s) for name in fault.alerts}


def _config(link: Link, receiver: Receiver) -> dict[str, Any]:
    return {
        "camera": {"name": "door"},
        "source": {
            "kind": "rtsp",
            "url": f"rtsp://127.0.0.1:{link.port}/camera",
            "read_timeout_s": 15,
            "reconnect": {"initial_s": 0.2, "max_s": 1},
        },
        "detector": {"max_side_px": 320},
        "tracker": {"max_gap_s": 0.3},
        "quality": {
            "score_share": 1.0,
            "batch_size": 2,
            "drift": {"window_s": 10, "least_tracks": 10, "most_tracks": 10},
        },
        "gate": {"min_quality": 0, "min_age_s": 0, "release_quality": 95, "visit_s": 0},
        "delivery": {
            "sinks": [{"kind": "http", "url": f"http://127.0.0.1:{receiver.port}/faces"}],
            "outbox": {"kind": "memory", "max_shots": 16},
            "retry": {"initial_s": 0.2, "max_s": 1, "max_refusals": 1},
        },
        "log": {"format": "json"},
    }
