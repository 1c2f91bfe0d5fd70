"""The whole configuration of one camera.

Each field says what it does, in which unit, and why its default is what it is. The same text is
printed by `streamgate schema` and by the page of settings in the documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    Field,
    IPvAnyNetwork,
    create_model,
    field_validator,
    model_validator,
)

from streamgate.config.delivery import DeliverySection
from streamgate.config.hosts import is_loopback
from streamgate.config.lease import LeaseSection
from streamgate.config.profiles import DEFAULT_PROFILE, PartialSection, lay_over, partial_of
from streamgate.config.schedule import ScheduleSection
from streamgate.config.section import ExistingFile, Name, Seconds, Section, ServerToken
from streamgate.config.source import SourceSection
from streamgate.config.stages import (
    DetectorSection,
    GateSection,
    PrecheckSection,
    QualitySection,
    TrackerSection,
)
from streamgate.config.tracing import TracingSection
from streamgate.config.webrtc_source import WhipSection
from streamgate.config.zones import Zones, check_zones

__all__ = [
    "CameraConfig",
    "CameraSection",
    "HealthSection",
    "LogSection",
    "ProfileSection",
    "WebSection",
]


class CameraSection(Section):
    """The camera that this process serves."""

    name: Name = Field(
        description="Name of the camera in metrics, logs and keys: lower-case letters, digits, - "
        "and _, at most 63 characters."
    )


_HOST_NAME = r"^(\*\.)?[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$"


class WebSection(Section):
    """The HTTP server: metrics, health checks, and the live page for setting a camera up."""

    enabled: bool = Field(
        default=True,
        description="Whether to run the HTTP server. Without it there are no metrics, no health "
        "checks and no live page.",
    )
    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. The default can be reached from this machine only.",
    )
    port: int = Field(
        default=9109,
        ge=0,
        le=65_535,
        description="TCP port; 0 takes a free one and logs it. The default lies in the range that "
        "Prometheus exporters use.",
    )
    cert_file: ExistingFile = Field(
        default=None,
        description="Certificate, with its chain, to serve HTTPS with; a PEM file. Default: plain "
        "HTTP.",
    )
    key_file: ExistingFile = Field(
        default=None,
        description="Private key of cert_file, a PEM file. Default: the key is in cert_file.",
    )
    ready_frame_age_s: Seconds = Field(
        default=5.0,
        description="/readyz fails when the last frame is older than this, seconds. The default "
        "outlasts one quick reconnect.",
    )
    live_page: bool = Field(
        default=True,
        description="Serve the live page at /, which shows what the gate sees and why faces are "
        "rejected.",
    )
    show_pictures: bool = Field(
        default=False,
        description="Let the live page show frames and faces. Off, the page shows boxes and "
        "figures only: pictures of people should be shown only where somebody has decided so.",
    )
    token: ServerToken = Field(
        default=None,
        description="Secret that visitors of the live page must know, 16 characters or more; "
        "better given as token_file. Required where host can be reached from other machines. "
        "`openssl rand -hex 24` makes one.",
    )
    protect_metrics: bool = Field(
        default=False,
        description="Require the token at /metrics too. Prometheus sends it with `authorization: "
        "{credentials_file: ...}`. /healthz and /readyz never require it, so that probes work.",
    )
    max_viewers: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Most live pages that may be open at once; further ones are turned away. It "
        "bounds what viewers can cost a camera.",
    )

    max_connections: int = Field(
        default=64,
        ge=8,
        le=4096,
        description="Most connections that may be open, not counting open live pages. Beyond it, "
        "the one that has been idle longest is closed, so that a flood of connections cannot "
        "take the file descriptors that delivery and logs need.",
    )
    allowed_hosts: tuple[Annotated[str, Field(pattern=_HOST_NAME)], ...] = Field(
        default=(),
        max_length=64,
        description="Further names of this server, such as door.example.org or *.example.org. "
        "Requests without the token must use one of these names, a name in cert_file, an IP "
        "address, or a name without a dot; on a loopback host, localhost. Other names are refused, "
        "because a page on the internet could point its own name here (DNS rebinding).",
    )
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(
        default=(),
        max_length=64,
        description="Addresses or networks of proxies whose header X-Forwarded-Proto is trusted. "
        "If it says https, the login cookie is marked Secure.",
    )

    @model_validator(mode="after")
    def _guarded(self) -> WebSection:
        if self.token is not None or not self.enabled:
            return self
        if self.live_page and not self.is_local:
            raise ValueError(
                f"wanted web.token (or token_file), because host {self.host!r} can be reached from "
                "outside; or live_page: false to serve metrics and health alone"
            )
        if self.protect_metrics:
            raise ValueError("wanted a token (or token_file), because of protect_metrics")
        return self

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)

    @model_validator(mode="after")
    def _certificate_with_key(self) -> WebSection:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file is given without cert_file")
        return self


class HealthSection(Section):
    """When the process reports that it is unhealthy, and when it ends to be restarted."""

    unhealthy_after_failures: int = Field(
        default=10,
        ge=1,
        description="/healthz and /readyz fail once the detector, the scorer or the disk has "
        "failed this many times in a row. One success ends that.",
    )
    end_after_failures: int | None = Field(
        default=300,
        ge=1,
        description="After this many failures in a row the process ends in order, with exit code 1 "
        "and the reason, so that its supervisor restarts it. The default is 12 s at 25 frames a "
        "second, and five minutes of a failing disk, which is tried at most once a second. null: "
        "never.",
    )
    end_after_stall_s: Seconds | None = Field(
        default=120.0,
        description="The process ends once one detection, or one batch of the scorer, has taken "
        "this long, seconds; /healthz already fails after 30. null: never.",
    )


class LogSection(Section):
    """What is logged. The log goes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="Least severe message that is logged. debug is for developers and is verbose.",
    )
    format: Literal["auto", "console", "json"] = Field(
        default="auto",
        description="console: text for people; json: one JSON object a line; auto: console on a "
        "terminal, json elsewhere.",
    )


# What a running camera takes over; a test compares it with the rule of the reload.
_OF_PROFILES: dict[str, Any] = {
    "zones": Zones,
    "detector": partial_of(DetectorSection, without=("model",)),
    "tracker": partial_of(TrackerSection),
    "precheck": partial_of(PrecheckSection),
    "quality": partial_of(QualitySection, only=("max_pending", "score_share")),
    "gate": partial_of(GateSection),
    "delivery": partial_of(DeliverySection, without=("outbox", "decision_log")),
    "web": partial_of(WebSection, only=("show_pictures",)),
    "log": partial_of(LogSection),
}

if TYPE_CHECKING:

    class ProfileSection(PartialSection):
        """What differs while a profile is in use."""

else:
    ProfileSection = create_model(
        "ProfileSection",
        __base__=PartialSection,
        __doc__="What differs while this profile is in use: any settings that are marked **live**, "
        "written as in the file itself. A list replaces the file's.",
        **{name: (model | None, None) for name, model in _OF_PROFILES.items()},
    )


class CameraConfig(Section):
    """One camera's whole configuration file."""

    camera: CameraSection
    source: SourceSection
    zones: Zones = ()
    detector: DetectorSection = Field(default_factory=DetectorSection)
    tracker: TrackerSection = Field(default_factory=TrackerSection)
    precheck: PrecheckSection = Field(default_factory=PrecheckSection)
    quality: QualitySection = Field(default_factory=QualitySection)
    gate: GateSection = Field(default_factory=GateSection)
    delivery: DeliverySection = Field(default_factory=DeliverySection)
    lease: LeaseSection | None = Field(
        default=None,
        description="Who may deliver, where the camera may be started on another machine. Default: "
        "no lease, because one process serves the camera.",
    )
    web: WebSection = Field(default_factory=WebSection)
    log: LogSection = Field(default_factory=LogSection)
    tracing: TracingSection = Field(default_factory=TracingSection)
    health: HealthSection = Field(default_factory=HealthSection)
    profiles: dict[Name, ProfileSection] = Field(
        default_factory=dict,
        max_length=32,
        description="Named sets of settings, to be used by the schedule or by a call.",
    )
    schedule: ScheduleSection = Field(default_factory=ScheduleSection)

    def under(self, profile: str) -> CameraConfig:
        """Return the settings with those of a profile laid over them.

        Raises:
            KeyError: there is no such profile.
            ValidationError: together they are no valid configuration; not after loading.
        """
        if profile == DEFAULT_PROFILE:
            return self
        differing = self.profiles[profile].model_dump()
        return CameraConfig.model_validate(lay_over(self.model_dump(exclude_unset=True), differing))

    @field_validator("zones")
    @classmethod
    def _zones_agree(cls, zones: Zones) -> Zones:
        check_zones(zones)
        return zones

    @model_validator(mode="after")
    def _publishers_can_come(self) -> CameraConfig:
        if isinstance(self.source, WhipSection):
            if not self.web.enabled:
                raise ValueError("source.kind whip needs the web server: set web.enabled")
            if self.source.token is None and not self.web.is_local:
                raise ValueError(
                    f"web.host {self.web.host} can be reached from outside: "
                    "set source.token (or token_file), or anybody could publish"
                )
        return self
