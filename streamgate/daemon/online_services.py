"""Ask the scorer services of a camera, before the daemon relies on them."""

from __future__ import annotations

import asyncio
import time

import numpy as np

from streamgate.config import QualitySection
from streamgate.config.service_address import parse_address
from streamgate.daemon.online_step import Step
from streamgate.errors import ScoreError, StreamgateError
from streamgate.quality.layout import INPUT_SIZE
from streamgate.quality.remote.expected import ExpectedModel, expected_model
from streamgate.values.reasons import ServiceFault

__all__ = ["ask_services"]

_ASK_S = 10.0
_REMEDIES = {
    ServiceFault.UNREACHABLE: "start it with `streamgate serve`, and compare the addresses; with "
    "grpcs://, the certificates too",
    ServiceFault.TIMEOUT: "look at its load and at the network",
    ServiceFault.BUSY: "look at its queue, or add a service",
    ServiceFault.NOT_ADMITTED: "give its token as quality.service_token_file",
    ServiceFault.OTHER_MODEL: "give both the same weights, group and model name",
    ServiceFault.FAILED: "look at its log",
}


async def ask_services(settings: QualitySection) -> list[Step]:
    """Ask each service for its model and the score of one grey picture."""
    if not settings.service:
        return []
    try:
        expected = await asyncio.to_thread(expected_model, settings)
    except StreamgateError as error:
        return [Step("quality.service", False, str(error), "see quality in the configuration")]
    return list(
        await asyncio.gather(*(_ask(settings, expected, text) for text in settings.service))
    )


async def _ask(settings: QualitySection, expected: ExpectedModel, text: str) -> Step:
    # A check without services needs no gRPC.
    from streamgate.quality.remote.endpoint import (  # noqa: PLC0415
        Access,
        Endpoint,
        EndpointError,
    )
    from streamgate.quality.remote.tensors import decode_scores, encode_crops  # noqa: PLC0415

    name = f"scorer service ({text})"
    crop = np.full((1, INPUT_SIZE, INPUT_SIZE, 3), 127, np.uint8)
    endpoint = None
    try:
        access = await asyncio.to_thread(Access.of, settings)
        endpoint = Endpoint(parse_address(text), access)
        model = await endpoint.describe(settings.service_model, timeout_s=_ASK_S)
        different = model.difference(expected.model_hash, settings.group)
        if different is not None:
            return Step(name, False, different, _REMEDIES[ServiceFault.OTHER_MODEL])
        request = encode_crops(
            crop,
            model,
            camera="check",
            deadline_ms=round(_ASK_S * 1000),
            model_hash=expected.model_hash,
        )
        began_at = time.monotonic()
        decode_scores(await endpoint.infer(request, timeout_s=_ASK_S), 1)
        took_ms = 1000 * (time.monotonic() - began_at)
    except EndpointError as error:
        return Step(name, False, str(error), _REMEDIES[error.fault])
    except (ScoreError, StreamgateError) as error:
        return Step(name, False, str(error), "see quality in the configuration")
    finally:
        if endpoint is not None:
            await endpoint.close()
    return Step(name, True, f"scores a face in {took_ms:.0f} ms")
