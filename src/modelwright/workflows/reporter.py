"""What a person sees while a verb works: one line a stage, tables, progress; and the same lines in the run's log."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from modelwright.core.disk import disk_errors


class Reporter:
    """Prints to a console and, once a run folder is known, into its `log.txt`.

    Args:
        console: where a person looks; None prints nothing.
        quiet: print results only, neither stages nor progress.
    """

    def __init__(self, console: Console | None = None, *, quiet: bool = False) -> None:
        self.console, self.quiet = console, quiet
        self._log: Path | None = None
        self._waiting = ""

    @property
    def visible(self) -> bool:
        """Whether anybody looks, so that progress bars make sense."""
        return self.console is not None and not self.quiet

    def attach(self, log: Path) -> None:
        """Write all lines into `log` too, those said before included."""
        self._log = log
        self._write("")

    def say(self, stage: str, message: str) -> None:
        """A line: the stage in the margin, then the message."""
        line = Table.grid(padding=(0, 1, 0, 1))
        line.add_column(width=9, no_wrap=True, style="bold cyan")
        line.add_column()
        line.add_row(stage, Text(message))
        self._draw(line, self.visible)

    def show(self, content: RenderableType) -> None:
        """A result: anything that rich can draw; text is taken as it is."""
        self._draw(Text(content) if isinstance(content, str) else content, self.console is not None)

    def _draw(self, content: RenderableType, visible: bool) -> None:
        if self.console and visible:
            self.console.print(content, highlight=False)
        plain = Console(file=io.StringIO(), width=100, color_system=None)
        plain.print(content, highlight=False)
        self._write(plain.file.getvalue())  # type: ignore[attr-defined]

    def print_text(self, text: str) -> None:
        """Text as it is: neither wrapped nor colored, fit to be redirected into a file."""
        if self.console:
            self.console.out(text, end="", highlight=False)

    def _write(self, text: str) -> None:
        self._waiting += text
        if self._log and self._waiting:
            with disk_errors(self._log), self._log.open("a", encoding="utf-8") as file:
                file.write(self._waiting)
            self._waiting = ""


@contextmanager
def steps_bar(reporter: Reporter, title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar with the time left, to be told how many of how many steps are done; nothing where nobody looks."""
    if not reporter.visible:
        yield lambda done, of: None
        return
    columns = (TextColumn(title), BarColumn(), TimeRemainingColumn(compact=True), TextColumn("left"))
    with Progress(*columns, console=reporter.console, transient=True) as bar:
        task = bar.add_task(title)
        yield lambda done, of: bar.update(task, completed=done, total=of)
