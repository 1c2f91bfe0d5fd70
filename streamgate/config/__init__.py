"""YAML to frozen, validated settings, and every fault of a file at once."""

from streamgate.config.camera import CameraConfig, CameraSection, LogSection, WebSection
from streamgate.config.delivery import (
    DeliverySection,
    DirectorySink,
    HttpSink,
    MemoryOutbox,
    RetrySection,
    SinkSection,
)
from streamgate.config.load import LoadedConfig, load_config
from streamgate.config.source import (
    DeviceSource,
    FileSource,
    ReconnectSection,
    RtspSource,
    SourceSection,
)
from streamgate.config.stages import (
    DetectorSection,
    GateSection,
    PrecheckSection,
    QualitySection,
    TrackerSection,
)

__all__ = [
    "CameraConfig",
    "CameraSection",
    "DeliverySection",
    "DetectorSection",
    "DeviceSource",
    "DirectorySink",
    "FileSource",
    "GateSection",
    "HttpSink",
    "LoadedConfig",
    "LogSection",
    "MemoryOutbox",
    "PrecheckSection",
    "QualitySection",
    "ReconnectSection",
    "RetrySection",
    "RtspSource",
    "SinkSection",
    "SourceSection",
    "TrackerSection",
    "WebSection",
    "load_config",
]
