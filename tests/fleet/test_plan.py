"""What `fleet apply` would do: from files to processes, and from those to changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from streamgate.config.fleet import load_fleet
from streamgate.errors import ConfigError
from streamgate.fleet.plan import make_plan
from streamgate.fleet.spec import ProcessSpec, actor_name, split_name
from streamgate.fleet.wanted import wanted_processes

CAMERA = "camera: {{name: {name}}}\nsource: {{kind: rtsp, url: 'rtsp://192.0.2.10/1'}}\n"
SECRET = "hunter2-never-shown"


def write(folder: Path, *names: str, **settings: object) -> Path:
    cameras = folder / "cameras"
    cameras.mkdir(exist_ok=True)
    for name in names:
        (cameras / f"{name}.yaml").write_text(CAMERA.format(name=name))
    file = folder / "fleet.yaml"
    file.write_text(yaml.safe_dump({"cameras": [{"path": "cameras"}], **settings}))
    return file


def wanted(file: Path) -> dict[str, ProcessSpec]:
    return wanted_processes(load_fleet(file), file.parent)[0]


def test_one_changed_one_added_and_one_removed_touch_these_three_alone(tmp_path: Path) -> None:
    """Four cameras run; three files differ: the plan names three, and leaves two alone."""
    file = write(tmp_path, "one", "two", "three", "four")
    running = [actor_name(spec) for spec in wanted(file).values()]
    assert make_plan(wanted(file), running).start == ()
    changed = tmp_path / "cameras" / "one.yaml"
    changed.write_text(changed.read_text() + "gate: {min_quality: 60}\n")
    (tmp_path / "cameras" / "two.yaml").unlink()
    write(tmp_path, "five")
    plan = make_plan(wanted(file), running)
    assert plan.changed == ("camera/one",)
    assert plan.removed == ("camera/two",)
    assert plan.added == ("camera/five",)
    assert plan.unchanged == ("camera/four", "camera/three")
    assert {actor.split("/")[1] for actor in plan.stop} == {"one", "two"}
    assert {spec.name for spec in plan.start} == {"one", "five"}
    assert str(plan) == (
        "added: camera/five; changed: camera/one; removed: camera/two; 2 unchanged"
    )


def test_a_faulty_file_is_refused_with_its_line(tmp_path: Path) -> None:
    """All faults of all files at once, each with file and line."""
    file = write(tmp_path, "one", "two", "three")
    for name in ("one", "three"):
        path = tmp_path / "cameras" / f"{name}.yaml"
        path.write_text(path.read_text() + "gate: {min_qualty: 60}\n")
    with pytest.raises(ConfigError) as caught:
        wanted(file)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{tmp_path}/cameras/one.yaml:3:")
    assert "min_qualty" in lines[0]


def test_two_files_of_one_camera_are_refused(tmp_path: Path) -> None:
    """Both would deliver as one camera."""
    file = write(tmp_path, "one")
    (tmp_path / "cameras" / "copy.yml").write_text(CAMERA.format(name="one"))
    with pytest.raises(ConfigError, match=r"the camera one is described by .*copy\.yml already"):
        wanted(file)


def test_a_fault_in_the_fleets_own_file_has_its_line(tmp_path: Path) -> None:
    """An unknown key, and a place that is none."""
    file = tmp_path / "fleet.yaml"
    file.write_text("name: site\ncameras:\n  - {path: a, placed: b}\nports: [5, 4]\n")
    with pytest.raises(ConfigError) as caught:
        load_fleet(file)
    assert "fleet.yaml:3: cameras[0].placed" in str(caught.value)
    assert "fleet.yaml:4: ports" in str(caught.value)


def test_cameras_without_a_lease_or_with_a_memory_outbox_are_told(tmp_path: Path) -> None:
    """Both may lose or double best shots when a machine is lost."""
    file = write(tmp_path, "one")
    _, warnings = wanted_processes(load_fleet(file), file.parent)
    assert len(warnings) == 2
    assert "has no lease" in warnings[0]
    assert "in memory" in warnings[1]


def test_the_variable_of_the_scorer_is_known_when_files_are_read(tmp_path: Path) -> None:
    """`${STREAMGATE_SCORER}` is set where the process runs, not where the files are checked."""
    file = write(tmp_path, "one", scorers=[{"name": "gpu", "path": "scorer.yaml"}])
    (tmp_path / "scorer.yaml").write_text("scorer: {name: gpu}\n")
    path = tmp_path / "cameras" / "one.yaml"
    path.write_text(path.read_text().replace("192.0.2.10", "192.0.2.10/${STREAMGATE_SCORER}"))
    found = wanted(file)
    assert found["camera/one"].scorers == ("gpu",)
    assert make_plan(found, []).start[0].kind == "scorer", "cameras ask scorers for their address"


def test_a_specification_does_not_show_its_secrets() -> None:
    """Neither as text nor in the actor's name, which differs as soon as anything differs."""
    spec = ProcessSpec("camera", "door", f"password: {SECRET}", "site")
    assert SECRET not in repr(spec)
    assert SECRET not in actor_name(spec)
    assert split_name(actor_name(spec)) == ("camera", "door", spec.digest)
    assert split_name("overview") is None
    assert replace(spec, cpus=2.0).digest != spec.digest
