"""Uncased WordPiece tokenisation: the exact result of ``tokenizers``, several times faster on everyday text.

Most words of a batch were met before. Texts of the everyday alphabet are therefore split into words by one regular
expression over the whole batch, and words become token ids through a lexicon that remembers each word's pieces.
Any other text, and any tokenizer that is not an uncased WordPiece, goes through the ``tokenizers`` package.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import StoreCorruptedError, message

__all__ = ["WordPieceTokenizer"]

_LEXICON_WORDS = 400_000
_LONGEST_WORD = 100
_SEPARATOR = "\0"
# Latin letters whose decomposition is one letter plus marks, and punctuation that word processors insert.
_LETTERS = "\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u017f"
_EVERYDAY = re.compile(f"[\0-\x7f{_LETTERS}\u2013\u2014\u2018\u2019\u201c\u201d\u2026]*")
_WORD = re.compile("[a-z0-9\u00df-\u00f6\u00f8-\u017f]+|[^\\sa-z0-9\u00df-\u00f6\u00f8-\u017f]")
_CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")


@cache
def _unaccented() -> dict[int, str]:
    """Map each accented Latin letter to what canonical decomposition without marks leaves of it, in lower case."""
    table = {}
    for code in range(0xC0, 0x180):
        parts = unicodedata.normalize("NFD", chr(code))
        table[code] = "".join(part for part in parts if unicodedata.category(part) != "Mn").lower()
    return table


class _Lexicon(dict):
    """Words met so far; a new key is tokenised once. A str key is a word, an int key stands for that token itself."""

    def __init__(self, vocabulary: dict[str, int], unknown: int) -> None:
        super().__init__()
        self._vocabulary, self._unknown, self._lock = vocabulary, unknown, Lock()
        self.starts = np.zeros(8_192, dtype=np.int64)
        self.pieces = np.zeros(16_384, dtype=np.int32)
        super().__setitem__(_SEPARATOR, 0)

    def __missing__(self, key: str | int) -> int:
        ids = [key] if isinstance(key, int) else self._split(key)
        with self._lock:
            place = self.get(key)
            if place is not None:
                return place
            place = len(self)
            begin = int(self.starts[place])
            if place + 2 > len(self.starts):
                self.starts = np.concatenate([self.starts, np.zeros_like(self.starts)])
            while begin + len(ids) > len(self.pieces):
                self.pieces = np.concatenate([self.pieces, np.zeros_like(self.pieces)])
            self.pieces[begin : begin + len(ids)] = ids
            self.starts[place + 1] = begin + len(ids)
            # Published last: a reader that sees the word also sees its pieces.
            super().__setitem__(key, place)
            return place

    def _split(self, word: str) -> list[int]:
        """Greedy longest match from the left; the whole word is unknown when any rest is."""
        whole = self._vocabulary.get(word)
        if whole is not None and len(word) <= _LONGEST_WORD:
            return [whole]
        if len(word) > _LONGEST_WORD:
            return [self._unknown]
        found: list[int] = []
        begin = 0
        while begin < len(word):
            prefix = "##" if begin else ""
            for end in range(len(word), begin, -1):
                piece = self._vocabulary.get(prefix + word[begin:end])
                if piece is not None:
                    found.append(piece)
                    begin = end
                    break
            else:
                return [self._unknown]
        return found


class WordPieceTokenizer:
    """Turns texts into token ids exactly as ``tokenizers`` does without special tokens.

    Use it where tokenising bounds the throughput; a tokenizer of another kind works too, at the speed of the package.

    Parameters
    ----------
    source : str
        Content of a ``tokenizer.json``.

    Raises
    ------
    StoreCorruptedError
        The text is not such a file.

    Notes
    -----
    Cost: O(characters); each distinct word is split once and remembered, up to 400,000 words (about 60 MB), after
    which the memory starts afresh. Safe to call from several threads.

    References
    ----------
    Y. Wu et al., Google's Neural Machine Translation System, arXiv 1609.08144, section 4.1.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._slow: Any = None
        try:
            record = json.loads(source)
            model = record["model"]
            vocabulary = model["vocab"]
            kind = model.get("type")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreCorruptedError(
                message("a tokenizer.json without a model", "the file as it was saved", "restore the folder")
            ) from error
        self.fast = _is_uncased_wordpiece(record)
        self.size: int = len(vocabulary)
        added = record.get("added_tokens") or []
        self.unknown: int | None = _unknown_id(model, kind)
        self._added = re.compile("|".join(re.escape(token["content"].lower()) for token in added)) if added else None
        self._vocabulary: dict[str, int] = vocabulary if self.fast else {}
        self._lexicon = self._fresh()

    def _fresh(self) -> _Lexicon:
        return _Lexicon(self._vocabulary, -1 if self.unknown is None else self.unknown)

    @property
    def source(self) -> str:
        """Content of the tokenizer.json this was made from."""
        return self._source

    def token_ids(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return the token ids of all texts, back to back.

        Parameters
        ----------
        texts : sequence of str
            Any texts.

        Returns
        -------
        ids : ndarray of shape (T,), int32
            Token ids, with the unknown token where a word has no pieces.
        offsets : ndarray of shape (n + 1,), int64
            Text i is ``ids[offsets[i]:offsets[i + 1]]``.
        """
        if len(self._lexicon) > _LEXICON_WORDS:
            self._lexicon = self._fresh()
        # A local reference: another thread may start a fresh lexicon meanwhile.
        lexicon = self._lexicon
        keys = self._keys(texts)
        places = np.fromiter(map(lexicon.__getitem__, keys), np.int64, len(keys))
        starts = lexicon.starts[places]
        counts = lexicon.starts[places + 1] - starts
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        flat = np.repeat(starts - (ends - counts), counts) + np.arange(total)
        separators = np.flatnonzero(places == 0)
        offsets = np.concatenate([[0], ends[separators], [total]]) if len(texts) else np.zeros(1, dtype=np.int64)
        return lexicon.pieces[flat], offsets.astype(np.int64, copy=False)

    def _keys(self, texts: Sequence[str]) -> list[Any]:
        """Words of all texts with a separator between texts; token ids in place of words where the slow path ran."""
        if not self.fast:
            return self._slow_keys(texts, range(len(texts)), {})
        whole = "\n".join(texts)
        plain = whole.isascii()
        if _CONTROL.search(whole):
            texts = [_CONTROL.sub("", text) for text in texts]
        if plain and (self._added is None or not self._added.search(whole.lower())):
            return _WORD.findall(_SEPARATOR.join(texts).lower())
        slow = []
        ready = {}
        for position, text in enumerate(texts):
            lowered = text.translate(_unaccented()).lower() if not text.isascii() else text.lower()
            if _EVERYDAY.fullmatch(text) and (self._added is None or not self._added.search(lowered)):
                ready[position] = lowered
            else:
                slow.append(position)
        if not slow:
            return _WORD.findall(_SEPARATOR.join(ready[position] for position in range(len(texts))))
        return self._slow_keys(texts, slow, ready)

    def _slow_keys(self, texts: Sequence[str], slow: Sequence[int], ready: dict[int, str]) -> list[Any]:
        if self._slow is None:
            from tokenizers import Tokenizer

            tokenizer = Tokenizer.from_str(self._source)
            tokenizer.no_padding()
            tokenizer.no_truncation()
            self._slow = tokenizer
        encodings = self._slow.encode_batch_fast([texts[position] for position in slow], add_special_tokens=False)
        found = dict(zip(slow, (encoding.ids for encoding in encodings), strict=True))
        keys: list[Any] = []
        for position in range(len(texts)):
            if position:
                keys.append(_SEPARATOR)
            keys += found[position] if position in found else _WORD.findall(ready[position])
        return keys


def _unknown_id(model: dict[str, Any], kind: str | None) -> int | None:
    """Id of the unknown token, or None when the model has none."""
    if kind == "Unigram":
        return model.get("unk_id")
    token = model.get("unk_token")
    return None if token is None else model["vocab"].get(token)


def _is_uncased_wordpiece(record: dict[str, Any]) -> bool:
    """Tell whether the rules built into this module are the ones the file asks for."""
    normalizer, model = record.get("normalizer") or {}, record["model"]
    return (
        model.get("type") == "WordPiece"
        and model.get("continuing_subword_prefix") == "##"
        and model.get("max_input_chars_per_word") == _LONGEST_WORD
        and model.get("unk_token") in model["vocab"]
        and normalizer.get("type") == "BertNormalizer"
        and all(normalizer.get(key) is True for key in ("clean_text", "handle_chinese_chars", "lowercase"))
        and normalizer.get("strip_accents") in (None, True)
        and (record.get("pre_tokenizer") or {}).get("type") == "BertPreTokenizer"
    )
