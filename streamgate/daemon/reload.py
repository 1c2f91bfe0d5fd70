"""Change the settings of a running camera: on SIGHUP, when its file has changed, or another profile
is wanted.

The file is validated first; where it is at fault, or a new sink cannot be made, all stays as it is
and the reason is told. What can change while the camera runs is changed without touching the stream
or a track. What cannot keeps its old value, is named, and takes effect at the next start; until
then the hash that metrics and best shots carry is that of the settings really in use.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from pydantic import BaseModel

from streamgate.config import CameraConfig, LoadedConfig, LogSection, SinkSection, load_config
from streamgate.config.load import hash_config
from streamgate.config.profiles import DEFAULT_PROFILE
from streamgate.config.section import secrets_of
from streamgate.daemon.compose import Camera
from streamgate.daemon.delivery import build_sink
from streamgate.daemon.gauges import show_config
from streamgate.errors import StreamgateError
from streamgate.ports import Sink
from streamgate.quality.threshold import with_threshold
from streamgate.selection.profiles import (
    CalledProfile,
    ProfileChoice,
    UnknownProfileError,
    choose_profile,
)
from streamgate.telemetry.logs import configure_logs
from streamgate.telemetry.notify import notify, reloading

__all__ = ["Reloader", "changed_keys", "hangups", "in_use_after"]

log = structlog.get_logger(__name__)

_POLL_S = 2.0
_LONGEST_RELOAD_S = 20.0


def in_use_after(now: CameraConfig, wanted: CameraConfig) -> CameraConfig:
    """Return the wanted settings, except those that a running camera cannot change.

    Thresholds, zones, sinks and the log change at once; the source, models, the outbox and the web
    server are what they were. This function is the whole rule: what it does not take over needs a
    restart.
    """
    return now.model_copy(
        update={
            "detector": wanted.detector.model_copy(update={"model": now.detector.model}),
            "tracker": wanted.tracker,
            "zones": wanted.zones,
            "precheck": wanted.precheck,
            "gate": wanted.gate,
            "quality": now.quality.model_copy(
                update={
                    "max_pending": wanted.quality.max_pending,
                    "score_share": wanted.quality.score_share,
                }
            ),
            "delivery": wanted.delivery.model_copy(
                update={
                    "outbox": now.delivery.outbox,
                    "decision_log": now.delivery.decision_log,
                }
            ),
            "web": now.web.model_copy(update={"show_pictures": wanted.web.show_pictures}),
            "log": wanted.log,
            "profiles": wanted.profiles,
            "schedule": wanted.schedule,
        }
    )


def changed_keys(one: BaseModel, other: BaseModel, prefix: str = "") -> list[str]:
    """Dotted keys whose values differ; a list counts as one value, secrets are compared unseen."""
    if type(one) is not type(other):
        return [prefix]
    keys: list[str] = []
    for name in type(one).model_fields:
        ours, theirs = getattr(one, name), getattr(other, name)
        key = f"{prefix}.{name}" if prefix else name
        if isinstance(ours, BaseModel) and isinstance(theirs, BaseModel):
            keys += changed_keys(ours, theirs, key)
        elif ours != theirs:
            keys.append(key)
    return keys


@contextmanager
def hangups(path: Path) -> Iterator[asyncio.Event]:
    """Yield an event that SIGHUP sets, where there is a file to read again.

    It holds from the start on, because a SIGHUP that nobody hears ends the process.
    """
    asked = asyncio.Event()
    if not path.is_file():
        yield asked
        return
    loop = asyncio.get_running_loop()
    # Not the loop's own handler, which wants the interpreter's one wakeup descriptor for itself.
    before = signal.signal(
        signal.SIGHUP, lambda _number, _frame: loop.call_soon_threadsafe(asked.set)
    )
    try:
        yield asked
    finally:
        signal.signal(signal.SIGHUP, before or signal.SIG_DFL)


@dataclass(frozen=True, slots=True)
class _Mark:
    """Identifies a version of a file; it also changes when another file takes its place."""

    device: int
    inode: int
    size: int
    modified_ns: int


class Reloader:
    """Keeps a running camera's settings in step with its file, its schedule and calls.

    Args:
        camera: composed from `loaded`, with the profile that it names in use.
        loaded: as the file has it.
        asked: set when the file shall be read whether it looks changed or not.
        poll_s: how often the file is looked at.
    """

    def __init__(
        self, camera: Camera, loaded: LoadedConfig, asked: asyncio.Event, *, poll_s: float = _POLL_S
    ) -> None:
        self._camera = camera
        self._file = loaded
        self._in_use = loaded.under(camera.profile)
        self._asked = asked
        self._called: CalledProfile | None = None
        # Loading models takes seconds, in which another may have come to be wanted.
        self._choice = replace(self._choose(loaded.config), name=camera.profile)
        self._refused_choice: ProfileChoice | None = None
        # A file, the schedule and a call may each want a change at the same moment.
        self._changing = asyncio.Lock()
        self._poll_s = poll_s
        self._read_mark: _Mark | None = None
        self._last_mark: _Mark | None = None
        self._waiting: list[asyncio.Future[str]] = []

    @property
    def path(self) -> Path:
        """The camera's file."""
        return self._in_use.path

    async def now(self) -> str:
        """Ask for a reload and wait for its outcome; at most for as long as is reasonable."""
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append(outcome)
        self._asked.set()
        try:
            async with asyncio.timeout(_LONGEST_RELOAD_S):
                return await outcome
        except TimeoutError:
            return "refused"

    async def run(self) -> None:
        """Watch until cancelled."""
        path = self._file.path
        self._show_choice(self._choice)
        self._read_mark = self._last_mark = await asyncio.to_thread(_mark, path)
        is_watched = self._read_mark is not None
        while True:
            if await self._is_due() and is_watched:
                self._asked.clear()
                self._read_mark = self._last_mark = await asyncio.to_thread(_mark, path)
                await self.reload()
            else:
                await self.follow()

    async def reload(self) -> None:
        """Read the file and apply it, or report why not."""
        async with self._changing:
            await self._reload()

    async def follow(self) -> None:
        """Change to the profile that is wanted now, where another is in use."""
        async with self._changing:
            choice = self._choose(self._file.config)
            if choice in (self._choice, self._refused_choice):
                return
            with suppress(StreamgateError):
                await self._change(choice)

    @property
    def profile(self) -> ProfileChoice:
        """The profile in use, and what wants it."""
        return self._choice

    @property
    def profiles(self) -> tuple[str, ...]:
        """The names of all profiles."""
        return (DEFAULT_PROFILE, *self._file.config.profiles)

    @property
    def called_for_s(self) -> float | None:
        """How long the profile that a call has asked for stays in use; None without an end."""
        called = self._called
        if called is None or called.until is None:
            return None
        return max(0.0, called.until - self._camera.clock.monotonic())

    async def use(self, profile: str, for_s: float | None = None) -> None:
        """Use a profile, whatever the schedule says, for a time or until it is cancelled.

        Raises:
            StreamgateError: there is no such profile, or it cannot be used.
        """
        async with self._changing:
            if profile not in self.profiles:
                raise UnknownProfileError(
                    f"no profile {profile!r}; there are: {', '.join(self.profiles)}"
                )
            until = None if for_s is None else self._camera.clock.monotonic() + for_s
            before, self._called = self._called, CalledProfile(profile, until)
            try:
                await self._change(self._choose(self._file.config))
            except StreamgateError:
                self._called = before
                raise

    async def cancel(self) -> None:
        """Leave the choice to the schedule again.

        Raises:
            StreamgateError: the profile that it wants cannot be used.
        """
        async with self._changing:
            self._called = None
            await self._change(self._choose(self._file.config))

    def _choose(self, config: CameraConfig) -> ProfileChoice:
        clock = self._camera.clock
        now = clock.monotonic()
        if self._called is not None and not self._called.holds(config, now):
            self._called = None
        return choose_profile(config, self._called, wall=clock.wall(), monotonic=now)

    async def _change(self, choice: ProfileChoice) -> None:
        """Use a profile of the file as it was read last."""
        changes = self._camera.metrics.profile_changes
        try:
            if choice.name != self._in_use.profile:
                await self._take(self._file, choice, is_news=False)
                changes.labels("applied").inc()
        except Exception as error:  # whatever is wrong with it, the camera goes on
            changes.labels("refused").inc()
            # It is tried again when something else is wanted, or the file has changed.
            self._refused_choice = choice
            if not isinstance(error, StreamgateError):
                log.exception("a profile failed half-way; restart the camera", profile=choice.name)
                error = StreamgateError(f"{type(error).__name__} while it was taken over")
            log.error("profile refused, the one in use stays", profile=choice.name,
                      reason=str(error))  # fmt: skip
            self._say(f"Profile {choice.name} refused: {error}")
            raise error from None
        self._refused_choice = None
        self._show_choice(choice)

    def _show_choice(self, choice: ProfileChoice) -> None:
        self._choice = choice
        self._camera.metrics.profile.info({"profile": choice.name, "reason": choice.reason})
        log.info("profile in use", profile=choice.name, reason=choice.reason)
        if self._file.config.profiles:
            self._say(f"Profile in use: {choice.name} ({choice.reason})")

    async def _reload(self) -> None:
        metrics = self._camera.metrics
        reloading()
        try:
            wanted = await asyncio.to_thread(load_config, self._file.path)
            choice = self._choose(wanted.config)
            outcome = await self._take(wanted, choice)
            if choice != self._choice:
                self._show_choice(choice)
            self._refused_choice = None
        except StreamgateError as error:
            outcome = "refused"
            self._refused(str(error).splitlines())
        except Exception as error:  # whatever is wrong with the new settings, the camera goes on
            outcome = "refused"
            log.exception("configuration failed half-way; restart the camera")
            self._refused([f"{type(error).__name__} while it was taken over"])
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(outcome)
        self._waiting.clear()
        metrics.config_reloads.labels(outcome).inc()
        metrics.config_reload_successful.set(outcome != "refused")
        notify("READY=1")

    async def _is_due(self) -> bool:
        try:
            async with asyncio.timeout(self._poll_s):
                await self._asked.wait()
        except TimeoutError:
            mark, before = await asyncio.to_thread(_mark, self._file.path), self._last_mark
            self._last_mark = mark
            # A file that is being written changes until it is done.
            return mark is not None and mark == before and mark != self._read_mark
        return True

    async def _take(
        self, file: LoadedConfig, choice: ProfileChoice, *, is_news: bool = True
    ) -> str:
        """Take over a file with a profile in use; what waits for a restart is told if it is new."""
        wanted, now = file.under(choice.name), self._in_use.config
        # From here on an error may hold secrets of either; old ones may still be in what a library
        # has yet to say.
        self._log_by(now.log, secrets_of(now), secrets_of(wanted.config))
        config = in_use_after(now, wanted.config)
        applied, waiting = changed_keys(now, config), changed_keys(config, wanted.config)
        in_use = LoadedConfig(config, hash_config(config), wanted.path, profile=choice.name)
        self._with_threshold(config)
        fresh = await _fresh_sinks(now, config)
        is_other_profile = self._in_use.profile != choice.name
        self._file, self._in_use = file, in_use
        if applied or is_other_profile:
            self._log_by(config.log, secrets_of(now), secrets_of(wanted.config))
            await self._apply(in_use, fresh)
            log.info("configuration applied", keys=applied, config_hash=in_use.config_hash)
            if applied:
                self._say(f"Configuration applied: {', '.join(applied)}")
        elif not waiting:
            log.info("configuration unchanged", config_hash=in_use.config_hash)
        if waiting and is_news:
            log.warning("settings take effect after a restart", keys=waiting)
            self._say(f"Waits for a restart: {', '.join(waiting)}")
        self._camera.metrics.config_waiting.set(len(waiting))
        return "applied" if applied else "unchanged"

    def _log_by(self, settings: LogSection, *secrets: Iterable[str]) -> None:
        identity = self._camera.pipeline.parts.publisher.identity
        configure_logs(
            settings, secrets=set().union(*secrets), camera=identity.camera, boot=identity.boot_id
        )

    async def _apply(self, in_use: LoadedConfig, fresh: Sequence[Sink]) -> None:
        camera, config = self._camera, self._with_threshold(in_use.config)
        parts = camera.pipeline.parts

        def adopt() -> None:
            camera.detector.adopt(config.detector)
            camera.analyser.adopt(config)

        # The detector and the tracker belong to the thread that uses them.
        await asyncio.get_running_loop().run_in_executor(parts.detection, adopt)
        parts.selector.adopt(
            config.gate,
            max_pending=config.quality.max_pending,
            share=config.quality.score_share,
            zones=config.zones,
        )
        # Not one from before a pause: a lease may have brought another epoch.
        parts.publisher.identity = replace(
            parts.publisher.identity, config_hash=in_use.config_hash, profile=in_use.profile
        )
        if camera.decisions is not None:
            camera.decisions.adopt(config, in_use.config_hash, in_use.profile)
        if camera.live is not None:
            camera.live.show_pictures(config.web.show_pictures)
        show_config(config, in_use.config_hash, camera.metrics, camera.clock)
        await camera.dispatcher.adopt(config.delivery, fresh)

    def _with_threshold(self, config: CameraConfig) -> CameraConfig:
        """The settings with the threshold as a quality; ConfigError where that is not known."""
        gate = with_threshold(config.gate, self._camera.calibration)
        return config.model_copy(update={"gate": gate})

    def _refused(self, faults: Sequence[str]) -> None:
        log.error("configuration refused, the one in use stays", faults=list(faults))
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        self._say(f"Configuration refused: {faults[0]}{more}")

    def _say(self, text: str) -> None:
        if self._camera.live is not None:
            self._camera.live.say(text)


async def _fresh_sinks(now: CameraConfig, config: CameraConfig) -> list[Sink]:
    """Make the sinks that are new or have other settings; all of them, or none."""
    before = {section.name: section for section in now.delivery.sinks}
    made: list[Sink] = []
    try:
        for section in config.delivery.sinks:
            if not _is_same(before.get(section.name), section):
                made.append(build_sink(section, config.camera.name))
    except BaseException:
        for sink in made:
            await sink.close()
        raise
    return made


def _is_same(one: SinkSection | None, other: SinkSection) -> bool:
    """Whether two sinks differ in their pace at most, which changes without a new sink."""
    return one is not None and one.model_copy(update={"at_once": other.at_once}) == other


def _mark(path: Path) -> _Mark | None:
    with suppress(OSError):
        found = path.stat()
        return _Mark(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    return None
