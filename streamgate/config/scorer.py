"""The whole configuration of a scorer service: `streamgate serve scorer.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from streamgate.config.camera import LogSection, WebSection
from streamgate.config.hosts import is_loopback
from streamgate.config.section import ExistingFile, Name, Seconds, Section, ServerToken
from streamgate.config.stages import NetworkSection

__all__ = [
    "EngineSection",
    "LimitsSection",
    "ListenSection",
    "MetricsSection",
    "QueueSection",
    "ScorerConfig",
    "ServedNetworkSection",
]


class ServedNetworkSection(NetworkSection):
    """The network that the service scores with: the same keys as in a camera's file."""

    batch_size: int = Field(
        default=32,
        ge=1,
        le=256,
        description="Most faces in one pass through the network, of all cameras together, and in "
        "one request. A batch is never waited for: it holds what waits when the device is free.",
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="CPU threads of the network. Default: all that the process may use.",
    )
    model: str = Field(
        default="grafiqs",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$",
        description="Name of the model in the protocol.",
    )


class ListenSection(Section):
    """Where cameras reach the service: a Unix socket, TCP, or both."""

    unix: Path | None = Field(
        default=None,
        description="Path of a Unix socket, for cameras on this machine. Default: none.",
    )
    unix_mode: Literal["0600", "0660"] = Field(
        default="0600",
        description="Who may use the socket: its owner, or its group too. Write it in quotes.",
    )
    host: str = Field(
        default="127.0.0.1",
        description="Address of the TCP listener. Beyond loopback, cameras must prove that they "
        "may use it: by the token, or by a client certificate.",
    )
    port: int | None = Field(
        default=8001,
        ge=0,
        le=65_535,
        description="TCP port; 0 takes a free one and logs it; null: no TCP. The default is the "
        "protocol's usual one.",
    )
    cert_file: ExistingFile = Field(
        default=None,
        description="Certificate of the TCP listener, with its chain; a PEM file. Default: no TLS.",
    )
    key_file: ExistingFile = Field(
        default=None, description="Private key of cert_file, a PEM file, not encrypted."
    )
    client_ca_file: ExistingFile = Field(
        default=None,
        description="PEM file of the authorities whose client certificates are let in; whoever "
        "shows none is refused. Needs cert_file.",
    )
    token: ServerToken = Field(
        default=None,
        description="Bearer token that every request must carry, 16 characters or more; better "
        "given as token_file. Health checks need none.",
    )
    health_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="A second TCP port on host without TLS that answers health checks alone, for "
        "probes that cannot do TLS, such as those of Kubernetes. Default: none; the other "
        "listeners answer them too.",
    )

    @model_validator(mode="after")
    def _guarded(self) -> ListenSection:
        if self.unix is None and self.port is None:
            raise ValueError("wanted unix, port, or both")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("wanted cert_file and key_file together")
        if self.client_ca_file is not None and self.cert_file is None:
            raise ValueError("client_ca_file needs cert_file and key_file")
        open_to_all = self.token is None and self.client_ca_file is None
        if self.port is not None and not is_loopback(self.host) and open_to_all:
            raise ValueError(
                f"host {self.host!r} can be reached from outside: wanted token (or token_file), or "
                "client_ca_file with cert_file and key_file"
            )
        return self


class QueueSection(Section):
    """How many faces may wait, and how long."""

    max_faces: int = Field(
        default=1024,
        ge=1,
        le=65_536,
        description="Most faces that wait, of all cameras. Each takes 38 KB. Beyond it, requests "
        "are refused.",
    )
    max_faces_per_camera: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="Most faces of one camera that wait, so that no camera takes the places of "
        "others.",
    )
    max_cameras: int = Field(
        default=1024,
        ge=1,
        le=65_536,
        description="Most cameras that have faces waiting at the same time.",
    )
    default_deadline_s: Seconds = Field(
        default=5.0,
        le=60,
        description="Deadline of a request that names none, seconds.",
    )
    max_deadline_s: Seconds = Field(
        default=30.0, le=300, description="Longest deadline that a request is given, seconds."
    )

    @model_validator(mode="after")
    def _ordered(self) -> QueueSection:
        if self.default_deadline_s > self.max_deadline_s:
            raise ValueError("default_deadline_s must not exceed max_deadline_s")
        return self


class LimitsSection(Section):
    """What clients may take of the server itself."""

    max_connections: int = Field(
        default=1024, ge=1, le=65_536, description="Most connections of one listener."
    )
    max_requests_per_connection: int = Field(
        default=16,
        ge=1,
        le=1024,
        description="Most requests of one connection at the same time; further ones wait at the "
        "client.",
    )
    idle_s: Seconds = Field(
        default=300.0,
        ge=1,
        description="A connection without requests is closed after this time, seconds. Clients "
        "reconnect when they need to.",
    )
    max_age_s: Seconds = Field(
        default=3600.0,
        ge=1,
        description="A connection is closed in order at this age, seconds: it ends what a stalled "
        "client holds, and spreads cameras over new services.",
    )


class EngineSection(Section):
    """When the service gives its engine up, and how long it takes to stop."""

    end_after_failures: int = Field(
        default=5,
        ge=1,
        description="After this many failed batches in a row the engine is dead: all waiting "
        "requests are told so, and the process ends with exit code 1 to be restarted.",
    )
    end_after_stall_s: Seconds = Field(
        default=60.0,
        description="A batch that has taken this long, seconds, counts as the engine's death.",
    )
    drain_s: Seconds = Field(
        default=5.0,
        le=300,
        description="Longest time after SIGTERM in which requests that wait are still answered, "
        "seconds.",
    )


class MetricsSection(Section):
    """The HTTP listener for Prometheus: /metrics, /healthz and /readyz."""

    enabled: bool = Field(default=True, description="Whether to run it.")
    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. The default can be reached from this machine only.",
    )
    port: int = Field(
        default=9110, ge=0, le=65_535, description="TCP port; 0 takes a free one and logs it."
    )
    cert_file: ExistingFile = Field(
        default=None, description="Certificate to serve HTTPS with; a PEM file. Default: HTTP."
    )
    key_file: ExistingFile = Field(
        default=None, description="Private key of cert_file. Default: the key is in cert_file."
    )
    token: ServerToken = Field(
        default=None,
        description="Bearer token that /metrics asks for; better given as token_file. Default: "
        "none.",
    )
    named_cameras: int = Field(
        default=100,
        ge=0,
        le=10_000,
        description="So many cameras have a series of their own; faces of further ones are counted "
        "as `other`.",
    )

    @property
    def web(self) -> WebSection:
        """The same as settings of an HTTP server."""
        return WebSection(
            enabled=self.enabled,
            host=self.host,
            port=self.port,
            cert_file=self.cert_file,
            key_file=self.key_file,
            token=self.token,
            protect_metrics=self.token is not None,
            live_page=False,
        )

    @model_validator(mode="after")
    def _valid(self) -> MetricsSection:
        # It judges tokens and certificates.
        assert self.web
        return self


class ScorerSection(Section):
    """This service."""

    name: Name = Field(default="scorer", description="Its name in logs.")


class ScorerConfig(Section):
    """A scorer service's whole configuration file."""

    scorer: ScorerSection = Field(default_factory=ScorerSection)
    listen: ListenSection = Field(default_factory=ListenSection)
    quality: ServedNetworkSection = Field(default_factory=ServedNetworkSection)
    queue: QueueSection = Field(default_factory=QueueSection)
    limits: LimitsSection = Field(default_factory=LimitsSection)
    engine: EngineSection = Field(default_factory=EngineSection)
    metrics: MetricsSection = Field(default_factory=MetricsSection)
    log: LogSection = Field(default_factory=LogSection)

    @model_validator(mode="after")
    def _fits(self) -> ScorerConfig:
        if self.quality.batch_size > self.queue.max_faces_per_camera:
            raise ValueError(
                "wanted queue.max_faces_per_camera of at least quality.batch_size, which one "
                "request may hold"
            )
        return self
