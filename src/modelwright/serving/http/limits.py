"""Limits: how much a server takes on."""

from __future__ import annotations

from pydantic import Field

from modelwright.core.config import Config


class Limits(Config):
    """What a request may be, and how many are served at once."""

    rows: int = Field(16, gt=0)
    """Texts that are continued at once; examples that are predicted in a batch are four times as many."""
    queue: int = Field(64, gt=0)
    """Texts that wait for a row, at most; examples that wait, 64 times as many. More are refused with 429."""
    requests: int = Field(128, gt=0)
    """Requests that are in the server at once, waiting or not; more are refused with 429."""
    connections: int = Field(512, gt=0)
    """Connections that are open at once; more are refused with 503."""
    body_bytes: int = Field(8 << 20, gt=0)
    """Size of a request's body."""
    bodies_bytes: int = Field(64 << 20, gt=0)
    """Of all bodies that are in the server at once."""
    max_tokens: int = Field(2048, gt=0)
    """New tokens of a text."""
    prompt_tokens: int = Field(16_384, gt=0)
    """Tokens of a prompt, where the network itself has no limit."""
    choices: int = Field(16, gt=0)
    """Texts of one request."""
    examples: int = Field(1024, gt=0)
    """Examples of one request."""
    pixels: int = Field(25_000_000, gt=0)
    """Pixels of an image, each of which takes up to 16 bytes while it is read."""
    header_seconds: float = Field(10, gt=0)
    """Until a request's headers must be there."""
    body_seconds: float = Field(20, gt=0)
    """Until its body must be there."""
    idle_seconds: float = Field(30, gt=0)
    """How long a connection may wait for its next request."""
    request_seconds: float = Field(120, gt=0)
    """Until a request must be answered, and its answer taken."""
    grace_seconds: float = Field(20, ge=0)
    """How long those that are being answered may go on when the server is told to stop."""
