"""Traces, which show where the time of single frames goes."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from streamgate.config.section import Fraction, Seconds, Section

__all__ = ["TracingSection"]


class TracingSection(Section):
    """OpenTelemetry traces of sampled frames, sent by OTLP over HTTP. Off without an endpoint."""

    endpoint: str | None = Field(
        default=None,
        description="Address that receives traces, such as http://127.0.0.1:4318/v1/traces. Needs "
        "the extra `otel`. Default: no traces.",
    )
    sample_share: Fraction = Field(
        default=0.01,
        description="Share of the frames that are traced. One in a hundred shows where time goes "
        "at no noticeable cost.",
    )
    token: SecretStr | None = Field(
        default=None, description="Sent as `Authorization: Bearer …`; better given as token_file."
    )
    timeout_s: Seconds = Field(
        default=3.0,
        description="Longest wait for the receiver, seconds; it also bounds the wait at stop.",
    )

    @field_validator("endpoint")
    @classmethod
    def _is_http(cls, endpoint: str | None) -> str | None:
        if endpoint is None:
            return None
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("wanted an http:// or https:// URL")
        if parts.username is not None or parts.password is not None:
            raise ValueError("the URL holds credentials; give them as token or token_file")
        return endpoint
