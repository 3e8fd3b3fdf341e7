"""What adding documents did."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["DocumentsReport", "Skipped"]


@dataclass(frozen=True)
class Skipped:
    """A document that could not be read.

    Attributes
    ----------
    source : str
        Its path, relative to its folder, and the message within a mailbox.
    reason : str
        Why.
    """

    source: str
    reason: str


@dataclass
class DocumentsReport:
    """What adding documents did.

    Attributes
    ----------
    added, updated, unchanged : int
        Documents that were new, were written again, and were left alone.
    removed : int
        Documents deleted because their files are gone (``prune=True``).
    gone : list of str
        Documents of the given folders whose files are gone and that are still held (``prune=False``).
    blank : list of str
        Documents without a word, such as scans without a text layer; they have no chunk.
    skipped : list of Skipped
        Documents that could not be read (``on_error="skip"``). What was held of them stays.
    ignored : dict of str to int
        Files that are no documents, by ending.
    chunks_written, chunks_removed : int
        Records written, and records that went or were replaced.
    encodings : dict of str to int
        How the bytes of the documents written were read.
    guessed : list of str
        Those that did not say how, and were no UTF-8: read as Windows-1252, which is wrong for other alphabets than the
        Latin one.
    truncated_items, truncated_tokens : int
        Chunks longer than an encoder's window and the tokens that were not seen.
    vectors, without_vector : dict of str to int
        Chunks with and without a vector, by space.
    generation : int
        The last commit.
    seconds : float
        Wall-clock seconds.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    gone: list[str] = field(default_factory=list)
    blank: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)
    chunks_written: int = 0
    chunks_removed: int = 0
    encodings: dict[str, int] = field(default_factory=dict)
    guessed: list[str] = field(default_factory=list)
    truncated_items: int = 0
    truncated_tokens: int = 0
    vectors: dict[str, int] = field(default_factory=dict)
    without_vector: dict[str, int] = field(default_factory=dict)
    generation: int = 0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain, JSON-ready values.

        Returns
        -------
        dict
            One key per attribute.
        """
        return asdict(self)
