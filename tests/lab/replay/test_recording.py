"""A video becomes a table: each fit face scored once, in batches of its order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamgate.errors import ScoreError, SourceError
from streamgate.lab.replay.prefetch import DetectionPrefetch
from streamgate.lab.replay.recording import Recorder, VideoClock
from streamgate.sources.record import write_video
from streamgate.values import Analysis, Face, Frame, Image, Scores, SeenFace
from tests.builders import candidate
from tests.sources.viewer import SystemClock

RATE = 10
FRAMES = 7
BATCH = 4


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven grey pictures, each brighter than the one before."""
    path = tmp_path_factory.mktemp("films") / "grey.mkv"
    write_video(path, (np.full((48, 64, 3), 30 * n, np.uint8) for n in range(FRAMES)), RATE)
    return path


class Detector:
    def detect(self, _image: Image) -> Sequence[Face]:
        return ()


@dataclass
class Analyser:
    """Two tracks in each frame; the second is rejected in every odd one and ends at the fifth."""

    prefetch: DetectionPrefetch
    clock: VideoClock
    frames: list[Frame] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)
    static_tracks: int = 0

    def analyse(self, frame: Frame) -> Analysis:
        self.prefetch.detect(frame.image)
        self.frames.append(frame)
        self.shown.append(self.clock.monotonic())
        at, index = frame.captured_at, frame.index
        first = candidate(1, at, crop=np.full((112, 112, 3), index, np.uint8), index=index)
        second = candidate(2, at, crop=np.full((112, 112, 3), 100 + index, np.uint8), index=index)
        faces = [SeenFace(first.tracked, first, None)]
        if index < 5:
            fit = index % 2 == 0
            faces.append(
                SeenFace(second.tracked, second if fit else None, None if fit else "blurred")
            )
        ended = (2,) if index == 5 else ()
        return Analysis(index, at, frame.captured_wall, tuple(faces), ended)

    def flush(self) -> None: ...


@dataclass
class Scorer:
    """The brighter, the better."""

    batches: list[list[int]] = field(default_factory=list)
    fails: bool = False
    batch_size = BATCH
    model_hash = "m" * 64

    async def score(self, crops: NDArray[np.uint8]) -> Scores:
        if self.fails:
            raise ScoreError("the device failed while scoring")
        values = [int(crop[0, 0, 0]) for crop in crops]
        self.batches.append(values)
        raw = np.array(values, np.float64)
        return Scores(1 / (1 + raw), raw, np.tile(np.array([1, 0], np.float32), (len(values), 1)))


@asynccontextmanager
async def made(
    scorer: Scorer, clock: VideoClock, analysers: list[Analyser], **more: object
) -> AsyncIterator[Recorder]:
    with ThreadPoolExecutor(1) as detection, DetectionPrefetch(Detector, 2) as prefetch:
        analysers.append(Analyser(prefetch, clock))
        yield Recorder(analysers[0], prefetch, detection, scorer, clock=clock, **more)  # type: ignore[arg-type] # as the test says


async def test_every_fit_face_is_scored_once_in_full_batches(film: Path) -> None:
    """In the order of the frames and of the faces in them; the last batch is what is left."""
    scorer = Scorer()
    async with made(scorer, VideoClock(), []) as recorder:
        table = await recorder.record(film, SystemClock())
    assert scorer.batches == [[0, 100, 1, 2], [102, 3, 4, 104], [5, 6]]
    assert [(m.index, m.ended) for m in table.moments] == [(i, (2,) * (i == 5)) for i in range(7)]
    qualities = {
        track: [None if seen.face is None else seen.face.quality for seen in faces]
        for track, faces in table.tracks.items()
    }
    assert qualities == {1: [0, 1, 2, 3, 4, 5, 6], 2: [100, None, 102, None, 104]}
    assert [seen.rejection for seen in table.tracks[2]] == [None, "blurred", None, "blurred", None]


async def test_times_are_those_of_the_file_alone(film: Path) -> None:
    """Also the wall clock's, and what the analyser reads from its clock."""
    analysers: list[Analyser] = []
    told: list[float] = []
    async with made(Scorer(), VideoClock(), analysers, on_frame=told.append) as recorder:
        table = await recorder.record(film, SystemClock())
    expected = pytest.approx([n / RATE for n in range(FRAMES)])
    assert [moment.at for moment in table.moments] == expected
    assert [frame.captured_wall for frame in analysers[0].frames] == expected
    assert [frame.decoded_at for frame in analysers[0].frames] == expected
    assert analysers[0].shown == expected
    assert told == expected


async def test_crops_are_kept_as_pictures_only(film: Path) -> None:
    """As JPEG files: an hour of crops would not fit into memory."""
    async with made(Scorer(), VideoClock(), []) as recorder:
        table = await recorder.record(film, SystemClock())
    for index, seen in enumerate(table.tracks[1]):
        assert seen.face is not None
        assert seen.face.candidate.crop.image.size == 0
        picture = cv2.imdecode(np.frombuffer(seen.picture, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert np.abs(picture.astype(int) - index).max() <= 3


async def test_an_independent_recogniser_sees_the_same_batches(film: Path) -> None:
    """Its embeddings lie beside the scoring network's."""

    def embed(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.stack([np.array([crop[0, 0, 0], 1], np.float32) for crop in crops])

    async with made(Scorer(), VideoClock(), [], embedder=embed) as recorder:
        table = await recorder.record(film, SystemClock())
    assert [seen.embedding.tolist() for seen in table.tracks[1]] == [[n, 1] for n in range(FRAMES)]
    assert table.tracks[2][1].embedding.size == 0


async def test_what_cannot_be_read_is_told_as_such(tmp_path: Path) -> None:
    """By the source's own error, with the file's name."""
    path = tmp_path / "none.mkv"
    path.write_bytes(b"no video")
    async with made(Scorer(), VideoClock(), []) as recorder:
        with pytest.raises(SourceError, match=r"none\.mkv"):
            await recorder.record(path, SystemClock())


async def test_a_scorer_that_fails_ends_the_recording(film: Path) -> None:
    """With what it says."""
    async with made(Scorer(fails=True), VideoClock(), []) as recorder:
        with pytest.raises(ScoreError, match="device failed"):
            await recorder.record(film, SystemClock())


async def test_a_video_without_faces_is_an_empty_table(film: Path) -> None:
    """Each frame is there, and the scorer is never asked."""

    class Empty(Analyser):
        def analyse(self, frame: Frame) -> Analysis:
            self.prefetch.detect(frame.image)
            return Analysis(frame.index, frame.captured_at, frame.captured_wall, (), ())

    scorer, clock = Scorer(), VideoClock()
    with ThreadPoolExecutor(1) as detection, DetectionPrefetch(Detector, 2) as prefetch:
        recorder = Recorder(Empty(prefetch, clock), prefetch, detection, scorer, clock=clock)
        table = await recorder.record(film, SystemClock())
    assert (len(table.moments), table.tracks, scorer.batches) == (FRAMES, {}, [])
