"""Text to terms: what counts as a word, which words are the same, which carry no content, and what a query asks."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from orthant.validate import check_choice

__all__ = ["SEPARATOR", "STOP_WORDS", "Analyzer", "Clause", "parse_query", "parsed", "stem_english"]

SEPARATOR = "\x00"
"""The token that ends each text in ``Analyzer.split_batch``; no word contains it."""

_EN_STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they "
    "this to was will with"
)
STOP_WORDS: dict[str, frozenset[str]] = {
    "en": frozenset(_EN_STOP_WORDS.split()),
}
"""Words without content of their own, by language."""

# Scripts written without spaces: runs of them are cut into overlapping pairs of characters.
_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3005-\u3007\u3040-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    "\U00020000-\U0003ffff"
)
_has_unspaced = re.compile(f"[{_UNSPACED}]").search
_VOWELS = frozenset("aeiouy")
_VERSION = 1


@lru_cache(maxsize=1)
def _ascii_table() -> bytes:
    kept = {ord(c): ord(c.lower()) for c in map(chr, range(128)) if c.isalnum()}
    kept[ord(SEPARATOR)] = ord(SEPARATOR)
    return bytes(kept.get(i, 32) for i in range(256))


@lru_cache(maxsize=1)
def _word_patterns() -> tuple[Any, Any]:
    """Return the finders of words, without and with unspaced scripts."""
    # \w leaves out combining marks, which would cut Hindi, Arabic or Thai words at every vowel sign.
    marks = _ranges([i for i in range(0x300, 0x1E900) if unicodedata.category(chr(i)) in ("Mn", "Mc")])
    # A mark alone, such as the variation selector after an emoji, is no word.
    letter = r"[^\W_]"
    spaced = re.compile(rf"{letter}+(?:[{marks}]+{letter}*)*").findall
    letter = rf"[^\W_{_UNSPACED}]"
    mixed = re.compile(rf"[{_UNSPACED}]+|{letter}+(?:[{marks}]+{letter}*)*").findall
    return spaced, mixed


def _ranges(codes: list[int]) -> str:
    out: list[str] = []
    start = previous = codes[0]
    for code in [*codes[1:], sys.maxunicode + 2]:
        if code != previous + 1:
            out.append(f"{chr(start)}-{chr(previous)}")
            start = code
        previous = code
    return "".join(out)


@lru_cache(maxsize=1 << 16)
def stem_english(word: str) -> str:
    """Strip the regular English endings: -s of plural and third person, -ed, -ing, -ly and a mute -e.

    Words of fewer than four letters, and words with letters outside ASCII, are returned as they are. The result is a
    key, not always a word ("making", "makes" and "make" all give "mak").

    Parameters
    ----------
    word : str
        A lower-case word.

    Returns
    -------
    str
        Its stem.

    Examples
    --------
    >>> [stem_english(w) for w in ("cities", "city", "stopped", "stops", "making", "makes")]
    ['city', 'city', 'stop', 'stop', 'mak', 'mak']
    """
    if len(word) < 4 or not word.isascii():
        return word
    word = _strip_s(word)
    if len(word) > 4 and word.endswith("ied"):
        word = word[:-3] + "y"
    elif word.endswith("ing"):
        word = _strip_verb(word, 3)
    elif word.endswith("ed") and not word.endswith("eed"):
        word = _strip_verb(word, 2)
    if len(word) > 5 and word.endswith("ly"):
        word = word[:-2]
    return word[:-1] if word.endswith("e") and len(word) >= 4 else word


def _strip_s(word: str) -> str:
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if word.endswith("es") and not word.endswith(("aes", "ees", "oes")):
        return word[:-1]
    return word[:-1] if word.endswith("s") and not word.endswith(("us", "ss")) else word


def _strip_verb(word: str, size: int) -> str:
    stem = word[:-size]
    if len(stem) < 3 or _VOWELS.isdisjoint(stem):
        return word
    doubled = stem[-1] == stem[-2] and stem[-1] not in "aeioulsz"
    return stem[:-1] if doubled else stem


@dataclass(frozen=True)
class Analyzer:
    """Cuts text into the terms that a lexical index stores and a query looks up.

    Use the default for English or mixed text and for code. Choose ``stem=None`` when word forms must stay apart
    (names, identifiers, languages other than English), ``stopwords=None`` when every small word counts.

    Parameters
    ----------
    stem : {"en", None}, default "en"
        ``"en"`` makes English word forms one term in plain and prefix search; phrases always compare words as written.
    stopwords : {"en", None}, default "en"
        ``"en"`` leaves 33 small English words out of ranking and of document lengths; phrases still see them.

    Attributes
    ----------
    fingerprint : str
        Names every rule that decides a term; an index can only be read with the fingerprint it was made with.

    Notes
    -----
    Text is lower-cased; text beyond ASCII is brought to Unicode NFKC first. A word is a run of letters, digits and
    combining marks: everything else separates, the underscore too, so ``read_csv`` is two words. Runs of Han, kana,
    Thai, Lao, Burmese or Khmer characters become overlapping pairs of characters; a run of one stays as it is.

    Examples
    --------
    >>> Analyzer().words("Don't call read_csv twice!")
    ['don', 't', 'call', 'read', 'csv', 'twice']
    >>> Analyzer().words("東京都 in Japan")
    ['東京', '京都', 'in', 'japan']
    """

    stem: str | None = "en"
    stopwords: str | None = "en"

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.stem is not None:
            check_choice(self.stem, ("en",), name="stem")
        if self.stopwords is not None:
            check_choice(self.stopwords, tuple(STOP_WORDS), name="stopwords")

    @property
    def fingerprint(self) -> str:
        """Name every rule that decides a term."""
        return f"orthant-words-{_VERSION};stem={self.stem};stopwords={self.stopwords}"

    def words(self, text: str) -> list[str]:
        """Return the words of one text in order, stop words included, not stemmed.

        Parameters
        ----------
        text : str
            Any text.

        Returns
        -------
        list of str
            The words.
        """
        if text.isascii():
            return text.encode().replace(b"\x00", b" ").translate(_ascii_table()).decode("ascii").split()
        text = unicodedata.normalize("NFKC", text).lower()
        spaced, mixed = _word_patterns()
        if not _has_unspaced(text):
            return spaced(text)
        out: list[str] = []
        for run in mixed(text):
            if len(run) > 1 and _has_unspaced(run):
                out.extend([run[i : i + 2] for i in range(len(run) - 1)])
            else:
                out.append(run)
        return out

    def split_batch(self, texts: Sequence[str]) -> list[str]:
        """Return the words of many texts in one list, each text followed by ``SEPARATOR``.

        Parameters
        ----------
        texts : sequence of str
            The texts.

        Returns
        -------
        list of str
            As many separators as texts.
        """
        if not texts:
            return []
        joined = SEPARATOR.join(texts)
        if joined.isascii() and joined.count(SEPARATOR) == len(texts) - 1:
            return self._split_ascii(joined)
        out: list[str] = []
        ascii_run: list[str] = []
        # Neighbouring ASCII texts go through the fast path together; the others one by one.
        for text in texts:
            if text.isascii():
                ascii_run.append(text.replace(SEPARATOR, " ") if SEPARATOR in text else text)
                continue
            if ascii_run:
                out += self._split_ascii(SEPARATOR.join(ascii_run))
                ascii_run = []
            out += self.words(text)
            out.append(SEPARATOR)
        if ascii_run:
            out += self._split_ascii(SEPARATOR.join(ascii_run))
        return out

    @staticmethod
    def _split_ascii(joined: str) -> list[str]:
        clean = joined.encode().translate(_ascii_table()).decode("ascii")
        out = clean.replace(SEPARATOR, f" {SEPARATOR} ").split()
        out.append(SEPARATOR)
        return out

    def term(self, word: str) -> str:
        """Return the term that stands for a word in ranking.

        Parameters
        ----------
        word : str
            A word as ``words`` returns it.

        Returns
        -------
        str
            Its stem, or the word itself without stemming.
        """
        return word if self.stem is None else stem_english(word)

    def is_stop_word(self, word: str) -> bool:
        """Return whether a word is left out of ranking.

        Parameters
        ----------
        word : str
            A word as ``words`` returns it.

        Returns
        -------
        bool
            True for stop words.
        """
        return self.stopwords is not None and word in STOP_WORDS[self.stopwords]


@dataclass(frozen=True)
class Clause:
    """One condition of a query.

    Attributes
    ----------
    kind : {"word", "phrase", "prefix", "character"}
        ``"word"`` compares terms; ``"phrase"`` compares words as written, side by side; ``"prefix"`` any word that
        starts so; ``"character"`` any pair of unspaced characters that contains it.
    words : tuple of str
        One word, or the words of the phrase.
    mode : {"may", "must", "not"}
        Whether a match adds to the score, is required and adds, or excludes.
    weight : int
        How often the query says it.
    """

    kind: str
    words: tuple[str, ...]
    mode: str = "may"
    weight: int = 1


_QUERY_PART = re.compile(r'(?:(?<=\s)|(?<=\()|^)([+-]?)"([^"]*)"(?!\w)|(\S+)')
_CURLY = str.maketrans("“”„", '"""')


def parse_query(query: str, analyzer: Analyzer, *, syntax: str = "operators") -> list[Clause]:
    """Return the conditions that a query states.

    Parameters
    ----------
    query : str
        The text a person typed.
    analyzer : Analyzer
        Cuts the query as the documents were cut.
    syntax : {"operators", "plain"}, default "operators"
        ``"plain"`` reads quotes, stars and signs as punctuation: for queries made by programs.

    Returns
    -------
    list of Clause
        In order of first appearance; empty when the query has no word. One with excluded words only finds nothing.

    Notes
    -----
    ``word`` may match. ``+word`` must, ``-word`` must not; a sign counts at the start of the query or after a space.
    ``"a phrase"`` must occur with exactly these words side by side; ``-"a phrase"`` must not. ``pre*`` may match any
    word that starts with ``pre``. A signed token of several words (``+read_csv``) is a phrase. Anything malformed is
    punctuation: a quote without its twin or inside a word, a star not directly after one word, a lone sign.
    Unsigned stop words are dropped as long as another condition can match; a query of stop words alone uses them.
    """
    check_choice(syntax, ("operators", "plain"), name="syntax")
    found: list[Clause] = []
    if syntax == "plain":
        found = [_word_clause(word, "may", analyzer) for word in analyzer.words(query)]
    else:
        for match in _QUERY_PART.finditer(query.translate(_CURLY)):
            sign, phrase, token = match.groups()
            if token is None:
                found += _phrase_clauses(phrase, "not" if sign == "-" else "must", analyzer)
            else:
                found += _token_clauses(token, analyzer)
    counts: dict[Clause, int] = {}
    for clause in found:
        counts[clause] = counts.get(clause, 0) + 1
    clauses = [Clause(c.kind, c.words, c.mode, n) for c, n in counts.items()]
    content = [c for c in clauses if not (c.kind == "phrase" and c.mode == "may")]
    if any(c.mode != "not" for c in content):
        clauses = content
    return clauses


@lru_cache(maxsize=512)
def parsed(query: str, analyzer: Analyzer, syntax: str) -> list[Clause]:
    """Return what ``parse_query`` does, remembered for the several steps of a search; not to be changed.

    Parameters
    ----------
    query, analyzer, syntax
        As there.

    Returns
    -------
    list of Clause
        Shared by all callers.
    """
    return parse_query(query, analyzer, syntax=syntax)


def _word_clause(word: str, mode: str, analyzer: Analyzer) -> Clause:
    if analyzer.is_stop_word(word):
        # Stop words have no posting list; a phrase of one word finds them in the stored text.
        return Clause("phrase", (word,), mode)
    if len(word) == 1 and _has_unspaced(word):
        return Clause("character", (word,), mode)
    return Clause("word", (analyzer.term(word),), mode)


def _phrase_clauses(text: str, mode: str, analyzer: Analyzer) -> list[Clause]:
    words = analyzer.words(text)
    if len(words) == 1 and len(words[0]) == 1 and _has_unspaced(words[0]):
        return [Clause("character", (words[0],), mode)]
    return [Clause("phrase", tuple(words), mode)] if words else []


def _token_clauses(token: str, analyzer: Analyzer) -> list[Clause]:
    mode = {"+": "must", "-": "not"}.get(token[0], "may")
    words = analyzer.words(token)
    if len(words) == 1 and token.endswith("*") and not token.endswith("**"):
        return [Clause("prefix", (words[0],), mode)]
    if mode == "may" or len(words) == 1:
        return [_word_clause(word, mode, analyzer) for word in words]
    return [Clause("phrase", tuple(words), mode)] if words else []
