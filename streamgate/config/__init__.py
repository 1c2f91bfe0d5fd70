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
from streamgate.config.load import LoadedConfig, load_config
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
    PrecheckSection,
    QualitySection,
    TrackerSection,
)
from streamgate.config.tracing import TracingSection
from streamgate.config.webrtc_source import IceServer, WhepSection, WhipSection

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
    "LoadedConfig",
    "LogSection",
    "MemoryOutboxSection",
    "MqttSinkSection",
    "NatsSinkSection",
    "OutboxKey",
    "OutboxSection",
    "PrecheckSection",
    "QualitySection",
    "ReconnectSection",
    "RedisSinkSection",
    "RetrySection",
    "RtspSection",
    "SinkSection",
    "SourceSection",
    "SqliteOutboxSection",
    "TracingSection",
    "TrackerSection",
    "WebSection",
    "WhepSection",
    "WhipSection",
    "load_config",
]
