"""Dividing documents into chunks that know their place.

Chunks cover a document: without overlap, all of them joined are its text. Whatever they are divided by, none is larger
than asked unless a single word is: a section is divided into sentences, a sentence into words, and a run without
blanks into pieces of 40 characters.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from orthant.datasets.documents import units
from orthant.datasets.documents.kinds import DocumentText, Mark
from orthant.errors import InputError, message
from orthant.validate import check_choice, check_count

__all__ = ["Chunk", "Chunking", "Counter", "chunk_document"]

DEFAULT_SIZE = 200

_LETTERS = re.compile(r"[^\W_]")

Span = tuple[int, int]
Counter = Callable[[Sequence[str]], Sequence[int]]
"""Gives the size of each of some words, in tokens."""


@dataclass(frozen=True)
class Chunking:
    """How documents are divided.

    Parameters
    ----------
    by : {"headings", "sentences", "tokens", "whole"}, default "headings"
        ``"headings"``: a chunk never reaches over a heading, or in programs over a function or class, and ends with a
        sentence or line. ``"sentences"``: whole sentences, headings do not matter. ``"tokens"``: as many as fit,
        divided between any two words. ``"whole"``: one chunk per document.
    size : int, default 200
        Most tokens of a chunk; words where no encoder tells its tokens. Too large, and a vector stands for several
        subjects; too small, and a chunk is not understood alone. Not for ``"whole"``.
    overlap : int, default 0
        Most tokens at a chunk's head that the chunk before has as well; less than ``size``. It helps where answers
        straddle an edge, and costs space. Not for ``"whole"``.

    Raises
    ------
    InputError
        Out of range, or without effect.

    Examples
    --------
    >>> Chunking(by="tokens", size=256, overlap=32)
    Chunking(by='tokens', size=256, overlap=32)
    """

    by: Literal["headings", "sentences", "tokens", "whole"] = "headings"
    size: int = DEFAULT_SIZE
    overlap: int = 0

    def __post_init__(self) -> None:
        check_choice(self.by, ("headings", "sentences", "tokens", "whole"), name="by")
        check_count(self.size, name="size")
        check_count(self.overlap, name="overlap", minimum=0)
        if self.by == "whole" and (self.size != DEFAULT_SIZE or self.overlap):
            given = f"size={self.size} and overlap={self.overlap} for whole documents"
            raise InputError(message(given, "neither", "leave them out, or choose another by"))
        if self.by != "whole" and self.overlap >= self.size:
            given = f"overlap={self.overlap} of chunks of {self.size} tokens"
            raise InputError(message(given, "less than the size", "a tenth of the size is common"))

    @classmethod
    def parse(cls, text: str) -> Chunking:
        """Read what the command line takes: ``BY[:SIZE[:OVERLAP]]``.

        Parameters
        ----------
        text : str
            Such as ``"tokens:256:32"``.

        Returns
        -------
        Chunking
            The same.

        Raises
        ------
        InputError
            Anything else.

        Examples
        --------
        >>> Chunking.parse("sentences:100")
        Chunking(by='sentences', size=100, overlap=0)
        """
        by, *numbers = text.split(":")
        if len(numbers) > 2 or not all(number.isdecimal() for number in numbers):
            raise InputError(message(f"{text!r}", "BY, BY:SIZE or BY:SIZE:OVERLAP", "write, say, headings:200:20"))
        return cls(by, *map(int, numbers))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Chunk:
    """A part of a document.

    Attributes
    ----------
    number : int
        0 for the first.
    start, end : int
        Its characters within the document's text.
    text : str
        ``document.text[start:end]``, the blanks at its end included.
    heading : str
        Headings that it stands under, from the outermost on, joined by `` > ``; empty without.
    page : int or None
        Page on which it begins, from 1, where the document has pages.
    size : int
        Its tokens or words.
    """

    number: int
    start: int
    end: int
    text: str
    heading: str
    page: int | None
    size: int


def chunk_document(
    document: DocumentText, chunking: Chunking | None = None, *, count: Counter | None = None, limit: int | None = None
) -> list[Chunk]:
    r"""Divide a document.

    Parameters
    ----------
    document : DocumentText
        From a reader.
    chunking : Chunking, optional
        How; default by headings, at most 200 tokens.
    count : callable of (sequence of str), optional
        Gives the tokens of each word; default one each.
    limit : int, optional
        Most tokens whatever ``chunking`` says, such as the window of an encoder.

    Returns
    -------
    list of Chunk
        None of them blank; empty for a document without words.

    Notes
    -----
    Cost: linear in the text.

    Examples
    --------
    >>> from orthant.datasets.documents import read_document
    >>> text = read_document(b"# Kites\n\nUp they go.\n\n## Line\n\nLong and thin.", "markdown")
    >>> [(chunk.number, chunk.heading) for chunk in chunk_document(text)]
    [(0, 'Kites'), (1, 'Kites > Line')]
    """
    chunking = chunking or Chunking()
    text = document.text
    size = limit if chunking.by == "whole" else min(chunking.size, limit or chunking.size)
    divider = _Divider(document, count, size, min(chunking.overlap, (size or 1) - 1))
    if not text.strip():
        return []
    bare = _after_bare_headings(document)
    edges = [0]
    if chunking.by == "headings":
        edges += [at for at in divider.sections(document.marks) if at > 0 and at not in bare]
    spans: list[tuple[int, int, int]] = []
    for begin, end in zip(edges, [*edges[1:], len(text)], strict=True):
        spans += divider.divide(begin, end, chunking.by)
    return _named(document, [span for span in spans if text[span[0] : span[1]].strip()], bare)


def _after_bare_headings(document: DocumentText) -> set[int]:
    """Positions of sections that follow a heading with nothing under it, which is better kept with what comes next."""
    out = set()
    for mark, following in zip(document.marks, document.marks[1:], strict=False):
        section = document.text[mark.position : following.position]
        # A title may be plainer than its line, never longer.
        if document.kind != "python" and len(_LETTERS.findall(section)) <= len(_LETTERS.findall(mark.title)):
            out.add(following.position)
    return out


class _Divider:
    """Packs units of a text into spans of at most a number of tokens."""

    def __init__(self, document: DocumentText, count: Counter | None, size: int | None, overlap: int) -> None:
        self._text, self._size, self._overlap = document.text, size, overlap
        self._is_code = document.kind in ("python", "code")
        self._words = units.words(document.text, 0, len(document.text))
        starts = [begin for begin, _ in self._words]
        sizes = [1] * len(starts) if count is None else list(count([self._text[a:b].strip() for a, b in self._words]))
        self._starts, self._sizes = starts, sizes
        total = [0]
        for one in sizes:
            total.append(total[-1] + int(one))
        self._total = total

    def _tokens(self, begin: int, end: int) -> int:
        """Tokens of the words that begin between two characters."""
        first = bisect_right(self._starts, begin - 1)
        return self._total[bisect_right(self._starts, end - 1)] - self._total[first]

    def sections(self, marks: Sequence[Mark]) -> list[int]:
        """Return where sections begin; a class that is small enough is one, and its methods are none of their own."""
        if not self._is_code or self._size is None:
            return [mark.position for mark in marks]
        out: list[int] = []
        closed = 0
        for number, mark in enumerate(marks):
            if mark.position < closed:
                continue
            out.append(mark.position)
            later = (other.position for other in marks[number + 1 :] if other.level <= mark.level)
            end = next(later, len(self._text))
            if self._tokens(mark.position, end) <= self._size:
                closed = end
        return out

    def divide(self, begin: int, end: int, by: str) -> Iterator[tuple[int, int, int]]:
        """Yield begin, end and tokens of the chunks of a part."""
        if self._size is None or (by != "tokens" and self._tokens(begin, end) <= self._size):
            yield begin, end, self._tokens(begin, end)
            return
        parts = [(begin, end)]
        if by == "tokens":
            # The beginning of a part may lie between two words, in the blanks before the first.
            parts = self._divided(begin, end, units.words)
        else:
            for divide in (units.blocks, units.lines, units.words) if self._is_code else (units.sentences, units.words):
                parts = [piece for part in parts for piece in self._smaller(part, divide)]
        yield from self._packed(parts)

    def _divided(self, begin: int, end: int, divide: Callable[[str, int, int], list[Span]]) -> list[Span]:
        return divide(self._text, begin, end)

    def _smaller(self, part: Span, divide: Callable[[str, int, int], list[Span]]) -> list[Span]:
        return [part] if self._tokens(*part) <= (self._size or 0) else self._divided(*part, divide)

    def _packed(self, parts: list[Span]) -> Iterator[tuple[int, int, int]]:
        sizes = [self._tokens(*part) for part in parts]
        size = self._size or 0
        first = 0
        while first < len(parts):
            last, total = first, sizes[first]
            while last + 1 < len(parts) and total + sizes[last + 1] <= size:
                last += 1
                total += sizes[last]
            yield parts[first][0], parts[last][1], total
            if last + 1 == len(parts):
                return
            following, shared = last + 1, 0
            # What is shared must leave room for the next unit, or the chunks would not move on.
            while (
                following > first + 1
                and shared + sizes[following - 1] <= self._overlap
                and shared + sizes[following - 1] + sizes[last + 1] <= size
            ):
                following -= 1
                shared += sizes[following]
            first = following


def _named(document: DocumentText, spans: list[tuple[int, int, int]], bare: set[int]) -> list[Chunk]:
    text = document.text
    chunks = []
    path: list[tuple[int, str]] = []
    marks = iter(document.marks)
    upcoming = next(marks, None)
    for number, (begin, end, size) in enumerate(spans):
        # A heading with nothing but blanks before it in the chunk is the chunk's own.
        own = begin + len(text[begin:end]) - len(text[begin:end].lstrip())
        headed = False
        while upcoming is not None and (
            upcoming.position <= own or (headed and upcoming.position in bare and upcoming.position < end)
        ):
            headed = True
            path = [(level, title) for level, title in path if level < upcoming.level]
            path.append((upcoming.level, upcoming.title))
            upcoming = next(marks, None)
        page = bisect_right(document.pages, own) if document.pages else None
        heading = " > ".join(title for _, title in path)
        chunks.append(Chunk(number, begin, end, text[begin:end], heading, page, size))
    return chunks
