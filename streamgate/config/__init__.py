"""From a YAML file to frozen, validated settings; all faults of a file are reported at once."""

from streamgate.config.camera import (
    CameraConfig,
    CameraSection,
    HealthSection,
    LogSection,
    WebSection,
)
from streamgate.config.delivery import (
    DecisionLogSection,
    DeliverySection,
    MemoryOutboxSection,
    OutboxKey,
    OutboxSection,
    RetrySection,
    SqliteOutboxSection,
)
from streamgate.config.lease import (
    KubernetesLeaseSection,
    LeaseSection,
    NatsLeaseSection,
    RedisLeaseSection,
)
from streamgate.config.load import LoadedConfig, load_config
from streamgate.config.scorer import ScorerConfig
from streamgate.config.sinks import (
    AmqpSinkSection,
    DirectorySinkSection,
    HomeAssistantSection,
    HttpSinkSection,
    KafkaSinkSection,
    MqttSinkSection,
    NatsSinkSection,
    RedisSinkSection,
    SinkSection,
)
from streamgate.config.source import (
    DeviceSection,
    FileSection,
    ReconnectSection,
    RtspSection,
    SourceSection,
)
from streamgate.config.stages import (
    DetectorSection,
    DriftSection,
    GateSection,
    NetworkSection,
    PrecheckSection,
    QualitySection,
    TrackerSection,
)
from streamgate.config.tracing import TracingSection
from streamgate.config.webrtc_source import IceServer, WhepSection, WhipSection
from streamgate.config.zones import ZoneSection

__all__ = [
    "AmqpSinkSection",
    "CameraConfig",
    "CameraSection",
    "DecisionLogSection",
    "DeliverySection",
    "DetectorSection",
    "DeviceSection",
    "DirectorySinkSection",
    "DriftSection",
    "FileSection",
    "GateSection",
    "HealthSection",
    "HomeAssistantSection",
    "HttpSinkSection",
    "IceServer",
    "KafkaSinkSection",
    "KubernetesLeaseSection",
    "LeaseSection",
    "LoadedConfig",
    "LogSection",
    "MemoryOutboxSection",
    "MqttSinkSection",
    "NatsLeaseSection",
    "NatsSinkSection",
    "NetworkSection",
    "OutboxKey",
    "OutboxSection",
    "PrecheckSection",
    "QualitySection",
    "ReconnectSection",
    "RedisLeaseSection",
    "RedisSinkSection",
    "RetrySection",
    "RtspSection",
    "ScorerConfig",
    "SinkSection",
    "SourceSection",
    "SqliteOutboxSection",
    "TracingSection",
    "TrackerSection",
    "WebSection",
    "WhepSection",
    "WhipSection",
    "ZoneSection",
    "load_config",
]
