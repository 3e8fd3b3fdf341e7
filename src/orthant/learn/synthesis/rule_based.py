"""A generator without a model: queries and paraphrases made from a document by rules, the same on every machine."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from orthant.learn.synthesis.generator import Generated, check_request, cut_at
from orthant.validate import check_choice, check_fraction

__all__ = ["DOCUMENT_MARKER", "RULES", "RuleBased"]

DOCUMENT_MARKER = "Document:\n"
"""What stands before the document in a prompt; a prompt without it is all document."""

RULES = ("summary", "keywords", "question", "paraphrase", "noise")

_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"[^\W_]+(?:['_.-][^\W_]+)*")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
# Frequent words that say nothing about the topic of a text.
_EMPTY_TEXT = (
    "a about after all also an and any are as at be been but by can could did do does during each for from had has "
    "have he her his how if in into is it its may more most no nor not of on only or other our over own s same she "
    "should so some such than that the their them then there these they this those to under up very was we were "
    "what when where which while who whom why will with would you your"
)
_EMPTY_WORDS = frozenset(_EMPTY_TEXT.split())
_QUESTIONS = (
    "What is {}?",
    "How does {} work?",
    "What should I know about {}?",
    "Tell me about {}",
    "When is {} used?",
)


class RuleBased:
    """Write queries and paraphrases by rules: for tests, for trying a pipeline out, and as a baseline of a model.

    The texts are crude. They carry the words of the document, so what they teach is matching of words; use a language
    model where queries should differ from documents in wording.

    Parameters
    ----------
    rule : {"summary", "keywords", "question", "paraphrase", "noise"}, default "question"
        The first sentence; the words that are frequent here and long; a question about them; sentences in another
        order with identifiers split into words; or the first sentence with words dropped and letters swapped.
    strength : float, default 0.15
        Share of words that ``noise`` drops or damages, 0 to 1. Small leaves the text as it is, large destroys it.

    Raises
    ------
    InputError
        Unknown rule or a strength out of range.

    Notes
    -----
    ``temperature`` above 0 lets the seed choose among equally good words and wordings; at 0 the first is taken, except
    for ``noise``, which always draws. ``max_tokens`` counts words.

    References
    ----------
    QZhou-Embedding Technical Report, arXiv:2508.21632, section on data synthesis (paraphrasing, augmentation).

    Examples
    --------
    >>> RuleBased("keywords").generate(["Gout is arthritis. Gout hurts."])[0].text
    'gout arthritis hurts'
    >>> RuleBased("paraphrase").generate(["Call readAll once. It returns bytes."])[0].text
    'It returns bytes. Call read all once.'
    """

    def __init__(self, rule: str = "question", *, strength: float = 0.15) -> None:
        self.rule = check_choice(rule, RULES, name="rule")
        self._strength = check_fraction(strength, name="strength")
        self.fingerprint = f"rules/1:{rule}:{self._strength:g}"

    def __repr__(self) -> str:
        return f"RuleBased({self.rule!r})"

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_tokens: int = 128,
        temperature: float = 0.0,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> list[Generated]:
        """Return one text per prompt.

        Parameters
        ----------
        prompts : sequence of str
            Each ends with ``Document:`` and the document on the lines below, or is the document.
        max_tokens : int, default 128
            Words kept.
        temperature : float, default 0.0
            Above 0, the seed chooses.
        seed : int, default 0
            With the document, it decides every draw; the place in the batch does not.
        stop : sequence of str, default ()
            Strings that end a text.

        Returns
        -------
        list of Generated
            In the order of the prompts; the text is empty where the document has no word.

        Raises
        ------
        InputError
            A blank prompt or an argument out of range.
        """
        listed, ends = check_request(prompts, max_tokens=max_tokens, temperature=temperature, seed=seed, stop=stop)
        out = []
        for prompt in listed:
            document = (prompt.rpartition(DOCUMENT_MARKER)[2] if DOCUMENT_MARKER in prompt else prompt).strip()
            rng = np.random.default_rng([seed, *document.encode("utf-8", "surrogatepass")[:512], len(document)])
            words = self._write(document, rng if temperature > 0 else None, rng).split(" ")
            text, _ = cut_at(" ".join(words[:max_tokens]), ends)
            finish = "length" if len(words) > max_tokens else "stop"
            out.append(Generated(text, finish, len(prompt.split()), len(text.split())))
        return out

    def _write(self, document: str, choice: np.random.Generator | None, rng: np.random.Generator) -> str:
        sentences = _SENTENCE.split(" ".join(document.split()))
        if self.rule == "summary":
            return sentences[0]
        if self.rule == "keywords":
            return " ".join(_keywords(document, 5, choice))
        if self.rule == "question":
            topic = " ".join(_keywords(document, 3, choice))
            wording = _QUESTIONS[0] if choice is None else _QUESTIONS[choice.integers(len(_QUESTIONS))]
            return wording.format(topic) if topic else ""
        if self.rule == "paraphrase":
            order = (
                [*sentences[1:], sentences[0]]
                if choice is None
                else [sentences[i] for i in choice.permutation(len(sentences))]
            )
            return _split_identifiers(" ".join(order))
        return _damaged(sentences[0], self._strength, rng)


def _keywords(document: str, count: int, rng: np.random.Generator | None) -> list[str]:
    """Return the words with the largest frequency times length, in the order in which the document has them."""
    words = [word.lower() for word in _WORD.findall(document)]
    counts = Counter(word for word in words if word not in _EMPTY_WORDS and len(word) > 2)
    weights = {word: n * len(word) ** 0.5 for word, n in counts.items()}
    if rng is not None:
        weights = {word: weight * float(rng.uniform(0.5, 1.5)) for word, weight in weights.items()}
    best = set(sorted(weights, key=lambda word: (-weights[word], word))[:count])
    return [word for word in dict.fromkeys(words) if word in best]


def _split_identifiers(text: str) -> str:
    """Write names such as ``readAll`` or ``read_all`` as words."""

    def as_words(match: re.Match[str]) -> str:
        word = match.group(0)
        if "_" not in word and word[1:].lower() == word[1:]:
            return word
        parts = _PART.findall(word)
        return " ".join(parts).lower() if len(parts) > 1 else word

    return re.sub(r"\w+", as_words, text)


def _damaged(text: str, strength: float, rng: np.random.Generator) -> str:
    out = []
    for word in text.split():
        draw = rng.uniform()
        if draw < strength / 2 and len(text.split()) > 1:
            continue
        if draw < strength and len(word) > 3:
            place = int(rng.integers(1, len(word) - 2))
            word = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        out.append(word)
    return " ".join(out) or text
