"""The live page's application without a camera behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from aiohttp import web

from streamgate.config import GateSection, PrecheckSection, WebSection, ZoneSection
from streamgate.pipeline import SystemClock
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Analysis, BestShot, Image, ReleaseReason, SeenFace
from streamgate.web.app import Health, build_app, serve
from streamgate.web.auth import Guard
from streamgate.web.connections import Limits
from streamgate.web.live import LiveSources, LiveView
from streamgate.web.live_page import add_live_routes
from streamgate.web.zones import ZoneStore, add_zone_routes
from tests.builders import candidate, frame, scored

TOKEN = "a token that is long enough"


class Stage:
    """A live view, what it looks things up in, and the application that shows it."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        zones: Sequence[ZoneSection] = (),
        store: ZoneStore | None = None,
        **settings: Any,
    ) -> None:
        self.limits = limits
        data = {"port": 0, "show_pictures": True, **settings}
        self.settings = WebSection.model_validate(data)
        self.gate = GateSection()
        self.held: set[str] = set()
        self.explained = 0
        self.zones = tuple(zones)
        self.store = store
        sources = LiveSources(
            gate=lambda: self.gate,
            prechecks=PrecheckSection,
            sinks=lambda: ["sink"],
            holds=self.held.__contains__,
            explain=self.explain,
            explains="It shows the block4 score.",
            zones=lambda: self.zones,
        )
        self.view = LiveView(self.settings, sources, SystemClock())
        self.guard = Guard(self.settings, "door")
        self.health = Health("door", 0.1, ready=True, alive=True, detail="frames arrive")
        self.app = self.build()

    async def explain(self, crop: Image) -> Image:
        self.explained += 1
        return crop

    def build(self) -> web.Application:
        app = build_app(
            Metrics("door"),
            lambda: self.health,
            guard=self.guard,
            protect_metrics=self.settings.protect_metrics,
            limits=self.limits,
        )
        add_live_routes(
            app, self.view, guard=self.guard, settings=self.settings, health=lambda: self.health
        )
        add_zone_routes(app, guard=self.guard, zones=lambda: self.zones, store=self.store)
        return app

    def show(self, index: int = 0, *, tracks: int = 1, rejection: str | None = None) -> None:
        """Show a frame with a face of each track."""
        at = index / 4
        image = np.full((36, 64, 3), index % 256, np.uint8)
        faces = [candidate(track, at) for track in range(1, tracks + 1)]
        seen = tuple(
            SeenFace(face.tracked, None if rejection else face, rejection) for face in faces
        )
        self.view.analysed(
            frame(index, at, image=image), Analysis(index, at, at, seen, (), {"detect": 0.01})
        )

    def release(self, track: int = 1, quality: float = 70.0) -> str:
        """Let a best shot of a track through; return its key."""
        face = scored(track, 1.0, quality)
        self.view.scored(face)
        shot = BestShot(
            camera="door", boot_id="b00t", revision=1, rank=1, reason=ReleaseReason.TRACK_ENDED,
            face=face, decided_at=2.0, decided_wall=2.0, model_hash="m", config_hash="c",
            visit=track,
        )  # fmt: skip
        self.held.add(shot.key)
        self.view.released(shot)
        return shot.key


@asynccontextmanager
async def served(stage: Stage) -> AsyncIterator[str]:
    """Serve a stage on a free port; yields its address."""
    async with serve(stage.app, stage.settings) as port:
        yield f"http://127.0.0.1:{port}"
