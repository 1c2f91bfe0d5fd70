"""YAML to frozen, validated settings, and every fault of a file at once."""

from streamgate.config.camera import CameraConfig, CameraSection, LogSection, WebSection
from streamgate.config.delivery import (
    DecisionLogSection,
    DeliverySection,
    MemoryOutbox,
    OutboxKey,
    OutboxSection,
    RetrySection,
    SqliteOutbox,
)
from streamgate.config.load import LoadedConfig, load_config
from streamgate.config.sinks import (
    DirectorySink,
    HttpSink,
    KafkaSink,
    MqttSink,
    NatsSink,
    RedisSink,
    SinkSection,
)
from streamgate.config.source import (
    DeviceSource,
    FileSource,
    ReconnectSection,
    RtspSource,
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
from streamgate.config.webrtc_source import IceServer, WhepSource, WhipSource

__all__ = [
    "CameraConfig",
    "CameraSection",
    "DecisionLogSection",
    "DeliverySection",
    "DetectorSection",
    "DeviceSource",
    "DirectorySink",
    "DriftSection",
    "FileSource",
    "GateSection",
    "HttpSink",
    "IceServer",
    "KafkaSink",
    "LoadedConfig",
    "LogSection",
    "MemoryOutbox",
    "MqttSink",
    "NatsSink",
    "OutboxKey",
    "OutboxSection",
    "PrecheckSection",
    "QualitySection",
    "ReconnectSection",
    "RedisSink",
    "RetrySection",
    "RtspSource",
    "SinkSection",
    "SourceSection",
    "SqliteOutbox",
    "TracingSection",
    "TrackerSection",
    "WebSection",
    "WhepSource",
    "WhipSource",
    "load_config",
]
