"""The live pipeline: frames in, best shots out."""

from streamgate.pipeline.camera import CameraPipeline, PipelineParts
from streamgate.pipeline.publisher import PipelineIdentity, Publisher, SystemClock

__all__ = ["CameraPipeline", "PipelineIdentity", "PipelineParts", "Publisher", "SystemClock"]
