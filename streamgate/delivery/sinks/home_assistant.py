"""What Home Assistant is told beside the MQTT sink: a device, and how it does.

One retained message describes the whole device (MQTT device discovery, Home Assistant 2024.12 or
newer). Its state is figures; pictures are published only where they are asked for, and are never
retained, so that no face stays at the broker.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from streamgate.config import HomeAssistantSection
from streamgate.delivery.payload import iso_8601
from streamgate.values import EncodedShot
from streamgate.version import __version__

__all__ = ["HomeAssistant", "Note"]

_ONLINE, _OFFLINE = "online", "offline"


@dataclass(frozen=True, slots=True)
class Note:
    """One MQTT message."""

    topic: str
    payload: bytes | str
    retain: bool


class HomeAssistant:
    """The messages of one camera's device.

    Args:
        camera: its name, which is fit for topics and ids.
    """

    def __init__(self, section: HomeAssistantSection, camera: str) -> None:
        self._section = section
        self._camera = camera
        self._base = f"{section.topic}/{camera}"
        self._discovery = f"{section.discovery_prefix}/device/streamgate_{camera}/config"
        self._count = 0

    @property
    def will(self) -> Note | None:
        """What the broker says for us when the connection is lost."""
        return (
            None
            if not self._section.enabled
            else Note(f"{self._base}/availability", _OFFLINE, retain=True)
        )

    def greetings(self) -> list[Note]:
        """What is said once connected; turned off, what was said before is taken back."""
        if not self._section.enabled:
            # An empty retained message removes the one before it, and with it the device.
            topics = (self._discovery, f"{self._base}/availability", f"{self._base}/state")
            return [Note(topic, b"", retain=True) for topic in topics]
        return [
            Note(self._discovery, json.dumps(self._device(), ensure_ascii=False), retain=True),
            Note(f"{self._base}/availability", _ONLINE, retain=True),
        ]

    def delivered(self, shot: EncodedShot) -> list[Note]:
        """What is said of a best shot that the broker has taken."""
        if not self._section.enabled:
            return []
        self._count += 1
        state = {
            "quality": round(shot.quality, 1),
            "best_shots": self._count,
            "captured_at": iso_8601(shot.captured_wall),
        }
        event = {**state, "event_type": "best_shot", "key": shot.key, "track_id": shot.track_id}
        notes = [
            Note(f"{self._base}/state", json.dumps(state), retain=True),
            Note(f"{self._base}/event", json.dumps(event), retain=False),
        ]
        if self._section.pictures:
            notes.append(Note(f"{self._base}/picture", shot.crop.data, retain=False))
        return notes

    def _device(self) -> dict[str, Any]:
        own = f"streamgate_{self._camera}"
        parts: dict[str, dict[str, Any]] = {
            "best_shot": {
                "platform": "event", "name": "Best shot", "event_types": ["best_shot"],
                "state_topic": f"{self._base}/event", "icon": "mdi:face-recognition",
            },
            "quality": self._figure("Quality of the last best shot", "quality", "measurement"),
            "best_shots": self._figure("Best shots", "best_shots", "total_increasing"),
            "captured_at": {
                "platform": "sensor", "name": "Last best shot", "device_class": "timestamp",
                "state_topic": f"{self._base}/state",
                "value_template": "{{ value_json.captured_at }}",
            },
        }  # fmt: skip
        if self._section.pictures:
            parts["picture"] = {
                "platform": "image", "name": "Last face", "image_topic": f"{self._base}/picture",
            }  # fmt: skip
        for name, part in parts.items():
            part["unique_id"] = f"{own}_{name}"
            part["availability_topic"] = f"{self._base}/availability"
        return {
            "device": {
                "identifiers": [own],
                "name": self._section.name or self._camera,
                "manufacturer": "streamgate",
                "model": "face quality gate",
                "sw_version": __version__,
            },
            "origin": {"name": "streamgate", "sw_version": __version__},
            "components": parts,
        }

    def _figure(self, name: str, key: str, state_class: str) -> dict[str, Any]:
        return {
            "platform": "sensor",
            "name": name,
            "state_topic": f"{self._base}/state",
            "value_template": f"{{{{ value_json.{key} }}}}",
            "state_class": state_class,
        }

    def farewells(self) -> list[Note]:
        """What is said before the connection is closed in order."""
        return [] if self.will is None else [self.will]
