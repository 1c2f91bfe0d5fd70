"""Publishing by WHIP, over HTTP, with a publisher made of aiortc."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import cv2
import pytest
from structlog.testing import capture_logs
from yarl import URL

from streamgate.sources.webrtc.peer import PeerEnd
from tests.servers.rtsp import read_stamp
from tests.servers.tls import Authority
from tests.sources.clips import picture
from tests.sources.viewer import reach, until, value
from tests.sources.webrtc.ingest import SDP, TOKEN, Ingest, Publisher, ingest, offer_of
from tests.sources.webrtc.tracks import FileTrack

pytestmark = pytest.mark.live

TRICKLE = "application/trickle-ice-sdpfrag"


def vp9_only(offer: str) -> str:
    """Turn every codec of an offer into VP9."""
    return offer.replace(" VP8/90000", " VP9/90000").replace(" H264/90000", " VP9/90000")


async def patch(target: Ingest, session: URL | str, body: str, **headers: str) -> int:
    sent = {"Content-Type": TRICKLE, "Authorization": f"Bearer {TOKEN}", **headers}
    url = target.url.join(URL(str(session)))
    async with target.http.patch(url, data=body, headers=sent) as response:
        return response.status


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_a_publisher_is_seen_with_the_time_of_capture(clip: Path, codec: str) -> None:
    """Pictures of both codecs come, timed to 0.25 s, and DELETE ends the stream as an end."""
    async with ingest() as target:
        async with Publisher(target, FileTrack(clip, stamp_time=True), codec=codec):
            frames = await target.viewer.frames(25)
            assert value(target.metrics, "webrtc_state", state="live") == 1
            assert value(target.metrics, "source_up") == 1
            await reach(target.metrics, "webrtc_received_bytes_total", 1)
        lost = await target.viewer.discontinuity()
        assert (lost.reason, lost.ended) == ("deleted", True)
        assert value(target.metrics, "webrtc_state", state="waiting") == 1
    errors = [frame.captured_at - read_stamp(frame.image) for frame in frames]
    assert -0.1 < min(errors) <= max(errors) < 0.25


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_a_picture_that_stands_still_is_told(
    tmp_path: Path, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the encoder makes of one picture again and again is frozen; no picture is not."""
    monkeypatch.setattr("streamgate.sources.frames.FROZEN_S", 3.0)
    still = tmp_path / "still.png"
    cv2.imwrite(str(still), picture(7))
    async with ingest() as target:
        async with Publisher(target, FileTrack(still), codec=codec):
            await target.viewer.frames(2)
            await reach(target.metrics, "source_frozen", 1)
            assert value(target.metrics, "source_faults_total", reason="frozen") == 1
        await target.viewer.discontinuity()
        assert value(target.metrics, "source_frozen") == 0


async def test_the_answer_is_what_the_rfc_asks_for(clip: Path) -> None:
    """201 with Location, ETag, Accept-Patch and the STUN servers, never TURN's credentials."""
    servers = (
        {"url": "stun:192.0.2.1:3478"},
        {"url": "turn:192.0.2.1:3478", "username": "u", "credential": "turn-secret"},
    )
    async with ingest(ice_servers=servers[:1]) as target:
        response = await target.post(await offer_of("video"))
        assert response.status == 201
        assert response.content_type == "application/sdp"
        assert response.headers["Location"].startswith("/whip/")
        assert response.headers["ETag"].startswith('"')
        assert response.headers["Accept-Patch"] == TRICKLE
        assert response.headers["Link"] == '<stun:192.0.2.1:3478>; rel="ice-server"'
        answer = await response.text()
        assert "a=recvonly" in answer
        assert "x-google-start-bitrate=2000" in answer
    async with (
        ingest(ice_servers=servers) as target,
        target.http.options(target.url) as response,
    ):
        assert response.headers["Accept-Post"] == "application/sdp"
        assert "turn" not in str(response.headers)


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        ("Bearer wrong", 401),
        ("Bearer ", 401),
        (f"Basic {TOKEN}", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"bearer {TOKEN}", 400),
    ],
)
async def test_only_the_token_opens(authorization: str | None, status: int) -> None:
    """Anything but the token is 401 with a challenge; the scheme's case does not matter."""
    async with ingest() as target:
        headers = SDP if authorization is None else {**SDP, "Authorization": authorization}
        async with target.http.post(target.url, data="garbage", headers=headers) as response:
            assert response.status == status
            assert (response.headers.get("WWW-Authenticate") is not None) == (status == 401)
        assert value(target.metrics, "webrtc_state", state="waiting") == 1


async def test_what_cannot_be_answered_is_told_apart() -> None:
    """Garbage is 400, what is not supported 422, each with a reason; nothing stays open."""
    video = await offer_of("video")
    cases: list[tuple[str | bytes, int, str]] = [
        ("", 400, "not an offer"),
        ("garbage", 400, "offer"),
        ("v=0\r\n", 400, "offer"),
        (b"v=0\xff\xfe", 400, "UTF-8"),
        (video.replace("a=fingerprint", "a=finger"), 400, "fingerprint"),
        (video.replace("a=ice-pwd", "a=ice"), 400, "ice-pwd"),
        (video.replace("a=rtcp-mux", "a=x"), 400, "rtcp-mux"),
        (await offer_of("audio"), 422, "no video"),
        (vp9_only(video), 422, "no video codec in common"),
        (video.replace("a=sendonly", "a=recvonly"), 422, "sends no video"),
        (video + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n", 422, "application"),
    ]
    async with ingest() as target:
        for body, status, reason in cases:
            response = await target.post(body)
            detail = (await response.json(content_type="application/problem+json"))["detail"]
            assert (response.status, reason in detail) == (status, True), (body, detail)
        assert "webrtc-decoder" not in {thread.name for thread in threading.enumerate()}
        assert value(target.metrics, "whip_requests_total", method="POST", status="422") == 4


async def test_sizes_types_and_time_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """413 for what is too large, 415 for another type, 408 for what does not come."""
    monkeypatch.setattr("streamgate.web.whip._BODY_TIMEOUT_S", 0.2)

    async def trickle() -> Any:
        yield b"v=0"
        await asyncio.sleep(30)

    async with ingest(max_offer_bytes=4096) as target:
        assert (await target.post("v" * 4097)).status == 413
        other = await target.post("v=0", Content_Type="text/plain")
        assert (other.status, other.headers["Accept-Post"]) == (415, "application/sdp")
        sent = {**SDP, "Authorization": f"Bearer {TOKEN}"}
        async with target.http.post(target.url, data=trickle(), headers=sent) as slow:
            assert slow.status == 408
        async with target.http.get(target.url) as wrong:
            assert (wrong.status, wrong.headers["Allow"]) == (405, "OPTIONS,POST")


async def test_a_second_publisher_is_refused(clip: Path) -> None:
    """409 while the first is there, even half open; its place is free when it has gone."""
    async with ingest() as target:
        async with Publisher(target, FileTrack(clip)):
            await target.viewer.frames(2)
            assert (await target.post(await offer_of("video"))).status == 409
        async with Publisher(target, FileTrack(clip)):
            await target.viewer.frames(2)


async def test_a_second_publisher_takes_over_when_it_is_connected(
    clip: Path, small_clip: Path
) -> None:
    """An offer alone replaces nobody; a connection does, and the pictures are the second's."""
    async with ingest(on_conflict="takeover") as target:
        async with Publisher(target, FileTrack(clip)):
            await target.viewer.frames(2)
            assert (await target.post(await offer_of("video"))).status == 201
            before = (await target.viewer.frames(5))[-1]
            assert before.image.shape[0] == 360
            async with Publisher(target, FileTrack(small_clip)):
                lost = await target.viewer.discontinuity()
                (after,) = await target.viewer.frames(1)
        assert (lost.reason, after.image.shape[0]) == ("replaced", 240)
        assert after.connection == before.connection + 1


async def test_a_session_is_patched_under_its_entity_tag(clip: Path) -> None:
    """Candidates are taken with the right ETag; a restart is 422, as the RFC has it."""
    async with ingest() as target, Publisher(target, FileTrack(clip)) as publisher:
        assert publisher.session is not None
        tag, session = publisher.entity_tag, publisher.session
        candidate = "a=candidate:1 1 udp 2130706431 192.0.2.7 5000 typ host\r\n"
        assert await patch(target, session, candidate, **{"If-Match": tag}) == 204
        assert await patch(target, session, candidate) == 428
        assert await patch(target, session, candidate, **{"If-Match": '"other"'}) == 412
        assert await patch(target, session, "nonsense", **{"If-Match": tag}) == 400
        restart = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
        assert await patch(target, session, restart, **{"If-Match": "*"}) == 422
        many = candidate * 65
        assert await patch(target, session, many, **{"If-Match": tag}) == 422
        assert await patch(target, "/whip/unknown", candidate, **{"If-Match": tag}) == 404
        assert await patch(target, session, candidate, **{"Content-Type": "text/plain"}) == 415
        await target.viewer.frames(2)
        assert await publisher.delete() == 200
        assert await publisher.delete() == 404


async def test_trickled_candidates_connect(clip: Path) -> None:
    """An offer without candidates connects by those that are patched in afterwards."""
    async with ingest() as target:
        publisher = Publisher(target, FileTrack(clip))
        sdp = await publisher._offer()
        lines = sdp.split("\r\n")
        late = [x for x in lines if x.startswith(("a=candidate", "a=end-of-candidates"))]
        response = await target.post("\r\n".join(x for x in lines if x not in late))
        publisher.session = response.url.join(URL(response.headers["Location"]))
        await publisher.connection.setRemoteDescription(
            type(publisher.connection.localDescription)(await response.text(), "answer")
        )
        headers = {"If-Match": response.headers["ETag"]}
        fragment = "\r\n".join([*dict.fromkeys(late), ""])
        assert await patch(target, publisher.session, fragment, **headers) == 204
        await target.viewer.frames(2)
        await publisher.__aexit__()


async def test_other_origins_publish_where_they_are_allowed() -> None:
    """CORS headers go to allowed origins alone; others get 403 and no leave to read."""
    async with ingest(allowed_origins=("https://app.example",)) as target:
        for origin, status in (("https://app.example", 400), ("https://evil.example", 403)):
            response = await target.post("garbage", Origin=origin)
            allowed = response.headers.get("Access-Control-Allow-Origin")
            assert (response.status, allowed) == (status, origin if status == 400 else None)
            async with target.http.options(target.url, headers={"Origin": origin}) as preflight:
                assert preflight.status == 204
                assert ("Access-Control-Allow-Methods" in preflight.headers) == (status == 400)
        own = await target.post("garbage", Origin=str(target.url.origin()))
        assert own.status == 400


async def test_an_origin_that_is_no_address_is_refused() -> None:
    """Headers that cannot be parsed are refused like any other stranger's."""
    async with ingest(token=None) as target:
        assert (await target.post("garbage", token=None, Origin="http://[")).status == 403
        assert (await target.post("garbage", token=None, Host="[::1")).status == 403


async def test_tls_is_spoken_with_the_given_certificate(clip: Path, tmp_path: Path) -> None:
    """Off this machine browsers give cameras to HTTPS only: the endpoint works behind it."""
    authority = Authority(tmp_path / "ca")
    certificate = authority.certificate("127.0.0.1")
    web = {"cert_file": certificate, "key_file": certificate}
    async with ingest(web, ca_file=authority.ca_file) as target:
        assert target.url.scheme == "https"
        async with Publisher(target, FileTrack(clip)):
            await target.viewer.frames(1)


async def test_without_a_token_only_this_machine_publishes() -> None:
    """A page whose own name leads here (DNS rebinding) is refused."""
    async with ingest(token=None) as target:
        host = f"evil.example:{target.url.port}"
        response = await target.post("garbage", token=None, Host=host, Origin=f"http://{host}")
        assert response.status == 403
        assert (await target.post("garbage", token=None)).status == 400


async def test_a_publisher_that_vanishes_leaves_nothing(clip: Path) -> None:
    """Silence ends the session as a fault; tasks, threads and the place are free again."""
    async with ingest(read_timeout_s=0.5) as target:
        # The connection that is kept alive has a task of its own.
        await target.post("garbage")
        tasks = len(asyncio.all_tasks())
        publisher = Publisher(target, FileTrack(clip))
        await publisher.__aenter__()
        await target.viewer.frames(2)
        # Killing the sockets is what a dead phone looks like: no word is sent.
        for transport in _sockets(publisher):
            transport.abort()
        lost = await target.viewer.discontinuity()
        assert (lost.reason, lost.ended) == ("silent", False)
        await publisher.vanish()
        await until(lambda: len(asyncio.all_tasks()) == tasks)
        assert "webrtc-decoder" not in {thread.name for thread in threading.enumerate()}
        async with Publisher(target, FileTrack(clip)):
            await target.viewer.frames(1)


def _sockets(publisher: Publisher) -> list[Any]:
    ice = publisher.connection.getTransceivers()[0].sender.transport.transport._connection
    return [protocol.transport for protocol in ice._protocols]


async def test_no_secret_is_logged(capfd: pytest.CaptureFixture[str]) -> None:
    """Neither a right nor a wrong token, nor ICE's password, is in the log or an answer."""
    offer = await offer_of("video")
    password = offer.split("a=ice-pwd:")[1].split("\r\n")[0]
    async with ingest() as target:
        with capture_logs() as events:
            bodies = [
                await (await target.post(offer, token="wrong-but-secret")).text(),
                await (await target.post(offer + "m=x", token=TOKEN)).text(),
                await (await target.post(offer, token=TOKEN)).text(),
            ]
    everything = f"{events} {bodies} {capfd.readouterr()}"
    for secret in (TOKEN, "wrong-but-secret", password):
        assert secret not in everything


async def test_an_offer_that_waits_while_the_source_ends_is_refused(clip: Path) -> None:
    """It waits for the place of one that has not connected; then there is no source any more."""
    offer = await offer_of("video")
    async with ingest(on_conflict="takeover") as target:
        assert (await target.post(offer)).status == 201
        waiting = [asyncio.create_task(target.post(offer)) for _ in range(3)]
        await asyncio.sleep(0)
        target.viewer.task.cancel()
        statuses = [(await task).status for task in waiting]
    assert set(statuses) <= {201, 503}
    assert statuses[-1] == 503


async def test_the_end_of_the_source_ends_its_sessions(clip: Path) -> None:
    """Shutting down closes a live session and refuses the next with 503 and Retry-After."""
    async with ingest() as target:
        publisher = Publisher(target, FileTrack(clip))
        await publisher.__aenter__()
        await target.viewer.frames(1)
        target.viewer.task.cancel()
        await until(target.viewer.task.done)
        response = await target.post(await offer_of("video"))
        assert (response.status, response.headers["Retry-After"]) == (503, "2")
        faults = [value(target.metrics, "source_faults_total", reason=end.value) for end in PeerEnd]
        assert sum(faults) == 0
        await publisher.vanish()
