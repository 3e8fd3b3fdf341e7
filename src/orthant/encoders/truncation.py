"""Texts to token windows: what fits, what is cut or split, and the figures that say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message, warn
from orthant.types import EncodeReport

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["TRUNCATIONS", "Truncation", "TruncationCount", "Windows", "tokenize_windows", "warn_truncated"]

Truncation = Literal["cut", "chunk", "error"]
TRUNCATIONS = ("cut", "chunk", "error")


@dataclass(frozen=True)
class Windows:
    """Token windows of a block of texts; a text has one window, or several under ``truncation="chunk"``.

    Attributes
    ----------
    ids : list of ndarray of shape (length,), int32
        Token ids with special tokens, one array per window.
    owner : ndarray of shape (windows,), int64
        Position in the block of the text each window belongs to.
    weights : ndarray of shape (windows,), float32
        Content tokens per window: the weight of its vector in the text's vector; at least 1.
    """

    ids: list[npt.NDArray[np.int32]]
    owner: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]


@dataclass
class TruncationCount:
    """Running figures of one encode call.

    Attributes
    ----------
    items, truncated_items, truncated_tokens, empty_items : int
        As in ``EncodeReport``.
    tokens : int
        Content tokens given, cut ones included.
    first : int or None
        Position of the first item beyond the window.
    """

    items: int = 0
    truncated_items: int = 0
    truncated_tokens: int = 0
    empty_items: int = 0
    tokens: int = 0
    first: int | None = field(default=None)

    def add(self, *, tokens: int, kept: int, empty: bool) -> None:
        """Count one item.

        Parameters
        ----------
        tokens : int
            Content tokens it has.
        kept : int
            Content tokens inside the first window.
        empty : bool
            It has no known token.
        """
        if tokens > kept:
            self.truncated_items += 1
            self.truncated_tokens += tokens - kept
            self.first = self.items if self.first is None else self.first
        self.tokens += tokens
        self.empty_items += empty
        self.items += 1

    def report(self, *, seconds: float) -> EncodeReport:
        """Return the figures as a report.

        Parameters
        ----------
        seconds : float
            Wall-clock seconds of the call.

        Returns
        -------
        EncodeReport
            The figures.
        """
        return EncodeReport(
            items=self.items,
            truncated_items=self.truncated_items,
            truncated_tokens=self.truncated_tokens,
            empty_items=self.empty_items,
            seconds=seconds,
        )

    def refuse(self, max_tokens: int) -> None:
        """Raise if any item was beyond the window.

        Parameters
        ----------
        max_tokens : int
            The window, for the message.

        Raises
        ------
        InputError
            At least one item was too long.
        """
        if self.truncated_items:
            raise InputError(
                message(
                    f"{self.truncated_items} text(s) longer than the window, the first at position {self.first}",
                    f"at most {max_tokens} tokens each, special tokens included",
                    "split them, or load the encoder with truncation='chunk' or 'cut'",
                )
            )


def tokenize_windows(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    *,
    truncation: Truncation,
    special_tokens: int,
    unknown_id: int | None,
    count: TruncationCount,
) -> Windows:
    """Tokenize a block of texts into windows and add what did not fit to the count.

    Parameters
    ----------
    texts : sequence of str
        Prompts already put before them.
    tokenizer : tokenizers.Tokenizer
        With truncation set to the window and padding off; what overflows comes back from it as further windows.
    truncation : {"cut", "chunk", "error"}
        ``"chunk"`` keeps every window, the others only the first.
    special_tokens : int
        Special tokens the tokenizer adds to a window.
    unknown_id : int or None
        Id of the unknown token, where there is one.
    count : TruncationCount
        Updated in place.

    Returns
    -------
    Windows
        At least one window per text, in order.
    """
    ids: list[npt.NDArray[np.int32]] = []
    owner: list[int] = []
    weights: list[int] = []
    for position, encoding in enumerate(tokenizer.encode_batch(list(texts))):
        every = [encoding, *encoding.overflowing]
        lengths = [len(one) - special_tokens for one in every]
        first = np.array(encoding.ids, dtype=np.int32)
        empty = lengths[0] <= 0 or (unknown_id is not None and _all_unknown(every, unknown_id))
        count.add(tokens=sum(lengths), kept=lengths[0], empty=empty)
        for window, length in zip(every, lengths, strict=True):
            ids.append(first if window is encoding else np.array(window.ids, dtype=np.int32))
            owner.append(position)
            weights.append(max(1, length))
            if truncation != "chunk":
                break
    return Windows(ids, np.array(owner, dtype=np.int64), np.array(weights, dtype=np.float32))


def _all_unknown(windows: Sequence[object], unknown_id: int) -> bool:
    for window in windows:
        content = zip(window.ids, window.special_tokens_mask, strict=True)  # type: ignore[attr-defined]
        if any(token != unknown_id and not special for token, special in content):
            return False
    return True


def warn_truncated(count: TruncationCount, *, max_tokens: int) -> None:
    """Warn once, with figures, when texts lost their end.

    Parameters
    ----------
    count : TruncationCount
        Figures of the call.
    max_tokens : int
        The window.
    """
    if count.truncated_items:
        warn(
            f"{count.truncated_items} of {count.items} texts were longer than {max_tokens} tokens: "
            f"{count.truncated_tokens} of {count.tokens} tokens ({count.truncated_tokens / count.tokens:.0%}) were cut."
            " Load the encoder with truncation='chunk' to use all of each text, or 'error' to refuse such texts."
        )
