"""A small recogniser to start from: names the people in the best shots that the gate forwards.

It is written to be read and copied. It takes best shots by HTTP, from a Redis stream or from NATS
JetStream, ignores repetitions by their key and copies of a camera by their epoch, and compares
embeddings with those of a folder of photographs. It stores nothing.
"""

from streamgate.recognise.consumer import Consumer, Visitor
from streamgate.recognise.fence import EpochFence, FencedError
from streamgate.recognise.gallery import Gallery, Match, enrol, photographs_in
from streamgate.recognise.message import Message, message_from_document, message_from_parts

__all__ = [
    "Consumer",
    "EpochFence",
    "FencedError",
    "Gallery",
    "Match",
    "Message",
    "Visitor",
    "enrol",
    "message_from_document",
    "message_from_parts",
    "photographs_in",
]
