"""Raw text: a file, or a folder of files, prepared on the fly."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from modelwright.data.config import DataConfig
from modelwright.data.corpus.config import CorpusConfig
from modelwright.data.source import sources
from modelwright.data.text import Corpora, TextSource, prepared

PROSE = (".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".html", ".xml", ".adoc", ".org", ".srt")
CODE = (
    ".py", ".pyi", ".js", ".ts", ".jsx", ".tsx", ".c", ".h", ".cc", ".cpp", ".hpp", ".cs", ".java", ".kt", ".scala", ".go", ".rs", ".rb",
    ".php", ".swift", ".m", ".r", ".jl", ".lua", ".pl", ".sh", ".sql", ".css", ".f90", ".hs", ".ml", ".lisp", ".el", ".ex", ".erl", ".v",
)  # fmt: skip
ROWS = (".jsonl", ".ndjson", ".parquet", ".pq")
PACKED = (".gz", ".zst")
MOST_FILES_SEEN = 1000


def is_text_name(path: Path) -> bool:
    """Whether a file's name is one of text, packed or not."""
    name = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return name.suffix.lower() in (*PROSE, *CODE, *ROWS)


@sources.register("text")
class Text(TextSource):
    """Reads text files, JSON lines and Parquet files, gzipped or not, and folders of them."""

    accepts = "text (.txt, .md, .py and the like, .jsonl or .parquet with a column `text`; also .gz or .zst) or a folder of it"

    def recognizes(self, argument: str) -> float:
        """Fairly sure of the name of a text file, where a table's is surer; less of a folder where half of the files have such names."""
        path = Path(argument)
        if path.is_file():
            return 0.6 * is_text_name(path)
        if not path.is_dir():
            return 0.0
        below = (
            file for file in path.rglob("*") if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
        )
        seen = [is_text_name(file) for file in islice(below, MOST_FILES_SEEN)]
        return 0.35 * (sum(seen) > 0.5 * len(seen))

    def files(self, argument: str) -> list[Path]:
        """The one file or folder."""
        return [Path(argument)]

    def corpora(self, argument: str, config: DataConfig, seed: int) -> Corpora:
        """The one corpus: files and folders named after splits are these, otherwise it is split by document, or a single one by position.

        Raises:
            InputError: nothing can be read.
        """
        # Who names one file of plain text means all of it, be it as repetitive as it may.
        alone = Path(argument).is_file() and not {".jsonl", ".json", ".parquet"} & set(Path(argument).suffixes)
        settings = CorpusConfig(
            tokenizer=config.tokenizer,
            validation=config.validation,
            test=config.test,
            encoding=config.encoding,
            filters="none" if alone else "default",
            seed=seed,
        )
        return Corpora((prepared(self.files(argument), settings),))
