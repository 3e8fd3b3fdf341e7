"""Texts as people mistype them and as others disguise them: typing errors, letters of other scripts, accents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np

from orthant.validate import as_texts, check_choice, check_fraction

__all__ = ["LOOKALIKES", "Perturbation", "perturb"]

Perturbation = Literal["typos", "lookalikes", "accents"]

LOOKALIKES = {
    "a": "аɑα",
    "c": "сϲ",
    "d": "ԁ",
    "e": "еҽ",
    "g": "ɡց",
    "h": "һհ",
    "i": "іıι",
    "j": "јϳ",
    "l": "ӏ",
    "n": "ո",
    "o": "оοօ",
    "p": "рρ",
    "q": "ԛզ",
    "s": "ѕ",
    "u": "υս",
    "v": "ѵν",
    "w": "ԝ",
    "x": "хҳ",
    "y": "уγ",
}
"""Letters of Cyrillic, Greek, Armenian and phonetic alphabets that Unicode's security tables list as confusable with
Latin ones, most of them; kept by hand, so that nothing that reads glyphs is judged by a list made from glyphs."""

_ACCENTS = {
    "a": "áàâäãå",
    "c": "ç",
    "e": "éèêë",
    "i": "íìîï",
    "n": "ñ",
    "o": "óòôöõø",
    "u": "úùûü",
    "y": "ýÿ",
}
_KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS = {key: row[max(0, i - 1) : i] + row[i + 1 : i + 2] for row in _KEYBOARD for i, key in enumerate(row)}


def perturb(texts: Sequence[str], kind: Perturbation, *, rate: float = 0.3, seed: int = 0) -> list[str]:
    """Return texts with errors in them, to see what a search or a classifier makes of such input.

    Judge with perturbed queries over clean documents. What was made so is a stand-in: people's errors are fewer kinds
    and more often in long words; attackers choose the word that matters.

    Parameters
    ----------
    texts : sequence of str, length n
        Any texts; lookalikes and accents are for Latin letters, typing errors for words of any script.
    kind : {"typos", "lookalikes", "accents"}
        ``"typos"``: in a word of four letters or more a letter is dropped, doubled, swapped with the next one or hit
        on the neighbouring key (of a Latin keyboard; others are doubled). ``"lookalikes"``: letters become letters of
        other scripts that look alike. ``"accents"``: letters get accents.
    rate : float, default 0.3, range 0 to 1
        Share of words with one error (``"typos"``), or of letters that have a replacement. At 0 nothing changes.
    seed : int, default 0
        Of the choices; a text's errors do not depend on the other texts.

    Returns
    -------
    list of str
        As many texts, in the same order.

    Raises
    ------
    InputError
        An unknown kind or a rate out of range.

    Notes
    -----
    Cost: linear in the characters.

    Examples
    --------
    >>> perturb(["a lighthouse keeper"], "typos", rate=1.0)[0].split()[0]
    'a'
    >>> perturb(["a lighthouse keeper"], "lookalikes", rate=1.0)[0].isascii()
    False
    """
    items = as_texts(texts, name="texts")
    check_choice(kind, get_args(Perturbation), name="kind")
    share = check_fraction(rate, name="rate")
    change = _MAKERS[kind]
    return [change(text, share, np.random.default_rng([seed, *text.encode()[:64]])) for text in items]


def _typos(text: str, rate: float, generator: np.random.Generator) -> str:
    words = text.split(" ")
    for place, word in enumerate(words):
        if len(word) >= 4 and generator.random() < rate:
            words[place] = _mistyped(word, generator)
    return " ".join(words)


def _mistyped(word: str, generator: np.random.Generator) -> str:
    # Not the first letter, where people make the fewest errors.
    i = int(generator.integers(1, len(word) - 1))
    keys = _NEIGHBOURS.get(word[i].lower(), "")
    made = (
        word[:i] + word[i + 1 :],
        word[:i] + word[i] + word[i:],
        word[:i] + word[i + 1] + word[i] + word[i + 2 :],
        word[:i] + (keys[int(generator.integers(len(keys)))] if keys else word[i] * 2) + word[i + 1 :],
    )
    return made[int(generator.integers(len(made)))]


def _replacing(table: dict[str, str]) -> Callable[[str, float, np.random.Generator], str]:
    def change(text: str, rate: float, generator: np.random.Generator) -> str:
        out = []
        for letter in text:
            others = table.get(letter.lower(), "")
            if others and generator.random() < rate:
                other = others[int(generator.integers(len(others)))]
                out.append(other.upper() if letter.isupper() and len(other.upper()) == 1 else other)
            else:
                out.append(letter)
        return "".join(out)

    return change


_MAKERS: dict[str, Callable[[str, float, np.random.Generator], str]] = {
    "typos": _typos,
    "lookalikes": _replacing(LOOKALIKES),
    "accents": _replacing(_ACCENTS),
}
