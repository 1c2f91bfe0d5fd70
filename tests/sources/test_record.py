"""Films that are made here show what they were made of."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from streamgate.sources.record import write_video
from tests.sources.clips import number_in, picture


@pytest.mark.parametrize("size", [(640, 360), (320, 240), (200, 112)])
def test_pictures_keep_their_size_and_place(tmp_path: Path, size: tuple[int, int]) -> None:
    """Whatever the size, a film has it, and its pictures are not stretched."""
    film = tmp_path / "film.mkv"
    write_video(film, (picture(number, *size) for number in range(5)), 10)
    with av.open(str(film)) as container:
        assert container.streams.video[0].average_rate == 10
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [image.shape for image in shown] == [(size[1], size[0], 3)] * 5
    assert [number_in(image.astype(np.uint8)) for image in shown] == list(range(5))
    assert np.abs(shown[0].astype(int) - picture(0, *size)).mean() < 12
