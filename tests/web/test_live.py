"""What the live page's view keeps, and what its streams send."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
import time
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgate.config import GateSection
from streamgate.values import Image, ReleaseReason, TrackDecision, TrackOutcome
from streamgate.web import live_page
from streamgate.web.figures import figure, limit_figure
from streamgate.web.live_pictures import LivePictures
from tests.builders import frame, scored
from tests.web.parts import Stage, served


def decision(outcome: TrackOutcome, **changed: Any) -> TrackDecision:
    values: dict[str, Any] = {
        "track_id": 1, "outcome": outcome, "reason": ReleaseReason.TRACK_ENDED,
        "first_seen_at": 0.0, "last_seen_at": 0.1, "first_seen_wall": 0.0, "last_seen_wall": 0.1,
        "decided_at": 2.0, "faces": 3, "scored": 2, "skipped": 0, "best_quality": 21.4,
        "best_raw": 1.0, "forwarded": 0, "visit": 1, "rejected": {"too_small": 2, "turned_away": 1},
    }  # fmt: skip
    return TrackDecision(**{**values, **changed})


def texts(stage: Stage) -> list[str]:
    return [event["text"] for event in stage.view.events()["events"]]


def test_nobody_looks_and_no_frame_is_kept() -> None:
    """Without a viewer frames pass by; with the last viewer they go."""
    stage = Stage()
    stage.show(1)
    assert stage.view.now()["frame"] is None
    stage.view.enter()
    stage.show(2)
    assert stage.view.now()["frame"]["index"] == 2
    kept = [stage.view.frame]
    key = stage.release()
    assert stage.view.shots[key].crop is not None
    stage.view.leave()
    kept.append(stage.view.frame)
    assert kept[0] is not None
    assert kept[1] is None
    assert stage.view.shots[key].crop is None
    assert stage.view.tracks[1].crop is None
    assert stage.view.now()["frame"] is None
    later = stage.release(2)
    assert stage.view.shots[later].crop is None
    assert stage.view.tracks[1].crop is None


def test_what_nobody_looks_at_costs_microseconds() -> None:
    """A frame costs the pipeline next to nothing while no page is open."""
    stage = Stage()
    shown, analysis = frame(1, 0.25), None
    rounds = []
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(1000):
            stage.view.analysed(shown, analysis)  # type: ignore[arg-type] # not to be looked at
        rounds.append((time.perf_counter() - started) / 1000)
    # Measured: 0.1 µs. Of twenty rounds one is undisturbed even on a loaded machine.
    assert min(rounds) < 5e-6


def test_everything_that_is_kept_is_bounded() -> None:
    """A day of faces, tracks and best shots leaves a page's worth."""
    stage = Stage()
    stage.view.enter()
    for index in range(400):
        stage.show(index, tracks=100)
        stage.view.now()
        stage.show(index, tracks=2, rejection="too_small")
    for number in range(400):
        stage.view.scored(scored(1, number / 4))
        stage.release(number)
    assert len(stage.view.tracks) <= 64
    assert len(stage.view.shots) == 60
    assert stage.view.frame is not None
    assert len(stage.view.events()["events"]) == 40
    assert len(stage.view.live_tracks()["tracks"]) == 8
    assert len(stage.view.tracks[1].points) <= 90


def test_without_leave_no_picture_is_kept() -> None:
    """Where pictures are off, neither frames nor crops are held; taking leave away drops them."""
    stage = Stage(show_pictures=False)
    stage.view.enter()
    stage.show(1)
    key = stage.release()
    assert stage.view.now()["faces"][0]["box"]
    assert stage.view.frame is None
    assert stage.view.shots[key].crop is None
    assert stage.view.tracks[1].crop is None

    stage = Stage()
    stage.view.enter()
    stage.show(1)
    stage.view.now()
    key = stage.release()
    stage.view.show_pictures(False)
    assert stage.view.frame is None
    assert stage.view.shots[key].crop is None
    assert stage.view.tracks[1].crop is None


def test_rejections_are_told_in_words_and_counted() -> None:
    """The same reason of one track is one line; another reason is another line."""
    stage = Stage()
    stage.view.enter()
    for index in range(5):
        stage.show(index, rejection="too_small")
    stage.show(5, rejection="turned_away")
    events = stage.view.events()
    assert [(event["text"], event["count"]) for event in events["events"]] == [
        ("Turned away", 1), ("Too small: 90 of 32 px", 5)
    ]  # fmt: skip
    assert events["tally"][0] == {"reason": "too small", "count": 5}
    assert stage.view.live_tracks()["tracks"][0]["rejection"] == "turned away"


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (TrackOutcome.BELOW_MIN_QUALITY, "Gone: best quality 21 of 30"),
        (TrackOutcome.TOO_YOUNG, "Gone after 0.1 of 0.2 s"),
        (TrackOutcome.ALL_REJECTED, "Gone: 3 faces, 2 too small"),
        (TrackOutcome.NOTHING_SCORED, "Gone: the scorer had no time for it"),
    ],
)
def test_a_track_that_gave_nothing_says_why(outcome: TrackOutcome, told: str) -> None:
    """Whoever sets the camera up reads what was missing."""
    stage = Stage()
    stage.view.scored(scored(1, 0.0))
    stage.view.decided(decision(outcome))
    assert texts(stage) == [told]
    assert not stage.view.tracks


def test_delivery_is_told_for_each_sink() -> None:
    """A best shot waits, fails and is delivered; one that left the outbox unsent was given up."""
    stage = Stage()
    key = stage.release()

    def state() -> str:
        return str(stage.view.best_shots()["shots"][0]["sinks"]["sink"])

    assert state() == "waiting"
    stage.view.delivered(key, "sink", "failing")
    assert state() == "failing"
    stage.held.clear()
    assert state() == "given up"
    stage.view.delivered(key, "sink", "delivered")
    assert state() == "delivered"
    stage.view.delivered("unknown", "sink", "delivered")


def test_scores_that_come_late_take_their_place() -> None:
    """The curve is in the order of capture, and holds the best face of each moment."""
    stage = Stage()
    for at, quality in ((1.0, 20.0), (3.0, 40.0), (2.0, 70.0), (2.08, 90.0), (2.0, 10.0)):
        stage.view.scored(scored(1, at, quality))
    (track,) = stage.view.live_tracks()["tracks"]
    assert track["points"] == [(0.0, 20.0), (1.1, 90.0), (2.0, 40.0)]
    assert (track["quality"], track["best"], track["age_s"]) == ("40", "90", 2.0)


def test_the_threshold_is_that_of_the_gate_now() -> None:
    """After a reload the page draws the new line."""
    stage = Stage()
    stage.gate = GateSection(min_quality=44, release_quality=80)
    tracks = stage.view.live_tracks()
    assert (tracks["min_quality"], tracks["wanted"], tracks["release"]) == (44, "44", "80")


async def read_events(answer: aiohttp.ClientResponse, count: int) -> dict[str, Any]:
    """Read so many events; return the last of each name."""
    found: dict[str, Any] = {}
    async for line in answer.content:
        if line.startswith(b"event: "):
            name = line[7:].decode().strip()
        if line.startswith(b"data: "):
            found[name] = json.loads(line[6:])
            count -= 1
        if count == 0:
            break
    return found


async def test_a_stream_tells_the_whole_state_and_then_what_changed() -> None:
    """A page that opens is told everything; after that only the parts that differ are sent."""
    stage = Stage()
    key = stage.release()
    async with (
        asyncio.timeout(30),
        served(stage) as url,
        aiohttp.ClientSession() as client,
        client.get(url + "/live/events") as answer,
    ):
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["Cache-Control"] == "no-store"
        first = await read_events(answer, 5)
        assert set(first) == {"now", "tracks", "shots", "events", "zones"}
        assert first["shots"]["shots"][0]["key"] == key
        stage.show(1)
        later = await read_events(answer, 2)
        assert set(later) == {"now", "tracks"}


async def test_further_pages_are_turned_away() -> None:
    """Beyond max_viewers a stream is refused, and a place that was left is free again."""
    stage = Stage(max_viewers=2)
    async with asyncio.timeout(30), served(stage) as url, aiohttp.ClientSession() as client:
        first = await client.get(url + "/live/events")
        second = await client.get(url + "/live/events")
        async with client.get(url + "/live/events") as third:
            assert third.status == 503
            assert third.headers["Retry-After"]
        first.close()
        while stage.view.viewers > 1:  # noqa: ASYNC110 - the server notices when it writes
            await asyncio.sleep(0.05)
        async with client.get(url + "/live/events") as third:
            assert third.status == 200
        second.close()


async def test_a_reader_that_never_reads_costs_one_buffer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While a page takes nothing, nothing is queued for it; in the end it is dropped."""
    monkeypatch.setattr(live_page, "_TICK_S", 0.0)
    monkeypatch.setattr(live_page, "_WRITE_TIMEOUT_S", 1.0)
    stage = Stage()
    for track in range(8):
        stage.release(track)
    made = 0
    state = stage.view.events

    def large() -> dict[str, Any]:
        nonlocal made
        made += 1
        return {**state(), "number": made, "padding": "x" * 20_000}

    monkeypatch.setattr(stage.view, "events", large)
    async with asyncio.timeout(60), served(stage) as url:
        reader = socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])))
        try:
            reader.sendall(b"GET /live/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while stage.view.viewers == 0:  # noqa: ASYNC110 - it is the server that counts
                await asyncio.sleep(0.01)
            while stage.view.viewers == 1:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
            stopped = made
            await asyncio.sleep(0.1)
            assert made == stopped
        finally:
            reader.close()
    # What the two systems' buffers took (some MB at most) and one buffer of the program.
    assert made * 20_000 < 16_000_000


async def test_pictures_are_made_on_demand_and_once() -> None:
    """Frames, crops and heat maps come as JPEG that nobody may keep; a heat map is drawn once."""
    stage = Stage()
    stage.view.enter()
    key = stage.release()
    stage.show(7)
    stage.view.now()
    async with served(stage) as url, aiohttp.ClientSession() as client:
        for address in (
            "/live/frame.jpg", "/live/track/1/25.jpg", f"/live/shot/{key}.jpg",
            f"/live/heat/{key}.jpg", f"/live/heat/{key}.jpg",
        ):  # fmt: skip
            async with client.get(url + address) as answer:
                assert answer.status == 200, address
                assert answer.content_type == "image/jpeg"
                assert answer.headers["Cache-Control"] == "no-store"
                assert (await answer.read())[:2] == b"\xff\xd8"
        assert stage.explained == 1
        for address in ("/live/track/9/1.jpg", "/live/shot/none.jpg"):
            async with client.get(url + address) as answer:
                assert answer.status == 404, address
        # Whoever asks late gets what is newest by then, and is told which it is.
        for index in range(8, 12):
            stage.show(index)
            stage.view.now()
        async with client.get(url + "/live/frame.jpg") as answer:
            assert answer.headers["X-Frame-Index"] == "11"
        stage.view.show_pictures(False)
        for address in ("/live/frame.jpg", f"/live/shot/{key}.jpg", f"/live/heat/{key}.jpg"):
            async with client.get(url + address) as answer:
                assert answer.status == 404, address


async def test_what_was_made_goes_when_pictures_are_forbidden() -> None:
    """No face stays in memory once nobody may see it, though somebody looks on."""
    stage = Stage()
    stage.view.enter()
    key = stage.release()
    pictures = LivePictures(stage.view)
    assert await pictures.shot(key) is not None
    assert len(pictures) == 1
    stage.view.show_pictures(False)
    assert len(pictures) == 0


@pytest.mark.parametrize("meanwhile", ["forbidden", "nobody looks"])
async def test_what_was_being_made_is_not_kept(meanwhile: str) -> None:
    """Pictures are forbidden, or the last viewer goes, while a heat map is drawn."""
    stage = Stage()
    stage.view.enter()
    key = stage.release()
    drawn = asyncio.Event()

    async def explain(crop: Image) -> Image:
        await drawn.wait()
        return crop

    stage.view.sources = dataclasses.replace(stage.view.sources, explain=explain)
    pictures = LivePictures(stage.view)
    asked = asyncio.create_task(pictures.heat(key))
    await asyncio.sleep(0)
    if meanwhile == "forbidden":
        stage.view.show_pictures(False)
    else:
        pictures.forget()
    drawn.set()
    assert (await asked is None) == (meanwhile == "forbidden")
    assert len(pictures) == 0


def test_figures_never_contradict_the_limit_beside_them() -> None:
    """39.6 of 40 is not 40."""
    assert figure(39.6, 40) == "39.6"
    assert figure(39.997, 40) == "39.997"
    assert figure(39.9999999, 40) == "39.9999"
    assert figure(39.2, 40) == "39"
    assert figure(40.0, 40) == "40"
    assert figure(71.4, 40) == "71"
    assert figure(0.6996, 0.7, digits=2) == "0.6996"
    assert figure(37.419, 37.4183) == "37.42"
    assert figure(37.41, 37.4183) == "37"
    assert (limit_figure(40.0), limit_figure(37.4183), limit_figure(0.7)) == ("40", "37.42", "0.7")


@given(st.floats(0, 100), st.floats(0, 100) | st.sampled_from([20.0, 40.0]), st.floats(-1e-3, 1e-3))
def test_a_figure_is_on_its_side_of_the_limit(value: float, limit: float, near: float) -> None:
    """Whatever the two are, and however near."""
    for shown in (value, limit + near, limit):
        told = float(figure(shown, limit))
        assert (told >= float(limit_figure(limit))) == (shown >= limit)
        assert abs(told - shown) <= 0.51


def test_a_quality_just_below_the_threshold_is_shown_as_below() -> None:
    """On the track, in its box, and in the words at its end."""
    stage = Stage()
    stage.gate = GateSection(min_quality=40)
    stage.view.enter()
    stage.view.scored(scored(1, 0.0, 39.6))
    stage.show(0)
    (track,) = stage.view.live_tracks()["tracks"]
    assert (track["best"], track["good"]) == ("39.6", False)
    (face,) = stage.view.now()["faces"]
    assert (face["quality"], face["good"]) == ("39.6", False)
    stage.view.decided(decision(TrackOutcome.BELOW_MIN_QUALITY, best_quality=39.6))
    assert texts(stage)[0] == "Gone: best quality 39.6 of 40"


async def test_every_answer_carries_the_strict_headers() -> None:
    """Also refusals and streams may not be framed, sniffed or kept, and run no foreign script."""
    stage = Stage(token="a token that is long enough")
    headers = {"Authorization": "Bearer a token that is long enough"}
    async with served(stage) as url, aiohttp.ClientSession() as client:
        for address in ("/", "/live.js", "/live/events", "/nowhere", "/healthz", "/metrics"):
            for sent in ({}, headers):
                async with client.get(url + address, headers=sent) as answer:
                    assert answer.headers["X-Content-Type-Options"] == "nosniff"
                    assert answer.headers["X-Frame-Options"] == "DENY"
                    assert answer.headers["Cache-Control"] == "no-store"
                    policy = answer.headers["Content-Security-Policy"]
                    assert "unsafe" not in policy
                    assert "frame-ancestors 'none'" in policy
