"""The decision on a track as one line of JSON: the same for a live camera and for a recording.

A line holds what the gate knew and the thresholds that it applied, so that the decision can be
reconstructed from it. It holds no picture and no embedding. `decision_record` is pure: equal
arguments give equal lines, to the byte.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Any, Literal, cast

from streamgate.config import GateSection, PrecheckSection, ZoneSection
from streamgate.config.profiles import DEFAULT_PROFILE
from streamgate.values import BestShot, TrackDecision

__all__ = [
    "DECISION_SCHEMA_NAME",
    "DECISION_SCHEMA_VERSION",
    "DecidedUnder",
    "ForwardedShot",
    "ShotState",
    "decision_line",
    "decision_record",
    "decision_schema",
    "forwarded_shot",
]

DECISION_SCHEMA_NAME = "streamgate.decision"
DECISION_SCHEMA_VERSION = 1

ShotState = Literal["accepted", "held", "dropped", "failed", "replayed"]
"""What became of a best shot when the gate released it.

`accepted`, `held` and `dropped` are those of `Acceptance`. `failed`: delivery raised an error.
`replayed`: the track is from a replayed recording, of which nothing is delivered.
"""


@dataclass(frozen=True, slots=True)
class DecidedUnder:
    """Which camera decided, and by which settings.

    Attributes:
        outbox: the kind of outbox that `accepted` refers to; None where there is none.
        sinks: names of the sinks that best shots go to.
        zones: of the camera.
        profile: whose settings these are.
    """

    camera: str
    boot_id: str
    model_hash: str
    config_hash: str
    gate: GateSection
    precheck: PrecheckSection
    outbox: str | None
    sinks: tuple[str, ...] = ()
    zones: tuple[ZoneSection, ...] = ()
    profile: str = DEFAULT_PROFILE


@dataclass(frozen=True, slots=True)
class ForwardedShot:
    """A best shot of a track, without its bytes; see `BestShot` for the fields."""

    key: str
    revision: int
    rank: int
    reason: str
    quality: float
    raw: float
    frame_index: int
    captured_wall: float
    decided_wall: float
    captured_at: float
    decided_at: float
    state: ShotState


def forwarded_shot(shot: BestShot, state: ShotState) -> ForwardedShot:
    """Return what the line says about a best shot, without its pictures."""
    candidate = shot.face.candidate
    return ForwardedShot(
        key=shot.key,
        revision=shot.revision,
        rank=shot.rank,
        reason=shot.reason.value,
        quality=float(shot.face.quality),
        raw=float(shot.face.raw),
        frame_index=candidate.frame_index,
        captured_wall=candidate.captured_wall,
        decided_wall=shot.decided_wall,
        captured_at=candidate.captured_at,
        decided_at=shot.decided_at,
        state=state,
    )


def decision_record(
    decision: TrackDecision, shots: Sequence[ForwardedShot], under: DecidedUnder
) -> dict[str, Any]:
    """Return the content of a line, ready for JSON; `shots` are those of this track, in order."""
    best = None
    if decision.best_quality is not None and decision.best_raw is not None:
        best = {"quality": float(decision.best_quality), "raw": float(decision.best_raw)}
    return {
        "schema": DECISION_SCHEMA_NAME,
        "schema_version": DECISION_SCHEMA_VERSION,
        "camera": under.camera,
        "boot_id": under.boot_id,
        "track_id": decision.track_id,
        "visit": decision.visit,
        "joins": [
            {
                "track_id": join.track_id,
                "similarity": round(float(join.similarity), 4),
                "reason": join.reason.value,
            }
            for join in decision.joins
        ],
        "zones": list(decision.zones),
        "outcome": decision.outcome.value,
        "reason": decision.reason.value,
        "first_seen_at": _utc(decision.first_seen_wall),
        "last_seen_at": _utc(decision.last_seen_wall),
        "monotonic_s": {
            "first_seen": decision.first_seen_at,
            "last_seen": decision.last_seen_at,
            "decided": decision.decided_at,
        },
        "age_s": decision.last_seen_at - decision.first_seen_at,
        "faces": decision.faces,
        "scored": decision.scored,
        "skipped": decision.skipped,
        "rejected": dict(sorted(decision.rejected.items())),
        "best": best,
        "forwarded": decision.forwarded,
        "shots": [_shot(shot) for shot in shots],
        "outbox": under.outbox,
        "sinks": list(under.sinks),
        "profile": under.profile,
        "gate": under.gate.model_dump(mode="json"),
        "precheck": under.precheck.model_dump(mode="json"),
        "watch_zones": {
            zone.name: zone.model_dump(mode="json", include={"min_quality", "min_size_px"})
            for zone in under.zones
            if zone.kind == "watch"
        },
        "model_hash": under.model_hash,
        "config_hash": under.config_hash,
    }


def decision_line(record: dict[str, Any]) -> bytes:
    """Return a record as one line of UTF-8 text, including the line break."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode() + b"\n"


def decision_schema() -> dict[str, Any]:
    """Return the JSON Schema of a line."""
    name = f"decision-v{DECISION_SCHEMA_VERSION}.schema.json"
    text = resources.files("streamgate.selection").joinpath(name).read_text(encoding="utf-8")
    return cast(dict[str, Any], json.loads(text))


def _shot(shot: ForwardedShot) -> dict[str, Any]:
    return {
        "key": shot.key,
        "revision": shot.revision,
        "rank": shot.rank,
        "reason": shot.reason,
        "quality": shot.quality,
        "raw": shot.raw,
        "frame_index": shot.frame_index,
        "captured_at": _utc(shot.captured_wall),
        "decided_at": _utc(shot.decided_wall),
        "monotonic_s": {"captured": shot.captured_at, "decided": shot.decided_at},
        "state": shot.state,
    }


def _utc(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
