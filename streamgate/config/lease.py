"""The lease of a camera that may run on several machines: who may deliver, and since when."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from streamgate.config.client_tls import ClientTlsSection
from streamgate.config.section import Name
from streamgate.config.sinks import server_url

__all__ = [
    "KubernetesLeaseSection",
    "LeaseSection",
    "NatsLeaseSection",
    "RedisLeaseSection",
]


class _AnyLease(ClientTlsSection):
    ttl_s: float = Field(
        default=10.0,
        ge=2.0,
        le=3600.0,
        description="How long the lease is valid after each renewal, seconds. It is renewed three "
        "times as often. After a machine has died, another takes over about this much later; a "
        "lease server that is away for longer stops delivery, and loses nothing.",
    )


class RedisLeaseSection(_AnyLease):
    """A lease in Redis 5 or later: a key that expires, and a counter that does not."""

    kind: Literal["redis"]
    url: Annotated[str, server_url("redis", "rediss")] = Field(
        default="redis://127.0.0.1:6379/0",
        description="Address, redis:// or rediss:// (TLS), with the number of the database.",
    )
    username: str | None = Field(default=None, description="User name for the server.")
    password: SecretStr | None = Field(
        default=None,
        description="Password for the server; better given as ${ENV} or password_file.",
    )
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9:_.-]{1,100}$")] = Field(
        default="streamgate:lease:", description="What the names of the keys begin with."
    )


class NatsLeaseSection(_AnyLease):
    """A lease in a key-value bucket of NATS JetStream, changed by compare-and-set."""

    kind: Literal["nats"]
    url: Annotated[str, server_url("nats", "tls")] = Field(
        default="nats://127.0.0.1:4222", description="Address, nats:// or tls://, host and port."
    )
    username: str | None = Field(default=None, description="User name for the server.")
    password: SecretStr | None = Field(
        default=None,
        description="Password for the server; better given as ${ENV} or password_file.",
    )
    token: SecretStr | None = Field(
        default=None, description="Token for the server; better given as token_file."
    )
    bucket: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")] = Field(
        default="streamgate-leases",
        description="Name of the bucket. It is created, with one replica, if there is none; create "
        "it with three replicas where the servers are a cluster.",
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> NatsLeaseSection:
        if self.token is not None and self.username is not None:
            raise ValueError("give either token or username and password, not both")
        return self


class KubernetesLeaseSection(_AnyLease):
    """A Lease of the API group coordination.k8s.io."""

    kind: Literal["kubernetes"]
    url: Annotated[str, server_url("http", "https")] = Field(
        default="https://kubernetes.default.svc",
        description="Address of the API server. The default is what every pod can reach.",
    )
    namespace: Name | None = Field(
        default=None, description="Namespace of the Lease. Default: the pod's own."
    )
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")] | None = Field(
        default=None,
        description="Name of the Lease. Default: streamgate- and the camera's name, with - for _.",
    )
    token_path: Path = Field(
        default=Path("/var/run/secrets/kubernetes.io/serviceaccount/token"),
        description="File with the service account's token; it is read again for each request, "
        "because Kubernetes replaces it.",
    )
    account_ca_path: Path = Field(
        default=Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"),
        description="Certificate of the API server's authority, where ca_file is not given.",
    )


LeaseSection = Annotated[
    RedisLeaseSection | NatsLeaseSection | KubernetesLeaseSection,
    Field(discriminator="kind"),
]
