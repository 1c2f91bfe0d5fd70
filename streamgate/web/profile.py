"""`/profile`: which profile is in use, and a call to use another.

Whoever may see the live page may ask. To change it a request must carry the token itself; a login
cookie is not enough, so that no page of another site can do it in somebody's browser.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Annotated, Protocol

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamgate.errors import StreamgateError
from streamgate.selection.profiles import ProfileChoice, UnknownProfileError
from streamgate.web.auth import Guard

__all__ = ["ProfileControl", "add_profile_routes"]

_LONGEST_S = 31 * 86_400
_MOST_BYTES = 4096


class ProfileControl(Protocol):
    """Changes the profile of a running camera."""

    @property
    def profile(self) -> ProfileChoice:
        """The profile in use, and what wants it."""

    @property
    def profiles(self) -> tuple[str, ...]:
        """The names of all profiles."""

    @property
    def called_for_s(self) -> float | None:
        """How long a call's profile stays in use; None without an end."""

    async def use(self, profile: str, for_s: float | None = None) -> None:
        """Use a profile; raises StreamgateError where that cannot be."""

    async def cancel(self) -> None:
        """Leave the choice to the schedule again."""


class _Call(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    profile: str
    for_s: Annotated[float, Field(gt=0, le=_LONGEST_S)] | None = None


def add_profile_routes(app: web.Application, control: ProfileControl, guard: Guard) -> None:
    """Add `/profile` to the application."""

    async def show(_: web.Request) -> web.Response:
        left_s = control.called_for_s
        return web.json_response(
            {
                "profile": control.profile.name,
                "reason": control.profile.reason,
                "for_s": None if left_s is None else round(left_s, 1),
                "profiles": list(control.profiles),
            }
        )

    async def use(request: web.Request) -> web.Response:
        if (refusal := _refusal(request, guard)) is not None:
            return refusal
        if (request.content_length or 0) > _MOST_BYTES:
            raise web.HTTPRequestEntityTooLarge(_MOST_BYTES, request.content_length or 0)
        try:
            call = _Call.model_validate(json.loads(await request.text()))
        except (ValueError, ValidationError):
            return _told(
                HTTPStatus.BAD_REQUEST,
                f'wanted {{"profile": NAME, "for_s": SECONDS}}; for_s may be left out, and is at '
                f"most {_LONGEST_S}",
            )
        try:
            await control.use(call.profile, call.for_s)
        except UnknownProfileError as error:
            return _told(HTTPStatus.NOT_FOUND, str(error))
        except StreamgateError as error:
            return _told(HTTPStatus.CONFLICT, str(error))
        return await show(request)

    async def cancel(request: web.Request) -> web.Response:
        if (refusal := _refusal(request, guard)) is not None:
            return refusal
        try:
            await control.cancel()
        except StreamgateError as error:
            return _told(HTTPStatus.CONFLICT, str(error))
        return await show(request)

    app.router.add_get("/profile", guard.protect(show))
    app.router.add_put("/profile", use)
    app.router.add_delete("/profile", cancel)


def _refusal(request: web.Request, guard: Guard) -> web.Response | None:
    if not guard.has_token:
        return _told(
            HTTPStatus.FORBIDDEN,
            "without web.token (or token_file) nobody may change the profile by a call",
        )
    if not guard.bears_token(request):
        response = _told(HTTPStatus.UNAUTHORIZED, "a bearer token is wanted")
        response.headers["WWW-Authenticate"] = "Bearer"
        return response
    return guard.refusal(request)


def _told(status: HTTPStatus, detail: str) -> web.Response:
    return web.json_response({"detail": detail}, status=status)
