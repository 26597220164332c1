"""The chat template: makes one prompt of the messages of a chat."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelwright.core.errors import InputError, import_extra
from modelwright.data.tokenizer import SEPARATOR
from modelwright.serving.http.errors import ApiError

TEMPLATE = "chat_template.jinja"
"""The file of a template beside a model, as `transformers` names it."""
PLAIN_STOP = ("\nuser:", "\nsystem:")
"""Where an answer ends that the plain template asked for."""


class ChatTemplate:
    """The template of a model, or a plain one: a line `role: content` for each message, and `assistant:` at the end.

    Args:
        source: a template in Jinja, in the form of `transformers`; None takes the plain one. It runs in a sandbox.

    Raises:
        InputError: Jinja is not installed, or it is no template.
    """

    def __init__(self, source: str | None = None) -> None:
        self.stop: tuple[str, ...] = PLAIN_STOP if source is None else ()
        self._template = None if source is None else _compile(source)

    @classmethod
    def beside(cls, *folders: Path) -> ChatTemplate:
        """The template that lies in one of the folders, or the plain one.

        Raises:
            InputError: it can't be read, or is no template.
        """
        for folder in folders:
            path = folder / TEMPLATE
            if path.is_file():
                try:
                    return cls(path.read_text(encoding="utf-8"))
                except (OSError, UnicodeDecodeError) as error:
                    raise InputError(f"can't be read ({error})", where=path) from None
        return cls()

    @property
    def plain(self) -> bool:
        """Whether the model has none of its own."""
        return self._template is None

    def render(self, messages: Sequence[dict[str, str]]) -> str:
        """The prompt that asks for the answer to the messages.

        Raises:
            ApiError: the template refuses them.
        """
        if self._template is None:
            return "".join(f"{message['role']}: {message['content']}\n" for message in messages) + "assistant:"
        try:
            return self._template.render(messages=list(messages), add_generation_prompt=True, bos_token="", eos_token=SEPARATOR)
        except Exception as error:  # a template may do anything
            raise ApiError(400, f"The chat template refuses the messages: {error}", param="messages") from None


def _compile(source: str) -> Any:
    sandbox = import_extra("jinja2.sandbox", "jinja2", "serve")
    jinja = import_extra("jinja2", "jinja2", "serve")

    def refuse(message: str) -> None:
        raise jinja.exceptions.TemplateError(message)

    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = refuse
    try:
        return environment.from_string(source)
    except jinja.exceptions.TemplateError as error:
        raise InputError(f"is no template ({error})", where=TEMPLATE) from None
