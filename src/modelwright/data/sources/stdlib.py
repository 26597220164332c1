"""The sources of the Python standard library that runs this: real text that lies on every machine; nothing is downloaded."""

from __future__ import annotations

import os
import platform
import sysconfig
from pathlib import Path

from modelwright.core.errors import InputError
from modelwright.data.config import DataConfig
from modelwright.data.corpus.config import CorpusConfig
from modelwright.data.source import sources
from modelwright.data.text import Corpora, TextSource, prepared

LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}


@sources.register("stdlib")
class StandardLibrary(TextSource):
    """Reads the `.py` files of the standard library, a document each, without tests and installed packages."""

    accepts = "`stdlib`, the sources of Python's standard library"
    names = ("stdlib",)

    def recognizes(self, argument: str) -> float:
        """Sure of its name."""
        return float(argument == "stdlib")

    def files(self, argument: str) -> list[Path]:
        """The files in the order of their paths.

        Raises:
            InputError: this Python came without its sources.
        """
        folder = Path(sysconfig.get_paths()["stdlib"])
        found: list[Path] = []
        for parent, below, files in os.walk(folder):
            below[:] = sorted(set(below) - LEFT_OUT)
            found += [Path(parent, name) for name in files if name.endswith(".py")]
        found = sorted(path for path in found if not path.is_symlink())
        if not found:
            raise InputError("this Python came without the sources of its standard library", where=folder)
        return found

    def corpora(self, argument: str, config: DataConfig, seed: int) -> Corpora:
        """The one corpus, split by file.

        Raises:
            InputError: this Python came without its sources.
        """
        files = self.files(argument)
        settings = CorpusConfig(
            tokenizer=config.tokenizer,
            validation=config.validation,
            test=config.test,
            given_splits=False,
            encoding=config.encoding,
            seed=seed,
        )
        return Corpora((prepared(files, settings),), notes=(f"the {len(files):,} files are those of Python {platform.python_version()}",))
