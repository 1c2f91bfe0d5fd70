"""The contact sheet: each track's faces in time, quality under each, the chosen one framed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from streamgate.demo.history import Moment, TrackHistory

__all__ = ["draw_contact_sheet"]

_TILE = 84
_GAP = 8
_COLUMNS = 16
_LABEL = 34
_HEADER = 30
_MARGIN = 20
_INK, _PAPER, _SOFT = (28, 32, 38), (250, 250, 248), (120, 126, 134)
_CHOSEN = (22, 140, 74)


def draw_contact_sheet(pages: Sequence[TrackHistory], path: Path) -> None:
    """Write the sheet as a PNG, a row for each track."""
    row = _HEADER + _TILE + _LABEL + 14
    width = 2 * _MARGIN + _COLUMNS * (_TILE + _GAP) - _GAP
    sheet = Image.new("RGB", (width, 2 * _MARGIN + max(1, len(pages)) * row), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, page in enumerate(pages):
        _draw_row(sheet, draw, page, _MARGIN + number * row)
    sheet.save(path)


def _draw_row(sheet: Image.Image, draw: ImageDraw.ImageDraw, page: TrackHistory, top: int) -> None:
    draw.text((_MARGIN, top), _title(page), fill=_INK, font=_font(15))
    chosen = {moment.frame_index for moment in page.chosen}
    for column, moment in enumerate(_in_time(page.moments, chosen)):
        x, y = _MARGIN + column * (_TILE + _GAP), top + _HEADER
        tile = Image.fromarray(moment.crop).resize((_TILE, _TILE), Image.Resampling.LANCZOS)
        sheet.paste(tile, (x, y))
        best = moment.frame_index in chosen
        if best:
            box = (x - 4, y - 4, x + _TILE + 3, y + _TILE + 3)
            draw.rectangle(box, outline=_CHOSEN, width=4)
        middle, below = x + _TILE // 2, y + _TILE + 5
        ink = _CHOSEN if best else _INK
        draw.text((middle, below), f"{moment.quality:.0f}", fill=ink, font=_font(14), anchor="mt")
        draw.text((middle, below + 16), moment.fault, fill=_SOFT, font=_font(11), anchor="mt")


def _title(page: TrackHistory) -> str:
    outcome = page.decision.outcome.value if page.decision is not None else "still followed"
    text = f"Track {page.track_id}: {page.person}, {len(page.moments)} faces scored, {outcome}"
    if page.chosen:
        text += f", quality {page.chosen[0].quality:.0f}, recognised as {page.recognised}"
    return text


def _in_time(moments: Sequence[Moment], chosen: set[int]) -> list[Moment]:
    """At most a row of moments, evenly spread, with the chosen ones among them."""
    step = max(1, -(-len(moments) // (_COLUMNS - len(chosen))))
    kept = {moment.frame_index: moment for moment in moments[::step]}
    kept.update({m.frame_index: m for m in moments if m.frame_index in chosen})
    return [kept[index] for index in sorted(kept)][:_COLUMNS]


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
