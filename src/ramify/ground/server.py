"""An OpenAI-compatible server as a recipe names it: its address, its limits, and what may be spent."""

from __future__ import annotations

import re
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ramify.ground.errors import BadInput
from ramify.ground.units import Tokens

Structured = Literal["json_schema", "json_object", "text"]
"""How a server is held to JSON: by a schema, as any object, or by the prompt alone."""

VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


def holds_a_secret(url: str) -> bool:
    """Say whether an address names a user or a password, or one of the web asks with a query."""
    parts = urlsplit(url)
    asks = parts.scheme in ("http", "https") and parts.query
    return bool(parts.scheme and ("@" in parts.netloc or asks))


class Server(BaseModel):
    """Where to ask, and how hard: all of it is conduct, none of it changes what an answer means.

    `keys` names environment variables that hold a key each, used in turn; a server that asks for
    none has `keys=()`. Limits are per key. Prices are dollars for a million tokens.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    base_url: str
    keys: tuple[str, ...] = ("OPENAI_API_KEY",)
    concurrency: int = Field(default=16, ge=1, le=4096)
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    timeout_seconds: float = Field(default=120.0, gt=0)
    attempts: int = Field(default=6, ge=1)  # of one request that the server does not answer
    first_wait_seconds: float = Field(default=0.5, ge=0)
    price_prompt: float = Field(default=0.0, ge=0)
    price_completion: float = Field(default=0.0, ge=0)

    @property
    def prices(self) -> tuple[float, float] | None:
        """Dollars for a million tokens of questions, and of answers; None where none is given."""
        own = (self.price_prompt, self.price_completion)
        return own if any(own) else None

    @field_validator("base_url")
    @classmethod
    def _has_no_secret(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadInput(f"{url!r} is no address of a server", hint="write http://HOST:PORT/v1")
        if holds_a_secret(url):
            raise BadInput(
                "the address of a server holds a secret",
                hint="leave it out, and name its environment variable in keys=(...)",
            )
        return url

    @field_validator("keys")
    @classmethod
    def _are_names(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        if not all(
            map(VARIABLE.fullmatch, keys)
        ):  # it may be the key: what is wrong is not repeated
            raise BadInput(
                "something in keys is not the name of an environment variable",
                hint="write keys=('OPENAI_API_KEY',) and export OPENAI_API_KEY=...",
            )
        return keys


class Cap(BaseModel):
    """The most that may be spent, over all attempts of a step: in tokens, dollars, or both."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    tokens: Tokens | None = None
    dollars: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _caps_something(self) -> Self:
        if self.tokens is None and self.dollars is None:
            raise BadInput("a cap of nothing", hint="give Cap(tokens=...) or Cap(dollars=...)")
        return self
