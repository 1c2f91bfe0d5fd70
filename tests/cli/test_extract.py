"""`streamgate extract`: the published interface."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms import v2 as transforms

from streamgate import Scorer
from streamgate.quality import GROUPS
from tests.cli.crops import invoke, write_picture
from tests.faces.test_photographs import png_of
from tests.quality import cases


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.pth"
    torch.save(cases.state_dict(cases.TINY, seed=2), path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, crop in enumerate(cases.pictures(3, 31)):
        write_picture(tmp_path / "faces" / f"{number}.png", crop)
    return tmp_path / "faces"


def read(path: Path) -> dict[str, float]:
    return {
        name: float(score)
        for name, _, score in (line.rpartition(" ") for line in path.read_text().splitlines())
    }


def test_scores_of_png_files_and_a_pth_equal_the_definition(
    weights: Path, folder: Path, tmp_path: Path
) -> None:
    """One file for each group, one line "path score" for each picture."""
    result = invoke(
        "extract", "--image-path", folder, "--image-extension", "png", "--output-dir",
        tmp_path / "out", "--weights", weights, "--device", "cpu", "--bgr2rgb",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    expected = [cases.slow_scores_of(weights, crop) for crop in cases.pictures(3, 31)]
    for group in GROUPS:
        scores = read(tmp_path / "out" / f"GraFIQs_{group}.txt")
        assert list(scores) == [str(folder / f"{number}.png") for number in range(3)]
        wanted = [picture[group] for picture in expected]
        assert list(scores.values()) == pytest.approx(wanted, rel=2e-4), group


def test_without_bgr2rgb_the_network_sees_what_opencv_reads(
    weights: Path, folder: Path, tmp_path: Path
) -> None:
    """Blue first, as the published scores have it."""
    result = invoke(
        "extract", "--image-path", folder, "--image-extension", ".PNG", "--output-dir",
        tmp_path / "out", "--weights", weights, "--device", "cpu", "--groups", "block4,block2",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    crops = np.ascontiguousarray(cases.pictures(3, 31)[..., ::-1])
    expected = Scorer.load(weights, device="cpu").score_all_groups(crops)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["GraFIQs_block2.txt", "GraFIQs_block4.txt"]
    scores = read(tmp_path / "out" / "GraFIQs_block2.txt")
    assert list(scores.values()) == pytest.approx(expected.raw["block2"], rel=1e-5)


def test_a_bigger_picture_is_resized_as_torchvision_does(weights: Path, tmp_path: Path) -> None:
    """In whole numbers, pixel by pixel what torchvision's transform gives the published way."""
    big = np.random.default_rng(4).integers(0, 256, (250, 180, 3), np.uint8)
    write_picture(tmp_path / "big" / "a.png", big)
    result = invoke(
        "extract", "--image-path", tmp_path / "big", "--image-extension", "png", "--output-dir",
        tmp_path / "out", "--weights", weights, "--device", "cpu", "--groups", "block4",
        "--bgr2rgb",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    resize = transforms.Compose([transforms.ToImage(), transforms.Resize((112, 112))])
    crop = resize(big).permute(1, 2, 0).numpy()
    expected = cases.slow_scores_of(weights, crop)["block4"]
    (score,) = read(tmp_path / "out" / "GraFIQs_block4.txt").values()
    assert score == pytest.approx(expected, rel=1e-5)


def test_paths_are_replaced_and_folders_read_on_demand(
    weights: Path, folder: Path, tmp_path: Path
) -> None:
    """So that score files fit pair lists made elsewhere."""
    write_picture(folder / "deeper" / "x.png", cases.pictures(3, 31)[0])
    result = invoke(
        "extract", "--image-path", folder, "--image-extension", "png", "--output-dir",
        tmp_path / "out", "--weights", weights, "--device", "cpu", "--groups", "block4",
        "--recursive", "--path-replace", tmp_path, "--path-replace-with", "/data",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    scores = read(tmp_path / "out" / "GraFIQs_block4.txt")
    assert set(scores) == {f"/data/faces/{name}.png" for name in ("0", "1", "2", "deeper/x")}


def test_an_unreadable_picture_is_reported_skipped_and_fails_at_the_end(
    weights: Path, folder: Path, tmp_path: Path
) -> None:
    """The others are scored."""
    (folder / "1.png").write_bytes(b"\x89PNG but no more")
    result = invoke(
        "extract", "--image-path", folder, "--image-extension", "png", "--output-dir",
        tmp_path / "out", "--weights", weights, "--device", "cpu", "--groups", "block4",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "1.png: skipped" in result.output
    assert len(read(tmp_path / "out" / "GraFIQs_block4.txt")) == 2


def test_embeddings_are_written_with_their_paths(
    weights: Path, folder: Path, tmp_path: Path
) -> None:
    """For the evaluation."""
    result = invoke(
        "extract", "--image-path", folder, "--image-extension", "png", "--output-dir",
        tmp_path / "out", "--weights", weights, "--device", "cpu", "--batch-size", "2",
        "--embeddings", tmp_path / "e.npz", "--bgr2rgb",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    expected = Scorer.load(weights, device="cpu").score(cases.pictures(3, 31)).embedding
    with np.load(tmp_path / "e.npz") as content:
        assert content["paths"].tolist() == [str(folder / f"{number}.png") for number in range(3)]
        assert np.abs(content["embeddings"] - expected).max() < 1e-5


@pytest.mark.parametrize(
    ("arguments", "code_and_message"),
    [
        (["--groups", "block5"], (2, "expected some of")),
        (["--gpu", "0", "--device", "cpu"], (2, "exclude each other")),
        (["--device", "cpu", "--backbone", "iresnet50"], (1, "expected iresnet50")),
        (["--device", "cpu", "--image-extension", "webp"], (1, "no pictures")),
    ],
)
def test_a_wrong_call_says_what_is_wrong(
    arguments: list[str], code_and_message: tuple[int, str], weights: Path, folder: Path
) -> None:
    """Bad usage is 2, a failure 1."""
    result = invoke(
        "extract", "--image-path", folder, "--weights", weights, "--output-dir", folder / "out",
        *arguments,
    )  # fmt: skip
    code, message = code_and_message
    assert result.exit_code == code
    assert message in result.output


def test_the_default_weights_see_the_colours_that_they_want(folder: Path, tmp_path: Path) -> None:
    """Red first, without being told so; blue first only where it is asked for, with a warning."""
    expected = Scorer.load(device="cpu").score(cases.pictures(3, 31)).raw
    words = ("extract", "--images", folder, "--image-extension", "png", "--device", "cpu",
             "--groups", "block4")  # fmt: skip
    result = invoke(*words, "--out", tmp_path / "rgb")
    assert result.exit_code == 0, result.output
    assert "the default weights want RGB and are shown RGB" in result.stderr
    scores = read(tmp_path / "rgb" / "GraFIQs_block4.txt")
    assert list(scores.values()) == pytest.approx(expected, rel=1e-5)
    result = invoke(*words, "--out", tmp_path / "bgr", "--color", "bgr")
    assert "warning: the default weights want RGB" in result.stderr
    swapped = read(tmp_path / "bgr" / "GraFIQs_block4.txt")
    assert list(swapped.values()) != pytest.approx(expected, rel=1e-3)


def test_a_name_that_is_not_utf8_is_written_as_it_is(weights: Path, tmp_path: Path) -> None:
    """Byte by byte, so that whoever reads the file finds the picture."""
    good = write_picture(tmp_path / "faces" / "a.png", cases.pictures(1, 31)[0])
    odd = os.fsencode(tmp_path / "faces") + b"/fac\xe9.png"
    Path(os.fsdecode(odd)).write_bytes(good.read_bytes())
    result = invoke(
        "extract", "--images", tmp_path / "faces", "--image-extension", "png", "--out",
        tmp_path / "out", "--weights", weights, "--device", "cpu", "--groups", "block4",
        "--embeddings", tmp_path / "e.npz",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "out" / "GraFIQs_block4.txt").read_bytes().splitlines()
    assert lines[1].startswith(odd + b" ")
    with np.load(tmp_path / "e.npz") as content:
        assert os.fsencode(str(content["paths"][1])) == odd


def test_a_picture_that_claims_a_billion_pixels_is_skipped(
    weights: Path, folder: Path, tmp_path: Path
) -> None:
    """The others are scored, and the exit code says that one was not."""
    (folder / "1.png").write_bytes(png_of(50_000, 50_000))
    result = invoke(
        "extract", "--images", folder, "--image-extension", "png", "--out", tmp_path / "out",
        "--weights", weights, "--device", "cpu", "--groups", "block4",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "1.png: skipped, " in result.stderr
    assert "2 of 3 pictures scored" in result.stderr
    assert len(read(tmp_path / "out" / "GraFIQs_block4.txt")) == 2
