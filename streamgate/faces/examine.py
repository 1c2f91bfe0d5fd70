"""From the box of a face to a crop that may be scored, cheap steps first."""

from __future__ import annotations

from dataclasses import dataclass

from streamgate.config.stages import PrecheckSection
from streamgate.faces.align import align, landmark_error_px, similarity_to_template
from streamgate.faces.precheck import geometry_of, measure, reject_geometry, reject_reason
from streamgate.values import Crop, Face, FaceMeasures, Image
from streamgate.values.reasons import Rejection

__all__ = ["Examination", "examine"]


@dataclass(frozen=True, slots=True, eq=False)
class Examination:
    """The result of examining a face.

    Attributes:
        rejection: why it is not worth a score; None if it is.
        measures: its measures; None if it was rejected by its geometry alone.
        crop: its aligned crop; None if it was rejected by its geometry alone.
    """

    rejection: Rejection | None
    measures: FaceMeasures | None
    crop: Crop | None


def examine(image: Image, face: Face, settings: PrecheckSection) -> Examination:
    """Align and measure a face, unless its geometry already rules it out.

    Args:
        image: the frame, RGB uint8 [H, W, 3].
        face: a face detected in it.
        settings: the prechecks' section of the config.
    """
    geometry = geometry_of(face)
    rejection = reject_geometry(geometry, settings)
    if rejection is not None:
        return Examination(rejection, None, None)
    similarity = similarity_to_template(face.landmarks)
    if similarity is None:
        return Examination(Rejection.NOT_ALIGNABLE, None, None)
    if landmark_error_px(face.landmarks, similarity) > settings.max_landmark_error_px:
        return Examination(Rejection.IMPLAUSIBLE, None, None)
    crop = align(image, similarity)
    measures = measure(geometry, crop)
    return Examination(reject_reason(measures, settings), measures, crop)
