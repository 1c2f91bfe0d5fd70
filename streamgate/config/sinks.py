"""Where best shots can go: one section for each kind of sink."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from streamgate.config.client_tls import ClientTlsSection
from streamgate.config.secrets import long_enough
from streamgate.config.section import Name, Seconds, Section

__all__ = [
    "AmqpSinkSection",
    "AnswersSection",
    "DirectorySinkSection",
    "HomeAssistantSection",
    "HttpSinkSection",
    "KafkaSinkSection",
    "MqttSinkSection",
    "NatsSinkSection",
    "RedisSinkSection",
    "SignatureSection",
    "SinkSection",
    "server_url",
]

_Word = Annotated[str, Field(min_length=1, max_length=250, pattern=r"^[^\s*>#+]+$")]
_HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"


class _AnySink(Section):
    at_once: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Most deliveries under way at the same time. Those of one track are made one "
        "after another, in order, except one that has failed and is tried again by itself.",
    )


class _NetworkSink(ClientTlsSection, _AnySink):
    timeout_s: Seconds = Field(
        default=10.0, description="Longest time that one attempt may take, seconds."
    )

    @model_validator(mode="after")
    def _encrypted_as_meant(self) -> Self:
        """Files for TLS say that the connection is meant to be encrypted."""
        url = str(getattr(self, "url", ""))
        encrypted = {"http": "https", "redis": "rediss", "mqtt": "mqtts", "amqp": "amqps"}
        plain = encrypted.get(url.partition(":")[0])
        in_clear = plain is not None or getattr(self, "tls", None) is False
        if in_clear and (self.ca_file is not None or self.client_cert_file is not None):
            wanted = "tls: true" if plain is None else f"a URL that begins with {plain}://"
            raise ValueError(
                f"ca_file or client_cert_file is given, but the connection is not encrypted: "
                f"wanted {wanted}, or neither file"
            )
        return self


class _Enveloped(Section):
    envelope: Literal["none", "cloudevents"] = Field(
        default="none",
        description="What goes around a best shot: nothing, or the attributes of CloudEvents 1.0, "
        "which routers and functions of many makers read.",
    )
    mode: Literal["structured", "binary"] = Field(
        default="structured",
        description="CloudEvents only: `structured` puts attributes and best shot into one JSON "
        "object; `binary` puts the attributes into headers and leaves the body as it is.",
    )


class _BrokerSink(_NetworkSink):
    username: str | None = Field(default=None, description="User name for the server.")
    password: SecretStr | None = Field(
        default=None,
        description="Password for the server; better given as ${ENV} or password_file.",
    )


def _url(*schemes: str) -> AfterValidator:
    wanted = " or ".join(f"{scheme}://host…" for scheme in schemes)

    def check(url: str) -> str:
        scheme, _, rest = url.partition("://")
        if scheme not in schemes or not rest:
            raise ValueError(f"wanted {wanted}")
        if "@" in rest.split("/", 1)[0]:
            raise ValueError("the URL holds credentials; give them in keys of their own")
        return url

    return AfterValidator(check)


server_url = _url
"""Checks that an address has one of some schemes, and holds no credentials."""


class AnswersSection(Section):
    """A file that keeps what an HTTP service answers to best shots, one JSON line each."""

    path: Path = Field(description="The file. Its folder is created if it does not exist.")
    max_bytes: int = Field(
        default=16_777_216,
        ge=4096,
        description="Largest size of the file, bytes, 16 MiB by default. Beyond it, the file is "
        "renamed to PATH.1 and a new one is started.",
    )
    keep: int = Field(
        default=4,
        ge=0,
        le=1000,
        description="How many renamed files are kept; the oldest is deleted.",
    )


class DirectorySinkSection(_AnySink):
    """Writes each best shot into a folder. Its JSON file is written last, after all else."""

    kind: Literal["directory"]
    name: Name = Field(default="directory", description="Name in metrics and logs.")
    path: Path = Field(description="The folder. It is created if it does not exist.")
    timeout_s: Seconds = Field(
        default=30.0,
        description="Time allowed for one best shot, seconds: a disk on a dead server never "
        "answers.",
    )
    keep_days: int | None = Field(
        default=None,
        ge=1,
        le=3650,
        description="Best shots in the folder are deleted so many days after they were written; "
        "other files are left alone. Default: they are kept until somebody deletes them.",
    )
    group_readable: bool = Field(
        default=False,
        description="Files are for their owner alone (0600, in a folder of 0700 where it is made); "
        "true lets the group read them (0640 in 0750).",
    )


class SignatureSection(Section):
    """Signs each request with HMAC-SHA256 over time and body, in `Streamgate-Signature`."""

    secret: SecretStr = Field(
        description="Shared with the receiver, 16 characters or more; better given as secret_file. "
        "`openssl rand -base64 32` makes one."
    )
    next_secret: SecretStr | None = Field(
        default=None,
        description="To change the secret: signs as well, until every receiver knows it; then put "
        "it in the place of secret.",
    )

    @field_validator("secret", "next_secret")
    @classmethod
    def _is_long(cls, secret: SecretStr | None) -> SecretStr | None:
        return long_enough(secret)


class HttpSinkSection(_NetworkSink, _Enveloped):
    """Sends each best shot by POST as multipart/form-data. Any 2xx answer acknowledges it."""

    kind: Literal["http"]
    name: Name = Field(default="http", description="Name in metrics and logs.")
    url: Annotated[str, _url("http", "https")] = Field(
        description="Address that the best shots are posted to."
    )
    token: SecretStr | None = Field(
        default=None, description="Sent as `Authorization: Bearer …`; better given as token_file."
    )
    username: str | None = Field(default=None, description="User name for Basic authentication.")
    password: SecretStr | None = Field(
        default=None,
        description="Password for Basic authentication; better given as ${ENV} or password_file.",
    )
    headers: dict[Annotated[str, Field(pattern=_HEADER)], SecretStr] = Field(
        default_factory=dict, max_length=32, description="Further headers, such as an API key."
    )
    signature: SignatureSection | None = Field(
        default=None,
        description="Sign requests, so that the receiver can tell that they are ours, whole and "
        "new. Default: they are not signed.",
    )
    proxy: SecretStr | None = Field(
        default=None,
        description="http:// or https:// proxy, with user:password@ where it wants one; better as "
        "proxy_file. Default: HTTP_PROXY, HTTPS_PROXY and NO_PROXY of the environment, as other "
        "programs read them; an empty text takes none.",
    )
    metadata_part: Name | None = Field(
        default="metadata", description="Name of the part with the JSON; null omits the part."
    )
    crop_part: Name | None = Field(
        default="crop", description="Name of the part with the aligned face; null omits the part."
    )
    context_part: Name | None = Field(
        default="context",
        description="Name of the part with the wider picture, which needs delivery.context; null "
        "omits the part.",
    )
    answers: AnswersSection | None = Field(
        default=None,
        description="File in which 2xx answers are kept with the key of the best shot, for "
        "services that answer with the name of the person. Default: answers are not kept.",
    )

    @field_validator("proxy")
    @classmethod
    def _is_proxy(cls, proxy: SecretStr | None) -> SecretStr | None:
        if proxy is not None and (text := proxy.get_secret_value()):
            parts = urlsplit(text)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("wanted http://host:port or https://host:port")
        return proxy

    @model_validator(mode="after")
    def _consistent(self) -> HttpSinkSection:
        if self.token is not None and self.username is not None:
            raise ValueError("give either token or username and password, not both")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together")
        parts = [self.metadata_part, self.crop_part, self.context_part]
        named = [part for part in parts if part is not None]
        if not named or len(set(named)) != len(named):
            raise ValueError("the parts need names that differ, and at least one must be sent")
        return self


class RedisSinkSection(_BrokerSink):
    """Adds each best shot to a Redis stream."""

    kind: Literal["redis"]
    name: Name = Field(default="redis", description="Name in metrics and logs.")
    url: Annotated[str, _url("redis", "rediss")] = Field(
        default="redis://127.0.0.1:6379/0",
        description="Address, redis:// or rediss:// (TLS), with the number of the database.",
    )
    stream: _Word = Field(default="streamgate:best-shots", description="Name of the stream.")
    max_length: int = Field(
        default=10_000,
        ge=1,
        description="About how many entries the stream keeps (MAXLEN ~); the oldest are removed, "
        "read or not.",
    )


class NatsSinkSection(_BrokerSink, _Enveloped):
    """Publishes each best shot to a NATS JetStream, whose answer acknowledges it."""

    kind: Literal["nats"]
    name: Name = Field(default="nats", description="Name in metrics and logs.")
    url: Annotated[str, _url("nats", "tls")] = Field(
        default="nats://127.0.0.1:4222", description="Address, nats:// or tls://, host and port."
    )
    token: SecretStr | None = Field(
        default=None, description="Token for the server; better given as token_file."
    )
    subject: _Word = Field(
        default="streamgate.best-shots",
        description="Subject to publish to; a stream must store it.",
    )
    stream: Name | None = Field(
        default=None,
        description="Create a stream of this name for the subject if there is none. Default: "
        "somebody else creates it.",
    )
    stream_max_bytes: int = Field(
        default=1_073_741_824,
        ge=1_048_576,
        description="Size limit of the stream that is created, bytes, 1 GiB by default.",
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> NatsSinkSection:
        if self.token is not None and self.username is not None:
            raise ValueError("give either token or username and password, not both")
        return self


class HomeAssistantSection(Section):
    """Shows the camera as a device in Home Assistant 2024.12 or newer, by MQTT discovery."""

    enabled: bool = Field(
        default=True,
        description="false takes the device out of Home Assistant again; leave the section until "
        "the camera has connected once.",
    )
    name: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="Name of the device. Default: the camera's."
    )
    pictures: bool = Field(
        default=False,
        description="Whether Home Assistant is sent each aligned face as well. They are not "
        "retained by the broker; whoever may read the topic sees them.",
    )
    discovery_prefix: _Word = Field(
        default="homeassistant", description="Where Home Assistant looks for devices."
    )
    topic: _Word = Field(
        default="streamgate/home-assistant",
        description="State, events and availability are published below TOPIC/CAMERA.",
    )


class MqttSinkSection(_BrokerSink, _Enveloped):
    """Publishes each best shot with MQTT 5 and QoS 1."""

    kind: Literal["mqtt"]
    name: Name = Field(default="mqtt", description="Name in metrics and logs.")
    url: Annotated[str, _url("mqtt", "mqtts")] = Field(
        default="mqtt://127.0.0.1:1883",
        description="Address, mqtt:// or mqtts:// (TLS), host and port.",
    )
    topic: _Word = Field(default="streamgate/best-shots", description="Topic to publish to.")
    client_id: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="Client id. Default: the broker assigns one."
    )
    home_assistant: HomeAssistantSection | None = Field(
        default=None,
        description="Also show the camera in Home Assistant. `home_assistant: {}` takes all "
        "defaults. Default: it is not shown.",
    )


class KafkaSinkSection(_BrokerSink, _Enveloped):
    """Sends each best shot to a Kafka topic. All replicas in sync acknowledge it."""

    kind: Literal["kafka"]
    name: Name = Field(default="kafka", description="Name in metrics and logs.")
    servers: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[^\s,@/]+:\d{1,5}$")], ...], Field(min_length=1)
    ] = Field(
        default=("127.0.0.1:9092",),
        description="Brokers to contact first, host:port; they name the others.",
    )
    topic: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")] = Field(
        default="streamgate-best-shots", description="Topic to send to."
    )
    tls: bool = Field(default=False, description="Encrypt the connection (TLS).")
    idempotent: bool = Field(
        default=True,
        description="Let the brokers drop what the client repeats within one connection (the "
        "idempotent producer). Where they refuse it, it is switched off with a warning: the "
        "idempotency key in each message tells repetitions anyway.",
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512",
        description="SASL mechanism that proves username and password.",
    )
    max_message_bytes: int = Field(
        default=1_048_576,
        ge=65_536,
        description="Largest message, bytes, 1 MiB by default; the broker's own limit must allow "
        "it.",
    )


_QueueName = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f]+$")]


class AmqpSinkSection(_BrokerSink, _Enveloped):
    """Publishes each best shot to an AMQP 0-9-1 broker such as RabbitMQ, which confirms it."""

    kind: Literal["amqp"]
    name: Name = Field(default="amqp", description="Name in metrics and logs.")
    url: Annotated[str, _url("amqp", "amqps")] = Field(
        default="amqp://127.0.0.1:5672",
        description="Address, amqp:// or amqps:// (TLS), host and port, nothing behind them.",
    )
    virtual_host: _QueueName = Field(default="/", description="Virtual host of the broker.")
    exchange: Annotated[str, Field(max_length=255)] = Field(
        default="",
        description="Exchange to publish to, which must exist and should be durable. Default: the "
        "broker's own, which puts a message into the queue that is named like the routing key.",
    )
    routing_key: _QueueName = Field(
        default="streamgate.best-shots", description="Routing key of every message."
    )
    queue: _QueueName | None = Field(
        default=None,
        description="Make a durable queue of this name, bound to the exchange by the routing key, "
        "if there is none. Default: somebody else makes it.",
    )

    @model_validator(mode="after")
    def _reaches_its_queue(self) -> AmqpSinkSection:
        if urlsplit(self.url).path.strip("/") or urlsplit(self.url).query:
            raise ValueError("the URL ends with the port; give the virtual host as virtual_host")
        if not self.exchange and self.queue not in (None, self.routing_key):
            raise ValueError(
                "without an exchange, messages go to the queue that routing_key names; give queue "
                "and routing_key the same name, or an exchange"
            )
        return self


SinkSection = Annotated[
    DirectorySinkSection
    | HttpSinkSection
    | RedisSinkSection
    | NatsSinkSection
    | MqttSinkSection
    | KafkaSinkSection
    | AmqpSinkSection,
    Field(discriminator="kind"),
]
