"""The message that carries a best shot where messages have one part: plain JSON, or a CloudEvent.

CloudEvents 1.0 puts the same attributes around every event, so that routers and functions need not
know whose it is. In *structured* mode they and the document are one JSON object; in *binary* mode
the document travels as it is and the attributes are headers, whose names begin as each protocol's
binding says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from streamgate.delivery.payload import SCHEMA_VERSION, iso_8601, single_document
from streamgate.values import EncodedShot

__all__ = ["EVENT_TYPE", "Envelope", "Message", "message_of"]

EVENT_TYPE = f"streamgate.best_shot.v{SCHEMA_VERSION}"
_JSON = "application/json"
_CLOUDEVENT_JSON = "application/cloudevents+json"


class Envelope(Protocol):
    """The keys of a sink's section that say what goes around a best shot."""

    @property
    def envelope(self) -> Literal["none", "cloudevents"]:
        """What goes around it."""
        ...

    @property
    def mode(self) -> Literal["structured", "binary"]:
        """Where a CloudEvent's attributes are."""
        ...


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        body: the JSON document with its pictures inside, or the CloudEvent around it.
        content_type: media type of the body.
        attributes: what goes into headers, without a binding's prefix; empty except for CloudEvents
            in binary mode.
    """

    body: bytes
    content_type: str
    attributes: Mapping[str, str] = field(default_factory=dict)

    def headers(self, prefix: str) -> dict[str, str]:
        """The attributes as a protocol's binding names them."""
        return {f"{prefix}{name}": value for name, value in self.attributes.items()}


def message_of(shot: EncodedShot, envelope: Envelope) -> Message:
    """Make a best shot's message; it takes milliseconds, so call it off the event loop."""
    document = single_document(shot)
    if envelope.envelope == "none":
        return Message(document, _JSON)
    attributes = _attributes(shot)
    if envelope.mode == "binary":
        return Message(document, _JSON, attributes)
    head = json.dumps({**attributes, "datacontenttype": _JSON}, separators=(",", ":"))
    # Not parsed and written again: the document is the same bytes as without an envelope.
    body = b"".join((head[:-1].encode(), b',"data":', document, b"}"))
    return Message(body, _CLOUDEVENT_JSON)


def _attributes(shot: EncodedShot) -> dict[str, str]:
    return {
        "specversion": "1.0",
        "id": shot.key,
        "source": f"urn:streamgate:camera:{shot.camera}",
        "type": EVENT_TYPE,
        "time": iso_8601(shot.decided_wall),
        "subject": f"{shot.boot_id}/{shot.track_id}",
        "dataschema": f"urn:streamgate:best-shot:{SCHEMA_VERSION}",
    }
