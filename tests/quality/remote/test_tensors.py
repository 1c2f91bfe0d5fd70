"""Requests and answers of the protocol, without a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamgate.errors import ScoreError
from streamgate.quality.remote.messages import (
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataResponse,
)
from streamgate.quality.remote.tensors import (
    InputLayout,
    RemoteModel,
    decode_scores,
    encode_crops,
    read_metadata,
)

CROPS = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), np.uint8)
HASH = "0123456789ab" + "c" * 52


def metadata(datatype: str, shape: list[int], **properties: str) -> Any:
    told = ModelMetadataResponse(name="grafiqs", versions=["1", "2"])
    told.inputs.add(name="picture", datatype=datatype, shape=shape)
    for name in ("raw", "embedding", "saliency"):
        told.outputs.add(name=name, datatype="FP32", shape=[-1])
    for name, value in properties.items():
        told.properties[name] = value
    return told


def model(layout: InputLayout, name: str = "grafiqs", **known: Any) -> RemoteModel:
    usual = {"model_hash": None, "group": None, "batch_size": None, "calibration": None}
    return RemoteModel(name, "", layout, "picture", **{**usual, **known})


@pytest.mark.parametrize(
    ("datatype", "shape", "layout"),
    [
        ("UINT8", [-1, 112, 112, 3], InputLayout.CROPS),
        ("FP32", [-1, 3, 112, 112], InputLayout.NORMALISED),
    ],
)
def test_the_input_is_agreed_by_its_type_and_shape(
    datatype: str, shape: list[int], layout: InputLayout
) -> None:
    """Crops as they are, or the normalised picture of a bare network."""
    found = read_metadata(metadata(datatype, shape, batch_size="16").SerializeToString())
    assert (found.layout, found.input_name, found.version) == (layout, "picture", "2")
    assert found.batch_size == 16


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (b"\xff\xff\xff", "no message"),
        (metadata("FP32", [-1, 112, 112, 3]).SerializeToString(), "wanted an input UINT8"),
        (ModelMetadataResponse(name="resnet").SerializeToString(), "wanted outputs raw"),
    ],
)
def test_a_model_that_cannot_score_is_refused(told: bytes, wanted: str) -> None:
    """With what was wanted and found."""
    with pytest.raises(ScoreError, match=wanted):
        read_metadata(told)


def test_crops_are_sent_as_they_are_or_normalised() -> None:
    """The second as value / 127.5 - 1, channels first."""
    for layout in InputLayout:
        data = encode_crops(CROPS, model(layout), camera="door", deadline_ms=250, model_hash=HASH)
        sent = ModelInferRequest.FromString(data)
        (raw,) = sent.raw_input_contents
        if layout is InputLayout.CROPS:
            assert raw == CROPS.tobytes()
        else:
            picture = np.frombuffer(raw, "<f4").reshape(2, 3, 112, 112)
            expected = CROPS.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
            assert np.abs(picture - expected).max() < 1e-6
        assert sent.parameters["deadline_ms"].int64_param == 250
        assert sent.parameters["camera"].string_param == "door"
        assert sent.parameters["model_hash"].string_param == HASH


@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
def test_scores_are_read_from_raw_bytes_and_from_typed_contents(typed: bool) -> None:
    """Servers may send either, in any order, with further outputs."""
    told = ModelInferResponse()
    for name, values in (
        ("quality", np.array([1.0, 2.0])),
        ("embedding", np.eye(2, 3)),
        ("raw", np.array([[0.5], [0.25]])),
    ):
        output = told.outputs.add(name=name, datatype="FP32", shape=values.shape)
        if typed:
            output.contents.fp32_contents.extend(values.ravel())
        else:
            told.raw_output_contents.append(values.astype("<f4").tobytes())
    scores = decode_scores(told.SerializeToString(), 2)
    assert scores.raw.tolist() == [0.5, 0.25]
    assert np.array_equal(scores.embedding, np.eye(2, 3))


def _answer(raw: bytes, shape: list[int], datatype: str = "FP32") -> bytes:
    told = ModelInferResponse()
    told.outputs.add(name="raw", datatype=datatype, shape=shape)
    told.outputs.add(name="embedding", datatype="FP32", shape=[1, 2])
    told.raw_output_contents.extend([raw, b"\0" * 8])
    encoded: bytes = told.SerializeToString()
    return encoded


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (b"\xff\xff", "no message"),
        (b"", "lacks raw"),
        (_answer(b"\0" * 3, [1]), "bytes are no FP32"),
        (_answer(b"\0" * 8, [1]), "do not fit"),
        (_answer(b"\0" * 8, [2]), "wanted 1"),
        (_answer(b"\0" * 4, [-1]), "wanted floats"),
        (_answer(b"\0" * 4, [1], "BYTES"), "wanted floats"),
    ],
)
def test_an_answer_that_is_none_is_refused(answer: bytes, wanted: str) -> None:
    """Whatever a server sends, it does not become a score."""
    with pytest.raises(ScoreError, match=wanted):
        decode_scores(answer, 1)


def test_another_hash_and_another_group_are_refused() -> None:
    """A server that tells no hash must have it in the name of its model."""
    crops = InputLayout.CROPS
    assert model(crops, model_hash=HASH, group="block4").difference(HASH, "block4") is None
    assert "other weights" in str(model(crops, model_hash="f" * 64).difference(HASH, "block4"))
    wrong = model(crops, model_hash=HASH, group="image").difference(HASH, "block4")
    assert "scores group image" in str(wrong)
    assert "0123456789ab" in str(model(crops).difference(HASH, "block4"))
    assert model(crops, "grafiqs-0123456789ab").difference(HASH, "block4") is None
