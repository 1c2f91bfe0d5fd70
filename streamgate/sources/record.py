"""Write pictures as an H.264 file, for synthetic cameras and tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av

from streamgate.values import Image

__all__ = ["write_video"]


def write_video(path: Path, frames: Iterable[Image], frames_per_second: int) -> None:
    """Encode RGB uint8 [H, W, 3] frames of one size, H and W even, with a keyframe a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=frames_per_second)
        stream.pix_fmt = "yuv420p"
        stream.gop_size = frames_per_second
        # As cameras send it: no frame waits for a later one.
        stream.options = {"preset": "veryfast", "crf": "20", "bf": "0"}
        for number, image in enumerate(frames):
            if number == 0:
                # A new stream has a size of its own, to which pictures would be stretched.
                stream.height, stream.width = image.shape[:2]
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
