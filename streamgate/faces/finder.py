"""The faces of a whole photograph, for those who have no aligned crops yet.

finder, scorer = FaceFinder.load(), Scorer.load()
faces = finder.find(read_photograph("group.jpg"))
for face, quality in zip(faces, scorer.score(crops_of(faces)).quality):
    print(face.box, round(quality), face.rejection or "fit")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgate.config.stages import DetectorSection, PrecheckSection
from streamgate.faces.align import CROP_SIDE, align, similarity_to_template
from streamgate.faces.detect import YuNetDetector
from streamgate.faces.examine import examine
from streamgate.models.registry import installed
from streamgate.ports import FaceDetector
from streamgate.values import Face, Image

__all__ = ["FaceFinder", "FoundFace", "crops_of"]


@dataclass(frozen=True, slots=True, eq=False)
class FoundFace:
    """A face of a photograph.

    Attributes:
        face: where it is, its landmarks and the detector's confidence.
        crop: RGB uint8 [112, 112, 3], aligned, as `Scorer.score` takes it, read-only.
        rejection: the precheck for which the gate would not score it ("too_small", say), or None.
    """

    face: Face
    crop: Image
    rejection: str | None

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2 in pixels of the photograph."""
        x1, y1, x2, y2 = self.face.box.tolist()
        return x1, y1, x2, y2


class FaceFinder:
    """Finds, checks and aligns the faces of photographs; one thread at a time may use it.

    Args:
        detector: finds them.
        prechecks: what the gate asks of a face before it is scored; the defaults where left out.
    """

    def __init__(self, detector: FaceDetector, prechecks: PrecheckSection | None = None) -> None:
        self._detector = detector
        self._prechecks = prechecks or PrecheckSection()

    @classmethod
    def load(
        cls, detector: DetectorSection | None = None, prechecks: PrecheckSection | None = None
    ) -> FaceFinder:
        """Load the face detector, which must be there: `streamgate models pull yunet` fetches it.

        Raises:
            ModelError: its file is missing or damaged; nothing is fetched.
            DetectorError: it cannot be used.
        """
        settings = detector or DetectorSection()
        return cls(YuNetDetector(settings, installed(settings.model)), prechecks)

    def find(self, photograph: Image) -> list[FoundFace]:
        """Return every face that can be aligned, best detected first, fit for a score or not.

        Args:
            photograph: RGB uint8 [H, W, 3].

        Raises:
            DetectorError: the picture is of another shape or type, or the detector failed.
        """
        found = (self._found(photograph, face) for face in self._detector.detect(photograph))
        return [face for face in found if face is not None]

    def _found(self, photograph: Image, face: Face) -> FoundFace | None:
        examination = examine(photograph, face, self._prechecks)
        crop = examination.crop
        if crop is None:
            # The daemon spares itself the crop of a face that it will not score.
            similarity = similarity_to_template(face.landmarks)
            if similarity is None:
                return None
            crop = align(photograph, similarity)
        rejection = None if examination.rejection is None else str(examination.rejection)
        return FoundFace(face, crop.image, rejection)


def crops_of(faces: Sequence[FoundFace]) -> NDArray[np.uint8]:
    """Return the crops of faces as `Scorer.score` takes them: RGB uint8 [N, 112, 112, 3]."""
    crops = np.empty((len(faces), CROP_SIDE, CROP_SIDE, 3), dtype=np.uint8)
    for place, face in zip(crops, faces, strict=True):
        place[...] = face.crop
    return crops
