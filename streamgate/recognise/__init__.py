"""A small reference recogniser: who came, by the best shots that the gate lets through.

It is the other end of the wire, written to be read and copied: it takes best shots by HTTP, from a
Redis stream or from NATS JetStream, drops repetitions by their key, and compares embeddings with
those of a folder of photographs. It keeps nothing and decides nothing else.
"""

from streamgate.recognise.consumer import Consumer, Visitor
from streamgate.recognise.gallery import Gallery, Match, enrol, photographs_in
from streamgate.recognise.message import Message, message_from_document, message_from_parts

__all__ = [
    "Consumer",
    "Gallery",
    "Match",
    "Message",
    "Visitor",
    "enrol",
    "message_from_document",
    "message_from_parts",
    "photographs_in",
]
