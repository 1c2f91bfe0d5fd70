"""The supervisor of one process, with small programs in the camera's place."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from streamgate.fleet.spec import ProcessSpec
from streamgate.fleet.supervisor import State, Supervisor
from tests.fleet.cluster import wait_for

pytestmark = pytest.mark.live

OBEDIENT = "import time, sys; print('up', sys.argv[1], flush=True)\nwhile True: time.sleep(1)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\n" + (
    "while True: time.sleep(1)"
)
FAILS = "import sys; print('cannot', flush=True); sys.exit(3)"


@contextmanager
def supervised(folder: Path, program: str, **settings: object) -> Iterator[Supervisor]:
    spec = ProcessSpec(
        "camera", "door", "camera: {name: door}\npassword: secret\n", "site",
        command=(sys.executable, "-c", program), state=str(folder), stop_s=2.0,
        restart={"initial_s": 0.05, "max_s": 0.2, "jitter": 0.0, "crash_loop": 3},
        **settings,  # type: ignore[arg-type] # the caller's keywords
    )  # fmt: skip
    supervisor = Supervisor(spec)
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()


def up(supervisor: Supervisor) -> None:
    wait_for(lambda: any(line.startswith("up") for line in supervisor.lines()), "the process")


def test_the_configuration_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The file 0600, its folder 0700; the process is given its path."""
    with supervised(tmp_path, OBEDIENT) as supervisor:
        up(supervisor)
        file = tmp_path / "site" / "door" / "config.yaml"
        assert supervisor.lines() == [f"up {file}"]
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert "secret" not in str(supervisor.status())


def test_a_killed_process_is_started_again(tmp_path: Path) -> None:
    """SIGKILL from outside: another one runs, and the end is told."""
    with supervised(tmp_path, OBEDIENT) as supervisor:
        up(supervisor)
        first = supervisor.status()["pid"]
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: supervisor.status()["pid"] not in (None, first), "a second process")
        assert supervisor.status()["starts"] == 2
        assert any("exit code -9" in line for line in supervisor.lines())


def test_a_crash_loop_is_told_and_goes_on(tmp_path: Path) -> None:
    """Three ends in a row right after the start: told as such; it is still tried again."""
    with supervised(tmp_path, FAILS) as supervisor:
        wait_for(lambda: supervisor.state is State.CRASH_LOOP, "the crash loop")
        starts = supervisor.status()["starts"]
        assert starts >= 3
        wait_for(lambda: supervisor.status()["starts"] > starts, "another try")


def test_a_recording_that_has_ended_is_not_begun_anew(tmp_path: Path) -> None:
    """Exit code 0 is an end."""
    with supervised(tmp_path, "print('up')") as supervisor:
        wait_for(lambda: supervisor.state is State.ENDED, "the end")
        assert supervisor.status()["starts"] == 1


def test_stop_waits_for_the_process_and_kills_one_that_does_not_end(tmp_path: Path) -> None:
    """One that obeys ends by SIGTERM; one that does not is killed when its time is up."""
    with supervised(tmp_path / "one", OBEDIENT) as supervisor:
        up(supervisor)
        pid = supervisor.status()["pid"]
        supervisor.stop()
        assert supervisor.state is State.STOPPED or supervisor.status()["pid"] is None
        assert not alive(pid)
        supervisor.restart()
        wait_for(lambda: supervisor.status()["pid"] is not None, "the process again")
    with supervised(tmp_path / "two", STUBBORN) as supervisor:
        up(supervisor)
        pid = supervisor.status()["pid"]
        assert not supervisor.stop()
        assert not alive(pid)


def test_the_process_ends_with_its_supervisor(tmp_path: Path) -> None:
    """The supervisor is killed: nothing goes on that another machine may have taken over."""
    program = textwrap.dedent(f"""
        import sys, time
        from streamgate.fleet.spec import ProcessSpec
        from streamgate.fleet.supervisor import Supervisor
        spec = ProcessSpec("camera", "door", "", "site", state={str(tmp_path)!r},
                           command=(sys.executable, "-c", {OBEDIENT!r}))
        supervisor = Supervisor(spec)
        supervisor.start()
        while not supervisor.lines():
            time.sleep(0.05)
        print(supervisor.status()["pid"], flush=True)
        time.sleep(600)
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert alive(pid)
        process.kill()
        process.wait()
        wait_for(lambda: not alive(pid), "its end", limit_s=10)


def alive(pid: int) -> bool:
    with suppress(OSError):
        return (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]) != "Z"
    return False
