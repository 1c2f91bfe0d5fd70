"""Files that nobody has reason to trust."""

from __future__ import annotations

import hashlib
import pickle
import resource
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from streamgate.errors import ModelError
from streamgate.quality.iresnet import Layout
from streamgate.quality.weights import default_weights_path, load_weights
from tests.quality import cases

Tensors = dict[str, Tensor]


@pytest.fixture
def tensors() -> Tensors:
    return cases.state_dict(cases.TINY, seed=1)


def save_pth(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def test_pth_and_safetensors_hold_the_same(tensors: Tensors, tmp_path: Path) -> None:
    """Either format gives the same network, whose hash is that of the file."""
    save_file(tensors, tmp_path / "a.safetensors")
    save_pth(tensors, tmp_path / "a.pth")
    for name in ("a.safetensors", "a.pth"):
        weights = load_weights(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        assert weights.layout == cases.TINY
        assert weights.sha256 == hashlib.sha256(content).hexdigest()
        assert all(torch.equal(weights.tensors[key], tensors[key]) for key in tensors)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: {"state_dict": tensors, "epoch": 3},
        lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
        lambda tensors: {name: tensor.half() for name, tensor in tensors.items()},
        lambda tensors: {"state_dict_backbone": tensors, "state_dict_softmax_fc": {}, "epoch": 3},
        lambda tensors: {"model": tensors, "optimizer": {"state": {}}, "args": Namespace(lr=0.1)},
        lambda tensors: {"model": {"state_dict": prefixed("module.", tensors)}},
        lambda tensors: prefixed("backbone.", tensors),
        lambda tensors: prefixed("_orig_mod.", tensors),
        lambda tensors: prefixed("module._orig_mod.backbone.", tensors),
        lambda tensors: {
            name.replace("layer1.", "layer1._orig_mod."): tensor for name, tensor in tensors.items()
        },
        lambda tensors: {**prefixed("backbone.", tensors), "head.weight": torch.zeros(1000, 32)},
    ],
    ids=[
        "wrapped", "data parallel", "half", "arcface", "with optimizer", "twice wrapped",
        "backbone", "compiled", "all prefixes", "parts compiled", "with a head",
    ],
)  # fmt: skip
def test_what_training_scripts_write_is_read(
    wrap: Callable[[Tensors], Any], tensors: Tensors, tmp_path: Path
) -> None:
    """A wrapper, a prefix and half precision are no reason to refuse."""
    assert load_weights(save_pth(wrap(tensors), tmp_path / "a.pth")).layout == cases.TINY


def prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def nan(tensors: Tensors) -> None:
    tensors["layer2.0.bn2.running_var"][3] = float("nan")


def infinite(tensors: Tensors) -> None:
    tensors["fc.weight"][0, 0] = float("inf")


def negative_variance(tensors: Tensors) -> None:
    tensors["bn2.running_var"][0] = -1.0


def missing(tensors: Tensors) -> None:
    del tensors["layer3.0.prelu.weight"]


def wrong_shape(tensors: Tensors) -> None:
    tensors["layer1.0.conv1.weight"] = torch.zeros(4, 5, 5, 5)


def foreign(tensors: Tensors) -> None:
    tensors["layer1.0.se.weight"] = torch.zeros(4)


def integers(tensors: Tensors) -> None:
    tensors["bn1.weight"] = torch.ones(5, dtype=torch.int64)


def another_network(tensors: Tensors) -> None:
    tensors.clear()
    tensors["backbone.stem.weight"] = torch.zeros(3)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (nan, r"'layer2.0.bn2.running_var' holds 1 values that are NaN or infinite of 6"),
        (infinite, r"'fc.weight' holds 1 values"),
        (negative_variance, r"'bn2.running_var' holds negative variances"),
        (missing, r"'layer3.0.prelu.weight' is missing; expected shape \[8\]"),
        (wrong_shape, r"'layer1.0.conv1.weight' has shape \[4, 5, 5, 5\]; expected \[4, 5, 3, 3\]"),
        (foreign, r"'layer1.0.se.weight' is not part of"),
        (integers, r"'bn1.weight' is torch.int64; expected floating point"),
        (another_network, r"'layer1.0.conv2.weight' is missing; .*backbone.stem.weight"),
    ],
)
def test_a_refusal_names_the_tensor_and_what_was_expected(
    damage: Callable[[Tensors], None], message: str, tensors: Tensors, tmp_path: Path
) -> None:
    """Rather than a size mismatch from the depths of a framework."""
    damage(tensors)
    with pytest.raises(ModelError, match=message):
        load_weights(save_pth(tensors, tmp_path / "bad.pth"))


class _Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_a_pickle_is_refused_and_not_executed(how: str, tmp_path: Path) -> None:
    """Whichever way it was written."""
    sprung, path = tmp_path / "sprung", tmp_path / "trap.pth"
    if how == "torch":
        torch.save({"conv1.weight": _Trap(sprung)}, path)
    else:
        path.write_bytes(pickle.dumps({"conv1.weight": _Trap(sprung)}))
    with pytest.raises(ModelError, match="nothing in it was executed") as refusal:
        load_weights(path)
    assert not sprung.exists()
    assert "weights_only" not in str(refusal.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.99])
def test_a_truncated_file_is_refused(
    suffix: str, share: float, tensors: Tensors, tmp_path: Path
) -> None:
    """Wherever it was cut."""
    path = tmp_path / f"cut{suffix}"
    save_file(tensors, path) if suffix == ".safetensors" else save_pth(tensors, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelError, match=r"cut\."):
        load_weights(path)


def test_a_picture_is_no_checkpoint(tmp_path: Path) -> None:
    """Nor is any other file."""
    path = tmp_path / "face.pth"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1000))
    with pytest.raises(ModelError, match=r"face\.pth"):
        load_weights(path)


def test_a_list_is_no_state_dict(tmp_path: Path) -> None:
    """The message says what is expected."""
    with pytest.raises(ModelError, match="expected a state dict"):
        load_weights(save_pth([torch.zeros(2)], tmp_path / "list.pth"))


def test_the_named_backbone_must_be_the_one_in_the_file(tensors: Tensors, tmp_path: Path) -> None:
    """Depths are compared and both are named."""
    path = save_pth(tensors, tmp_path / "a.pth")
    with pytest.raises(ModelError, match=r"expected iresnet50 with 3/4/14/3 blocks.*1/2/1/1"):
        load_weights(path, backbone="iresnet50")
    with pytest.raises(ModelError, match="unknown backbone 'resnet9'"):
        load_weights(path, backbone="resnet9")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(ModelError, match=r"none\.pth.*No such file"):
        load_weights(tmp_path / "none.pth")


def test_the_default_weights_come_along() -> None:
    """With four stages, read from the package."""
    weights = load_weights()
    assert weights.path == default_weights_path()
    assert isinstance(weights.layout, Layout)


def test_two_networks_in_a_file_are_told_apart(tensors: Tensors, tmp_path: Path) -> None:
    """Which one is meant is for the user to say."""
    both = {**prefixed("student.", tensors), **prefixed("teacher.", tensors)}
    with pytest.raises(ModelError, match=r"several networks \(student\., teacher\.\)"):
        load_weights(save_pth(both, tmp_path / "a.pth"))


def test_an_archive_that_unfolds_to_gigabytes_is_refused_before_it_does(tmp_path: Path) -> None:
    """By the sizes that it states; the process does not grow by them."""
    path = tmp_path / "bomb.pth"
    zeros = bytes(1 << 20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("bomb/data.pkl", pickle.dumps({}))
        with archive.open("bomb/data/0", "w", force_zip64=True) as file:
            for _ in range(600):
                file.write(zeros)
    assert path.stat().st_size < 4_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match=r"would unfold to 629,"):
        load_weights(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_tensors_that_show_a_number_a_billion_times_are_refused(tmp_path: Path) -> None:
    """Looking at each of them would take the memory that the file does not have."""
    tensors = cases.state_dict(cases.TINY, seed=1)
    tensors["conv1.weight"] = torch.zeros(1).expand(1 << 20, 3, 3, 3)
    with pytest.raises(ModelError, match="bytes stand for"):
        load_weights(save_pth(tensors, tmp_path / "a.pth"))


def test_a_file_without_an_end_is_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading stops where no weights can be as large."""
    monkeypatch.setattr("streamgate.quality.weights.MAX_BYTES", 1 << 20)
    with pytest.raises(ModelError, match="no weights have"):
        load_weights("/dev/zero")
