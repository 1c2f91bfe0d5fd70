"""A small reference recogniser: who came, by the best shots that the gate lets through.

It is the other end of the wire, written to be read and copied: it takes best shots by HTTP, from a
Redis stream or from NATS JetStream, drops repetitions by their key, and compares embeddings with
those of a folder of photographs. It keeps nothing and decides nothing else.
"""

from streamgate.recognise.arrival import Arrival, arrival_from_document, arrival_from_parts
from streamgate.recognise.gallery import Gallery, Match, enrol, photographs_in
from streamgate.recognise.reception import Reception, Visitor

__all__ = [
    "Arrival",
    "Gallery",
    "Match",
    "Reception",
    "Visitor",
    "arrival_from_document",
    "arrival_from_parts",
    "enrol",
    "photographs_in",
]
