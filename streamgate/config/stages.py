"""What happens to a frame: detection, tracking, prechecks, scoring and the gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, SecretStr, model_validator

from streamgate.config.section import ExistingFile, Fraction, Name, Quality, Seconds, Section
from streamgate.config.service_address import ServiceUrl

__all__ = [
    "DetectorSection",
    "DriftSection",
    "GateSection",
    "NetworkSection",
    "PrecheckSection",
    "QualitySection",
    "TrackerSection",
]


class DetectorSection(Section):
    """The face detector."""

    model: Name = Field(
        default="yunet", description="Name of a detector in `streamgate models list`."
    )
    min_score: Fraction = Field(
        default=0.6,
        description="Lowest confidence of a detection that is used at all, 0-1. It is below "
        "tracker.high_score, so that a track survives a few poor frames.",
    )
    max_side_px: int = Field(
        default=640,
        ge=64,
        le=4096,
        description="Before detection, frames are scaled down so that their longer side has at "
        "most this many pixels. Faces are still cut from the original frame. A larger value finds "
        "smaller faces and takes longer.",
    )
    duplicate_iou: Fraction = Field(
        default=0.4,
        description="Boxes that overlap by more than this are one face: the intersection divided "
        "by the union (IoU), 0-1.",
    )
    max_faces: int = Field(
        default=32,
        ge=1,
        le=512,
        description="Most faces that are used of one frame, those of highest confidence. It bounds "
        "the work on a crowd.",
    )
    look: Literal["adaptive", "every_frame"] = Field(
        default="adaptive",
        description="In which frames faces are detected. adaptive: at most looks_per_s times a "
        "second while something moves or a face is tracked, otherwise every look_every_s; "
        "every_frame: in all, which costs ten times as much while nobody is there. "
        "`streamgate replay` uses all frames.",
    )
    look_every_s: Seconds = Field(
        default=1.0,
        le=60,
        description="Longest time between two detections, seconds, even if nothing moves.",
    )
    looks_per_s: float = Field(
        default=15.0,
        gt=0,
        le=240,
        description="Detections a second while one to three faces are tracked; with more, or while "
        "something moves and nobody is tracked, two thirds of it. Fewer cost less, and leave fewer "
        "faces to choose from.",
    )
    newcomer_s: Seconds = Field(
        default=0.5,
        le=60,
        description="For how long after somebody was first seen faces are detected in every frame, "
        "seconds. People who pass quickly are in few frames, and cannot be followed between "
        "distant ones.",
    )


class TrackerSection(Section):
    """How faces are followed from frame to frame. All sightings of one face form a track."""

    max_gap_s: Seconds = Field(
        default=1.0,
        description="How long a face may be hidden and still keep its track, seconds. Longer joins "
        "more interruptions, but ends tracks later and may join two people.",
    )
    min_iou: Fraction = Field(
        default=0.2,
        description="Least overlap (IoU) of a face with the box that its track predicts, 0-1.",
    )
    high_score: Fraction = Field(
        default=0.75,
        description="Detections above this confidence, 0-1, start tracks; weaker ones only extend "
        "them. Clothes and hair were taken for faces with up to 0.7; 98 % of 289 clear faces had "
        "more than 0.75.",
    )


class PrecheckSection(Section):
    """Cheap tests of a face. A face that fails one is never scored, and the reason is counted.

    They are lenient on purpose: they save work on hopeless faces and leave the choice among the
    others to the score.
    """

    min_size_px: float = Field(
        default=32,
        ge=0,
        description="Least length of the shorter side of the face's box, pixels of the frame. "
        "Below a third of the crop's 112 pixels there is little left to recognise.",
    )
    min_eye_distance_px: float = Field(
        default=12,
        ge=0,
        description="Least distance between the eyes, pixels of the frame. It is about 0.45 of the "
        "box of a frontal face and less when the head is turned.",
    )
    min_detector_score: Fraction = Field(
        default=0.7,
        description="Lowest confidence of the detector, 0-1. 99.5 % of 6,839 faces had more.",
    )
    max_yaw_deg: float = Field(
        default=60,
        ge=0,
        le=90,
        description="Largest turn of the head to either side, degrees, estimated from the "
        "landmarks (eyes, nose, corners of the mouth).",
    )
    max_pitch_deg: float = Field(
        default=45,
        ge=0,
        le=90,
        description="Largest nod up or down, degrees, estimated from the landmarks. The estimate "
        "is rougher than that of yaw, because noses differ.",
    )
    max_roll_deg: float = Field(
        default=45,
        ge=0,
        le=180,
        description="Largest tilt to either side, degrees. The crop is turned upright, so this "
        "only excludes faces that the detector seldom gets right.",
    )
    max_landmark_error_px: float = Field(
        default=10.0,
        gt=0,
        description="Largest distance of eyes, nose and mouth from where an aligned face has them "
        "(root mean square), pixels of the 112-pixel crop. Rejects hair, hands and patterns that "
        "the detector takes for a face, and profiles that pass `max_yaw_deg`. Of 3,541 faces from "
        "portraits, half had 2.5 or less, 999 of 1,000 had 7.4 or less, and all 9.3 or less.",
    )
    min_sharpness: float = Field(
        default=2.0,
        ge=0,
        description="Least share of fine detail in the brightness of the face, thousandths. Of 977 "
        "aligned faces, 99 % of the sharp ones had 7 or more, 99 % of those scaled up from 28 "
        "pixels 1.9 or more, and 95 % of those blurred by a Gaussian of 4 pixels 1.6 or less.",
    )
    min_brightness: float = Field(
        default=25,
        ge=0,
        le=255,
        description="Least mean brightness of the aligned face, 0-255; below it a face is nearly "
        "black.",
    )
    max_brightness: float = Field(
        default=235,
        ge=0,
        le=255,
        description="Largest mean brightness of the aligned face, 0-255; above it a face is "
        "washed out.",
    )
    min_contrast: float = Field(
        default=6,
        ge=0,
        description="Least standard deviation of the face's brightness, 0-127.5. Needed because a "
        "flat picture scores well although it shows no face. 99 % of faces had 22 or more, and "
        "with a fifth of the light 4 or more.",
    )
    min_edge_distance: Fraction = Field(
        default=0.04,
        description="Least distance between the face's box and the edge of the frame, as a "
        "fraction of the box's shorter side. 0.04 rejects 99 % of faces that the edge cuts.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> PrecheckSection:
        if self.min_brightness >= self.max_brightness:
            raise ValueError("min_brightness must be below max_brightness")
        return self


class DriftSection(Section):
    """Which tracks are compared with the calibration's reference, to notice a failing camera."""

    window_s: Seconds = Field(
        default=3600, description="Tracks that ended within this time are compared, seconds."
    )
    least_tracks: int = Field(
        default=40,
        ge=10,
        le=1000,
        description="With fewer tracks than this nothing is reported. With 40, tracks that are "
        "like the reference are mistaken for worse ones once in 1,000 times. If the window holds "
        "fewer, older tracks of up to a day are added.",
    )
    most_tracks: int = Field(
        default=150,
        ge=10,
        le=10_000,
        description="Of more tracks than this, only the newest count: the fewer are compared, the "
        "sooner a fault is noticed. It is, once a third of them are worse than nearly all of the "
        "reference.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> DriftSection:
        if self.least_tracks > self.most_tracks:
            raise ValueError("least_tracks must not exceed most_tracks")
        return self


class NetworkSection(Section):
    """The network that scores, and where it runs."""

    weights: Literal["default"] | Path = Field(
        default="default",
        description="Recognition network whose BatchNorm statistics the score uses: `default`, or "
        "a .safetensors or .pth file with the published IResNet key names.",
    )
    group: Literal["image", "block1", "block2", "block3", "block4"] = Field(
        default="block4",
        description="Layer at which the gradient is taken: the input image or the output of one "
        "of the four stages. block4 is the cheapest, because it needs no backward pass.",
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Where the network runs: cpu, cuda, cuda:N, or auto, which uses CUDA where "
        "there is a device.",
    )
    precision: Literal["float32", "float64", "tf32", "float16", "bfloat16"] = Field(
        default="float32",
        description="Number format of the network. float32 is exact to 2e-4; the page on the score "
        "lists the errors of the others.",
    )
    batch_size: int = Field(
        default=8,
        ge=1,
        le=256,
        description="Most faces that are scored at once. Larger batches raise throughput and delay "
        "the first score; beyond 8 a CPU gains little.",
    )
    cuda_graphs: bool = Field(
        default=False,
        description="On a CUDA device, record the kernel launches once and replay them. Scores "
        "stay the same, and small batches take less time. No effect on a CPU.",
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="CPU threads of the network; default 1, since cameras share hosts.",
    )
    calibration: Path | None = Field(
        default=None,
        description="File that maps raw scores to quality. Default: the one beside the weights.",
    )


class QualitySection(NetworkSection):
    """The quality score (GraFIQs)."""

    sketch: Path | None = Field(
        default=None,
        description="File in which the distribution of this camera's raw scores is kept for "
        "`streamgate calibrate --from-sketch`: at most 30 KB of numbers, no pictures. Default: "
        "none.",
    )
    max_pending: int = Field(
        default=64,
        ge=1,
        le=1024,
        description="Most faces that wait for the scorer, at most 20 of them from one track. Each "
        "takes 38 KB, more with delivery.context. Beyond it, faces that promise the least "
        "improvement are skipped.",
    )
    score_share: float = Field(
        default=0.3,
        gt=0,
        le=1,
        description="Largest share of a track's faces that is scored, 0-1; the first face is "
        "always scored. The faces are chosen by cheap measures and by the scores of their "
        "neighbours in time. 1 scores all. `streamgate replay` shows what a share costs in "
        "quality.",
    )
    max_non_face_similarity: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Largest cosine of a face's embedding with the mean embedding of pictures "
        "without a face; what lies above it (hair, hands, patterns, a face that nobody could know) "
        "is not forwarded, whatever its score. It needs the file that `streamgate calibrate "
        "--non-faces` writes, which the included network has. 1: off.",
    )
    drift: DriftSection = Field(default_factory=DriftSection)
    service: tuple[ServiceUrl, ...] = Field(
        default=(),
        max_length=16,
        description="Scorer services that score this camera's faces, tried in this order: "
        "`grpc://host:port`, `grpcs://host:port` (TLS) or `unix:/path`. The camera then loads no "
        "network; `weights`, `group` and `calibration` say which scores it expects. Default: none, "
        "the camera scores by itself.",
    )
    on_loss: Literal["skip", "local"] = Field(
        default="skip",
        description="What happens to faces while no service answers. skip: they are skipped and "
        "counted, and the best so far is kept. local: the camera loads the network, which takes "
        "about a second and the memory of a camera without a service, and scores by itself until "
        "a service is back.",
    )
    service_timeout_s: Seconds = Field(
        default=2.0,
        le=60,
        description="Longest time from handing a batch to the services until its scores must be "
        "back, seconds, with all retries. The service is told what is left of it and drops what "
        "is late.",
    )
    service_model: str = Field(
        default="grafiqs",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$",
        description="Name of the model at the service. Of a server that does not tell the hash of "
        "its weights, such as Triton, the name must end in the hash's first 12 digits.",
    )
    service_token: SecretStr | None = Field(
        default=None,
        description="Bearer token for the services; better given as service_token_file.",
    )
    service_ca_file: ExistingFile = Field(
        default=None,
        description="PEM file of the authorities that `grpcs://` services are trusted by. Default: "
        "the system's.",
    )
    service_cert_file: ExistingFile = Field(
        default=None,
        description="PEM file of the certificate that this camera shows to `grpcs://` services.",
    )
    service_key_file: ExistingFile = Field(
        default=None,
        description="PEM file of its key. Default: the key is in service_cert_file.",
    )

    @model_validator(mode="after")
    def _service_fits(self) -> QualitySection:
        if len(set(self.service)) != len(self.service):
            raise ValueError("wanted each address of service once")
        if self.service_key_file is not None and self.service_cert_file is None:
            raise ValueError("service_key_file is given without service_cert_file")
        return self


def _percentage(value: object) -> object:
    """Read `20%`. A bare number is refused: 0.2 might mean a fifth or a fifth of a percent."""
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
    """Which faces are forwarded, and when.

    The threshold is set in one of three ways: `min_quality`, `discard` or `target_fnmr`.
    """

    min_quality: Quality = Field(
        default=30,
        description="Lowest quality of a face that is forwarded, 0-100: the percentage of the "
        "calibration's reference faces that score worse.",
    )
    discard: Percentage | None = Field(
        default=None,
        description="Instead of min_quality: the share of the calibration's reference faces that "
        "would be rejected, such as 20%. Needs calibrated weights.",
    )
    target_fnmr: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="Instead of min_quality: the highest false non-match rate, 0-1, that is "
        "expected of a forwarded face, that is, how often a recogniser would fail to match it "
        "with its own person. Needs a calibration made with `streamgate calibrate --errors`.",
    )
    min_age_s: float = Field(
        default=0.2,
        ge=0,
        le=3600,
        description="Least age of a track before any face of it is forwarded, seconds. False "
        "detections seldom last that long.",
    )
    top_k: int = Field(
        default=1,
        ge=1,
        le=10,
        description="Most faces that one release forwards, the best first. One is enough for most "
        "recognisers.",
    )
    min_gap_s: float = Field(
        default=0.5,
        ge=0,
        le=60,
        description="Least time between two faces of one release, seconds, so that they differ "
        "from each other.",
    )
    release_quality: Quality | None = Field(
        default=None,
        description="Forward as soon as a face reaches this quality, 0-100. Default: wait for the "
        "end of the track.",
    )
    max_wait_s: Seconds | None = Field(
        default=None,
        description="Forward the best face so far once a track is this old, seconds. Default: "
        "wait for the end of the track.",
    )
    improve_by: Annotated[float, Field(gt=0, le=100)] | None = Field(
        default=None,
        description="After a release, forward a later face too if it is better by this many "
        "points of quality. Default: one release per track.",
    )
    cooldown_s: float = Field(
        default=2.0,
        ge=0,
        le=3600,
        description="Least time between two releases of one track, seconds. It never delays other "
        "tracks.",
    )
    visit_s: float = Field(
        default=60.0,
        ge=0,
        le=3600,
        description="Tracks of the same person that follow each other within this time, seconds, "
        "are one visit: a later track forwards a face only if it is better by improve_by. 0: each "
        "track is a visit of its own.",
    )
    max_per_track: int = Field(
        default=3,
        ge=1,
        le=100,
        description="Most faces of one track that are forwarded in all, so that somebody who stays "
        "does not flood the recogniser.",
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
