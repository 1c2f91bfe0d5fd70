"""Zones: parts of the picture that are ignored, or that alone are watched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from streamgate.config.faults import Fault, FaultsError, PlacedFault, dotted, faults_from
from streamgate.config.section import Fraction, Name, Quality, Section
from streamgate.values.polygons import area_of, crossing_edges, shared_area

__all__ = ["MOST_ZONES", "ZoneSection", "Zones", "check_zones", "zone_faults"]

MOST_ZONES = 16
_LEAST_POINTS, _MOST_POINTS = 3, 32
_LEAST_AREA = 0.0001
"""A hundredth of the picture's width by a hundredth of its height."""
_COVERED = 0.999


class ZoneSection(Section):
    """A part of the picture that is ignored, or that is watched."""

    name: Name = Field(
        description="Name of the zone in payloads, metrics and the decision log: lower-case "
        "letters, digits, - and _, at most 63 characters. Each zone has another one."
    )
    kind: Literal["ignore", "watch"] = Field(
        description="ignore: nothing in it is looked at, neither motion nor faces, as for clocks, "
        "screens and streets. watch: where there are such zones, only tracks whose face was in "
        "one of them count."
    )
    points: tuple[tuple[Fraction, Fraction], ...] = Field(
        json_schema_extra={"minItems": _LEAST_POINTS, "maxItems": _MOST_POINTS},
        description="Corners of the zone in order, each as [x, y] in parts of the picture's width "
        "and height, 0-1, from the top left; 3 to 32 of them. The live page draws them.",
    )
    min_quality: Quality | None = Field(
        default=None,
        description="For faces in this watch zone, instead of the gate's threshold: lowest quality "
        "of a face that is forwarded, 0-100.",
    )
    min_size_px: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="For faces in this watch zone, instead of precheck.min_size_px: least length "
        "of the shorter side of the face's box, pixels of the frame.",
    )

    @model_validator(mode="after")
    def _is_plain(self) -> ZoneSection:
        count = len(self.points)
        if not _LEAST_POINTS <= count <= _MOST_POINTS:
            wanted = f"{_LEAST_POINTS} to {_MOST_POINTS}"
            raise FaultsError([PlacedFault(("points",), f"{count} points", wanted)])
        crossing = crossing_edges(self.points)
        if crossing is not None:
            first, second = (_edge(place, count) for place in crossing)
            raise FaultsError([
                PlacedFault(
                    ("points",),
                    f"an outline that crosses itself ({first} and {second})",
                    "the points in the order in which one walks around the zone, each once",
                )
            ])  # fmt: skip
        if area_of(self.points) < _LEAST_AREA:
            raise FaultsError(
                [PlacedFault(("points",), "a zone without an area", "points that are apart")]
            )
        given = [name for name in ("min_quality", "min_size_px") if getattr(self, name) is not None]
        if self.kind == "ignore" and given:
            raise FaultsError(
                [
                    PlacedFault(
                        (name,), "a threshold for faces that are ignored", "it in a watch zone only"
                    )
                    for name in given
                ]
            )
        return self


Zones = Annotated[
    tuple[ZoneSection, ...], Field(json_schema_extra={"maxItems": MOST_ZONES})
]  # fmt: skip


def check_zones(zones: Sequence[ZoneSection]) -> None:
    """Compare zones with each other.

    Raises:
        FaultsError: there are too many, two have one name, two watch zones overlap, or an ignore
            zone covers a watch zone. Other overlaps are allowed: what is ignored anywhere is
            ignored.
    """
    if len(zones) > MOST_ZONES:
        raise FaultsError([PlacedFault((), f"{len(zones)} zones", f"at most {MOST_ZONES}")])
    faults = list(_conflicts(zones))
    if faults:
        raise FaultsError(faults)


def zone_faults(data: object) -> tuple[tuple[ZoneSection, ...], list[Fault]]:
    """Validate zones that are not from a file; return them, or none and what is wrong."""
    try:
        zones: tuple[ZoneSection, ...] = TypeAdapter(Zones).validate_python(data)
        check_zones(zones)
    except ValidationError as error:
        return (), [
            fault
            for detail in error.errors(include_url=False)
            for fault in faults_from(detail, lambda path: (0, dotted(("zones", *path))))
        ]
    except FaultsError as error:
        return (), [
            Fault(0, dotted(("zones", *one.path)), one.got, one.wanted) for one in error.faults
        ]
    return zones, []


def _conflicts(zones: Sequence[ZoneSection]) -> Iterator[PlacedFault]:
    names: dict[str, int] = {}
    for place, zone in enumerate(zones):
        first = names.setdefault(zone.name, place)
        if first != place:
            yield PlacedFault(
                (place, "name"),
                f"{zone.name!r}, the name of zones[{first}]",
                "another name for each zone",
            )
        for other in zones[:place]:
            shared = shared_area(zone.points, other.points)
            if zone.kind == other.kind == "watch" and shared >= _LEAST_AREA:
                yield PlacedFault(
                    (place, "points"),
                    f"a watch zone that overlaps {other.name!r} by {100 * shared:.2g} % of the "
                    "picture",
                    "watch zones beside each other, because a face is in one of them only",
                )
            elif zone.kind != other.kind:
                watched = zone if zone.kind == "watch" else other
                if shared >= _COVERED * area_of(watched.points):
                    hidden = zones.index(watched)
                    ignored = other if watched is zone else zone
                    yield PlacedFault(
                        (hidden, "points"),
                        f"a watch zone that lies in the ignore zone {ignored.name!r}",
                        "a part of it that is not ignored",
                    )


def _edge(place: int, count: int) -> str:
    return f"the edge from point {place + 1} to point {(place + 1) % count + 1}"
