"""The verb that puts a model behind HTTP: serve."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from cyclopts import Parameter

from modelwright.cli.arguments import Printing, answer, app, reporter_of


@Parameter(name="*")
@dataclass(frozen=True)
class LimitOptions:
    """How much the server takes on, where the default is not wanted."""

    rows: int | None = None
    """Texts that are continued at once, and a quarter of the examples predicted in a batch; 16 if not said."""
    queue: int | None = None
    """Texts that wait, at most, and a 64th of the examples; more are refused with 429; 64 if not said."""
    requests: int | None = None
    """Requests in the server at once; more are refused with 429; 128 if not said."""
    max_tokens: int | None = None
    """New tokens of a text, at most; 2048 if not said."""
    body_bytes: int | None = None
    """Size of a request, at most; 8388608 if not said."""
    header_seconds: float | None = None
    """Until a request's headers must be there; 10 if not said."""
    body_seconds: float | None = None
    """Until its body must be there; 20 if not said."""
    request_seconds: float | None = None
    """Until a request must be answered; 120 if not said."""
    grace_seconds: float | None = None
    """How long requests may go on when the server is told to stop; 20 if not said."""


@app.command
def serve(
    run: Path,
    /,
    *,
    port: int = 8000,
    host: str = "127.0.0.1",
    api_key: str | None = None,
    precision: str = "float32",
    options: LimitOptions = LimitOptions(),
    printing: Printing = Printing(),
) -> None:
    """Serve a model: a page to try it, an interface for programs, that of OpenAI for language models.

    **Examples**

    - `modelwright serve runs/digits`, then open http://127.0.0.1:8000
    - `modelwright serve runs/shakespeare --port 9000 --precision bfloat16`
    - `MODELWRIGHT_API_KEY=... modelwright serve runs/churn --host 0.0.0.0`
    - `curl 127.0.0.1:8000/v1/predict --json '{"inputs": [{"age": 39, "job": null}]}'`

    Parameters
    ----------
    run
        A run folder, or a bundle.
    port
        Where to listen; 0 takes any free port.
    host
        The name or address to listen at. Others than this machine's own demand a key.
    api_key
        What every request must show, as `Authorization: Bearer KEY`. Better set as MODELWRIGHT_API_KEY, which others on the machine can't read.
    precision
        Number format of a language model's weights: float32, float16 (x86 CPUs), bfloat16, int8, or auto, the fastest of the first three.
    """
    from modelwright.workflows.serve import serve as work

    reporter = reporter_of(printing)

    def ready(served: object) -> None:
        answer(printing, served)
        sys.stdout.flush()

    work(run, port=port, host=host, api_key=api_key, precision=precision, limits=vars(options), reporter=reporter, ready=ready)
