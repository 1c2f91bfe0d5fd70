"""What somebody finds who can read the outbox but has no key: another process, with other eyes."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.delivery import post
from tests.delivery.parts import Recorder
from tests.delivery.shots import best_shot, real_shot

LOOK = """
import sqlite3, sys
from pathlib import Path
folder, hits = Path(sys.argv[1]), []
needles = [bytes.fromhex(needle) for needle in sys.stdin.read().split()]
for file in folder.iterdir():
    data = file.read_bytes()
    hits += [f"{file.name}: {needle[:8].hex()}" for needle in needles if needle in data]
connection = sqlite3.connect(f"file:{folder}/door.outbox?mode=ro", uri=True)
for row in connection.execute("SELECT * FROM shots"):
    for value in row:
        data = value if isinstance(value, bytes) else str(value).encode()
        hits += [f"row {row[0]}: {needle[:8].hex()}" for needle in needles if needle in data]
print(*hits, sep="\\n", end="")
"""


def needles_of(track: int) -> list[bytes]:
    """Pieces of whatever would tell who it was, in the forms in which it could lie there."""
    shot = real_shot(track, context=True)
    embedding = np.asarray(best_shot(track).face.embedding, "<f4").tobytes()
    said = json.loads(shot.metadata)
    assert shot.context is not None
    pieces = [
        b"\xff\xd8\xff", b"JFIF", b"embedding", b"landmarks", b"image/jpeg",
        shot.crop.data[200:216], shot.context.data[200:216], embedding[64:80],
        base64.b64encode(shot.crop.data)[300:324], said["embedding"]["base64"][100:124].encode(),
        said["crop"]["sha256"].encode(),
    ]  # fmt: skip
    return [*pieces, *(piece[::-1] for piece in pieces if len(piece) >= 16)]


async def test_another_process_finds_no_picture_and_no_identity(tmp_path: Path) -> None:
    """While best shots wait, and after they were delivered; in clear, the same eyes find them."""
    folder = tmp_path / "state"
    needles = " ".join(needle.hex() for track in (1, 2, 3) for needle in needles_of(track))

    def look() -> str:
        done = subprocess.run(
            [sys.executable, "-c", LOOK, str(folder)], input=needles,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    silent = Recorder("sink", takes_s=3600)
    async with post.running(folder / "door.outbox", silent) as delivery:
        for track in (1, 2, 3):
            await delivery.dispatcher.accept_encoded(real_shot(track, context=True))
        assert look() == ""
    assert look() == ""
    async with post.running(folder / "door.outbox", Recorder("sink")):
        pass
    assert look() == ""

    folder = tmp_path / "clear"
    clear = {"keys": [], "store_pictures_unencrypted": True}
    async with post.running(folder / "door.outbox", silent, **clear) as delivery:
        await delivery.dispatcher.accept_encoded(real_shot(1, context=True))
    assert "ffd8ff" in look()
