"""From a frame to the faces in it that may be scored: detect, follow, check, align.

One object for the detection thread and for replay, so that both see the same faces.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from streamgate.config import CameraConfig, DetectorSection
from streamgate.faces.bystanders import ThoroughDetector, context_of
from streamgate.faces.detail import examine_closely
from streamgate.faces.looking import LookPolicy, Pause
from streamgate.faces.motion import GRID, MotionDetector
from streamgate.faces.track import FaceTracker
from streamgate.faces.zones import FaceZones
from streamgate.ports import Clock, FaceDetector
from streamgate.values import (
    Analysis,
    Candidate,
    Face,
    Frame,
    Image,
    LookReason,
    PassReason,
    SeenFace,
    TrackedFace,
)

__all__ = ["FaceAnalyser"]


class FaceAnalyser:
    """Finds, follows, checks and aligns the faces of one stream; implements `FrameAnalyser`.

    Args:
        every_frame: look at every frame whatever the settings say: recordings are judged whole.

    Attributes:
        pause: frames that need not be handed over now; any thread may read it.
    """

    def __init__(
        self,
        config: CameraConfig,
        detector: FaceDetector,
        tracker: FaceTracker,
        clock: Clock,
        *,
        every_frame: bool = False,
    ) -> None:
        self._detector = detector
        self._tracker = tracker
        self._clock = clock
        self._every_frame = every_frame
        self.static_tracks = 0
        self.pause: Pause | None = None
        self._motion = MotionDetector()
        self._policy = LookPolicy(self._looks(config))
        self._take(config)

    def adopt(self, config: CameraConfig) -> None:
        """Change the settings of prechecks, zones and tracker; live tracks continue.

        Call it on the thread that analyses.
        """
        self._take(config)
        self._tracker.adopt(config.tracker)
        self._policy.settings = self._looks(config)

    def _looks(self, config: CameraConfig) -> DetectorSection:
        if self._every_frame:
            return config.detector.model_copy(update={"look": "every_frame"})
        return config.detector

    def _take(self, config: CameraConfig) -> None:
        self.prechecks = config.precheck
        self.zones = FaceZones(config.zones)
        self._prechecks = self.zones.prechecks(config.precheck)
        self._most_faces = config.detector.max_faces
        self._context_margin = config.delivery.context_margin if config.delivery.context else None
        self._hides_bystanders = config.delivery.bystanders == "hide"

    def analyse(self, frame: Frame) -> Analysis:
        """Return what is seen in the next frame."""
        seconds: dict[str, float] = {}
        look = self._decide(frame)
        if isinstance(look, PassReason):
            self._pause_after(frame)
            return Analysis(frame.index, frame.captured_at, frame.captured_wall, (), (), look=look)
        image = frame.image
        with _timed(seconds, "detect"):
            detected, everywhere = self._detect(image)
            found, ignored = self.zones.split(detected, *frame.pixels.size)
        # Best first: a crowd costs no more than what was allowed for it.
        faces = found[: self._most_faces]
        detected_at = self._clock.monotonic()
        with _timed(seconds, "track"):
            update = self._tracker.update(faces, frame.captured_at)
        self._pause_after(frame)
        with _timed(seconds, "align"):
            seen = tuple(
                self._examine(frame, tracked, detected_at, everywhere) for tracked in update.tracked
            )
        return Analysis(
            frame_index=frame.index,
            captured_at=frame.captured_at,
            captured_wall=frame.captured_wall,
            faces=seen,
            ended=tuple(update.ended),
            seconds=seconds,
            began=tuple(update.began),
            confirmed=tuple(update.confirmed),
            dismissed=tuple(update.dismissed),
            look=look,
            surplus=len(found) - len(faces),
            ignored=ignored,
        )

    def _decide(self, frame: Frame) -> LookReason | PassReason:
        """Return why the frame is looked at, or why it is not."""
        following, moves = self._following, False
        if self._policy.settings.look != "every_frame":
            luma = self.zones.without_ignored(frame.pixels.luma(*GRID))
            moves = self._motion.moves(luma, frame.captured_at, people=following > 0)
        return self._policy.decide(
            frame.captured_at, moves=moves, tracks=following, newest_at=self._tracker.newest_at
        )

    def _pause_after(self, frame: Frame) -> None:
        self.pause = self._policy.pause(
            frame.captured_at, tracks=self._following, newest_at=self._tracker.newest_at
        )

    @property
    def _following(self) -> int:
        # A picture on the wall need not be watched.
        return max(0, self._tracker.following - self.static_tracks)

    def flush(self) -> None:
        """Forget every live track: what comes next is another stream."""
        self._tracker.flush()
        self._policy.reset()
        self.pause = None
        self._motion = MotionDetector()

    def _detect(self, image: Image) -> tuple[Sequence[Face], Sequence[Face] | None]:
        """Return the faces, and all that a context picture must not show of others."""
        if self._context_margin is None or not self._hides_bystanders:
            return self._detector.detect(image), None
        if isinstance(self._detector, ThoroughDetector):
            return self._detector.detect_all(image)
        found = self._detector.detect(image)
        return found, found

    def _examine(
        self,
        frame: Frame,
        tracked: TrackedFace,
        detected_at: float,
        everywhere: Sequence[Face] | None,
    ) -> SeenFace:
        zone = self.zones.watched(tracked.face, *frame.pixels.size)
        found = examine_closely(frame, tracked.face, self._prechecks[zone], self._detector)
        if found.rejection is not None or found.crop is None or found.measures is None:
            return SeenFace(tracked, None, str(found.rejection), zone)
        context, context_at = None, (0, 0)
        if self._context_margin is not None:
            context, context_at = context_of(
                frame.image, tracked.face, self._context_margin, everywhere
            )
        candidate = Candidate(
            tracked=tracked,
            measures=found.measures,
            crop=found.crop,
            context=context,
            frame_index=frame.index,
            captured_at=frame.captured_at,
            captured_wall=frame.captured_wall,
            decoded_at=frame.decoded_at,
            detected_at=detected_at,
            zone=zone,
            context_at=context_at,
        )
        return SeenFace(tracked, candidate, None, zone)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = time.perf_counter() - started
