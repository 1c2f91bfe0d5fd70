"""What is done with a frame: detector, tracker, prechecks, score and gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from streamgate.config.section import Fraction, Name, Quality, Seconds, Section

__all__ = [
    "DetectorSection",
    "DriftSection",
    "GateSection",
    "PrecheckSection",
    "QualitySection",
    "TrackerSection",
]


class DetectorSection(Section):
    """The face detector."""

    model: Name = Field(default="yunet", description="A model of `streamgate models list`.")
    min_score: Fraction = Field(
        default=0.6, description="Least confidence of a detection that is tracked at all, 0-1."
    )
    max_side_px: int = Field(
        default=640,
        ge=64,
        le=4096,
        description="Frames are scaled so that their longer side has at most this many pixels "
        "before detection; boxes are given in the original frame. Bigger finds smaller faces, "
        "slower.",
    )
    duplicate_iou: Fraction = Field(
        default=0.4, description="Boxes that overlap more than this (IoU) are one face."
    )
    max_faces: int = Field(
        default=32, ge=1, le=512, description="At most this many faces a frame, best first."
    )
    look: Literal["adaptive", "every_frame"] = Field(
        default="adaptive",
        description="Which pictures the detector is asked about. `adaptive`: some a second while "
        "something moves or somebody is followed, else one now and then; `every_frame`: all, which "
        "costs ten times as much where nobody is seen. `streamgate replay` looks at all.",
    )
    look_every_s: Seconds = Field(
        default=1.0,
        le=60,
        description="The detector is asked at least this often, seconds, even if nothing moves.",
    )
    looks_per_s: float = Field(
        default=10.0,
        gt=0,
        le=240,
        description="The detector is asked this many times a second while something moves or "
        "somebody is followed. Fewer cost less, and leave fewer faces to choose from.",
    )


class TrackerSection(Section):
    """How faces are followed from frame to frame."""

    max_gap_s: Seconds = Field(
        default=1.0, description="A face may be hidden for this long and keep its track, seconds."
    )
    min_iou: Fraction = Field(
        default=0.2, description="Least overlap (IoU) of a face with its track's predicted box."
    )
    high_score: Fraction = Field(
        default=0.75,
        description="Detections above this confidence start tracks; weaker ones only extend them. "
        "Clothes and hair are found as faces with up to 0.7, 98 % of 289 clear faces with more.",
    )


class PrecheckSection(Section):
    """Cheap tests of a face; one that fails any of them is never scored, and the reason is counted.

    They are meant to be lenient: they save the work on faces that cannot win, and leave the choice
    among the others to the score.
    """

    min_size_px: float = Field(
        default=32,
        ge=0,
        description="Least shorter side of the face's box, pixels of the frame. Below a third of "
        "the crop's 112 there is little left to recognise.",
    )
    min_eye_distance_px: float = Field(
        default=12,
        ge=0,
        description="Least distance between the eyes, pixels of the frame; about 0.45 of a frontal "
        "face's box, less when the head is turned.",
    )
    min_detector_score: Fraction = Field(
        default=0.7,
        description="Least confidence of the detector, 0-1; 99.5 % of 6,839 faces have more.",
    )
    max_yaw_deg: float = Field(
        default=60,
        ge=0,
        le=90,
        description="Most head turn either way, degrees, estimated from the landmarks.",
    )
    max_pitch_deg: float = Field(
        default=45,
        ge=0,
        le=90,
        description="Most nod either way, degrees, estimated from the landmarks; rougher than yaw, "
        "because noses differ.",
    )
    max_roll_deg: float = Field(
        default=45,
        ge=0,
        le=180,
        description="Most tilt either way, degrees. The crop is turned upright, so this only rules "
        "out what the detector seldom gets right.",
    )
    min_sharpness: float = Field(
        default=2.0,
        ge=0,
        description="Least share of fine detail in the face's luma, thousandths. Measured on 977 "
        "aligned faces: sharp ones have 7 or more (99 %), those of 28 pixels 1.9 or more (99 %), "
        "those blurred by a Gaussian of 4 pixels 1.6 or less (95 %).",
    )
    min_brightness: float = Field(
        default=25, ge=0, le=255, description="Least mean luma of the aligned face, 0-255."
    )
    max_brightness: float = Field(
        default=235, ge=0, le=255, description="Most mean luma of the aligned face, 0-255."
    )
    min_contrast: float = Field(
        default=6,
        ge=0,
        description="Least standard deviation of the face's luma, 0-127.5: a flat picture scores "
        "well although it holds no face. Faces have 22 or more (99 %), in a fifth of the light 4.",
    )
    min_edge_distance: Fraction = Field(
        default=0.04,
        description="Least distance of the detector's box from the frame's edge, as a part of the "
        "box's shorter side; 0.04 rejects 99 % of faces that the edge cuts.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> PrecheckSection:
        if self.min_brightness >= self.max_brightness:
            raise ValueError("min_brightness must be below max_brightness")
        return self


class DriftSection(Section):
    """Which tracks are compared with the calibration's reference, to notice a camera that fails."""

    window_s: Seconds = Field(default=3600, description="Tracks that have ended since, seconds.")
    least_tracks: int = Field(
        default=40,
        ge=10,
        le=1000,
        description="With fewer nothing is said: 40 faces that are like the reference are taken "
        "for worse ones once in 1,000 times. Where the window has fewer, tracks of up to a day "
        "fill it up.",
    )
    most_tracks: int = Field(
        default=150,
        ge=10,
        le=10_000,
        description="With more, only the newest count: the fewer they are, the sooner is a fault "
        "noticed. A third of them must be worse than nearly all of the reference.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> DriftSection:
        if self.least_tracks > self.most_tracks:
            raise ValueError("least_tracks must not exceed most_tracks")
        return self


class QualitySection(Section):
    """The quality score (GraFIQs)."""

    weights: Literal["default"] | Path = Field(
        default="default",
        description="Recognition network with BatchNorm statistics: default, or a .safetensors or "
        ".pth file in the published IResNet key names.",
    )
    group: Literal["image", "block1", "block2", "block3", "block4"] = Field(
        default="block4",
        description="Where the gradient is taken; block4 needs no backward pass.",
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="auto, cpu, cuda or cuda:N; auto takes CUDA where there is one.",
    )
    precision: Literal["float32", "float64", "tf32", "float16", "bfloat16"] = Field(
        default="float32",
        description="float32 is exact to 2e-4; docs/score.md lists the errors of the others.",
    )
    batch_size: int = Field(
        default=8, ge=1, le=256, description="Most faces that are scored at once."
    )
    cuda_graphs: bool = Field(
        default=False,
        description="On a CUDA device, record the launches once and replay them: the same scores, "
        "and few faces at a time take less long. Without effect on a CPU.",
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="CPU threads of the network; default 1, since cameras share hosts.",
    )
    calibration: Path | None = Field(
        default=None,
        description="Calibration file raw → quality; default the one beside the weights.",
    )
    sketch: Path | None = Field(
        default=None,
        description="File in which the distribution of this camera's raw scores is kept, numbers "
        "only and at most 30 KB, for streamgate calibrate --from-sketch; default: none is kept.",
    )
    max_pending: int = Field(
        default=64,
        ge=1,
        le=1024,
        description="Most faces that wait for the scorer, 38 KB each and more with context; at "
        "most 20 of one track. Those that are expected to gain least are skipped first.",
    )
    score_share: float = Field(
        default=0.3,
        gt=0,
        le=1,
        description="Most of a track's fit faces that are scored, 0-1, but for its first; which "
        "ones follows from cheap measures and from the scores of their neighbours. 1 scores all. "
        "`streamgate replay` shows what a share costs in quality.",
    )
    drift: DriftSection = Field(default_factory=DriftSection)


def _percentage(value: object) -> object:
    """Read `20%`; a bare number might mean a fifth or a fifth of a percent."""
    if not isinstance(value, str):
        raise ValueError("wanted a percentage such as 20%")  # noqa: TRY004 # pydantic reads only this
    try:
        return float(value.strip().removesuffix("%")) if value.strip().endswith("%") else value
    except ValueError:
        raise ValueError("wanted a percentage such as 20%") from None


Percentage = Annotated[
    Quality,
    BeforeValidator(_percentage, json_schema_input_type=str),
    PlainSerializer(lambda value: f"{value:g}%", return_type=str),
]


class GateSection(Section):
    """Which faces go through.

    The threshold is set in one of three units: `min_quality`, `discard` or `target_fnmr`.
    """

    min_quality: Quality = Field(
        default=30, description="Least quality (0-100) of a face that is forwarded."
    )
    discard: Percentage | None = Field(
        default=None,
        description="Instead of min_quality: the share of the calibration's reference faces, such "
        "as 20%, that would not be forwarded. Needs calibrated weights.",
    )
    target_fnmr: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="Instead of min_quality: the false non-match rate, 0-1, that a forwarded face "
        "is expected to have at most. Needs a calibration made with streamgate calibrate --errors.",
    )
    min_age_s: float = Field(
        default=0.2,
        ge=0,
        le=3600,
        description="Least age of a track before anything of it is forwarded, seconds: a ghost "
        "of the detector does not live that long.",
    )
    top_k: int = Field(
        default=1, ge=1, le=10, description="Most faces that one release forwards, best first."
    )
    min_gap_s: float = Field(
        default=0.5,
        ge=0,
        le=60,
        description="Least time between two faces of one release, seconds, so that they differ.",
    )
    release_quality: Quality | None = Field(
        default=None,
        description="Forward at once when a face reaches this quality; default: wait for the end.",
    )
    max_wait_s: Seconds | None = Field(
        default=None,
        description="Forward the best so far when a track has lived this long, seconds; default: "
        "wait for the track's end.",
    )
    improve_by: Annotated[float, Field(gt=0, le=100)] | None = Field(
        default=None,
        description="After a release, forward a later face that is better by this many points; "
        "default: one release a track.",
    )
    cooldown_s: float = Field(
        default=2.0, ge=0, le=3600, description="Least time between two releases of one track."
    )
    visit_s: float = Field(
        default=60.0,
        ge=0,
        le=3600,
        description="Tracks of the same person that follow each other within this time, seconds, "
        "are one visit: a later one forwards a face only if it is better by improve_by. 0: every "
        "track is a visit of its own.",
    )
    max_per_track: int = Field(
        default=3, ge=1, le=100, description="Most faces of one track that are ever forwarded."
    )

    @model_validator(mode="after")
    def _consistent(self) -> GateSection:
        thresholds = self.model_fields_set & {"min_quality", "discard", "target_fnmr"}
        named = [name for name in sorted(thresholds) if getattr(self, name) is not None]
        if len(named) > 1:
            raise ValueError(f"wanted one threshold only, not {' and '.join(named)}")
        threshold = self.min_quality if self.discard is None else self.discard
        if self.release_quality is not None and self.release_quality < threshold:
            raise ValueError("release_quality must not be below min_quality or discard")
        if self.top_k > self.max_per_track:
            raise ValueError("top_k must not exceed max_per_track")
        return self
