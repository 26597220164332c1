"""Normalization: one way to write the same text."""

from __future__ import annotations

import re
import unicodedata

NO_TEXT = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")
"""Control characters that mean nothing in text; tab, line feed and form feed are kept."""
LINE_END = re.compile("\r\n?")


def normalize(text: str, form: str) -> str:
    """The text in Unicode normalization form `form` (nfc or nfkc), with line feeds as line ends and no control characters; `none`: as it is.

    Texts that were cut before line ends may be normalized one by one: a line feed composes with nothing.
    """
    if form == "none":
        return text
    if "\r" in text:
        text = LINE_END.sub("\n", text)
    text = NO_TEXT.sub("", text)
    # Text of ASCII is in every normal form.
    return text if text.isascii() else unicodedata.normalize("NFKC" if form == "nfkc" else "NFC", text)
