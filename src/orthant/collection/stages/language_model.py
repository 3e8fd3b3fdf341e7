"""Reranking by a language model: a judgement per record, or a list put in order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from orthant.collection.stages.rerankers import RerankError, require_text, text_of
from orthant.errors import InputError, message
from orthant.types import FloatArray
from orthant.validate import check_choice, check_count

__all__ = ["LLMReranker", "parse_judgement", "parse_order"]

_JUDGEMENT = re.compile(r"\W*(yes|no)\b\W*(?:(\d{1,3})(?![\d.])\s*%?)?", re.IGNORECASE)
_NUMBER = re.compile(r"\[(\d+)\]|\b(\d+)\b")
_POINTWISE = (
    "Does the passage answer the query? Reply with yes or no, then how sure you are from 0 to 100, no more.\n\n"
    "Query: {query}\n\nPassage: {passage}\n\nReply:"
)
_LISTWISE = (
    "Order the passages by how well they answer the query, best first. Reply with their numbers only, each once, as in"
    " [2] > [1] > [3].\n\nQuery: {query}\n\n{passages}\n\nQuery again: {query}\n\nOrder:"
)


def parse_judgement(reply: str) -> float | None:
    """Return what a yes or no with a certainty is worth.

    Parameters
    ----------
    reply : str
        Such as ``"Yes, 80"`` or ``"no"``; what follows is ignored.

    Returns
    -------
    float or None
        From 0, a certain no, to 1, a certain yes; without a certainty it is taken for 100. None where the reply does
        not begin with yes or no, or the certainty is above 100.

    Examples
    --------
    >>> parse_judgement("Yes, 80"), parse_judgement("no 80"), parse_judgement("no"), parse_judgement("It depends")
    (0.9, 0.1, 0.0, None)
    """
    found = _JUDGEMENT.match(reply)
    if found is None or (found[2] is not None and int(found[2]) > 100):
        return None
    sure = 100 if found[2] is None else int(found[2])
    return round(0.5 + (sure if found[1].lower() == "yes" else -sure) / 200, 6)


def parse_order(reply: str, count: int) -> list[int] | None:
    """Return the order that a list of numbers states.

    Parameters
    ----------
    reply : str
        Such as ``"[2] > [1] > [3]"``.
    count : int
        How many there are.

    Returns
    -------
    list of int or None
        Positions from 0, best first; None unless every number from 1 to ``count`` stands there exactly once.

    Examples
    --------
    >>> parse_order("[2] > [3] > [1]", 3), parse_order("2, 1, 3", 3), parse_order("[2] > [1]", 3)
    ([1, 2, 0], [1, 0, 2], None)
    """
    numbers = [int(bracketed or bare) - 1 for bracketed, bare in _NUMBER.findall(reply)]
    return numbers if sorted(numbers) == list(range(count)) else None


class LLMReranker:
    """Ask a language model which candidates answer the query.

    Parameters
    ----------
    generator : object
        With ``generate(prompts, max_tokens=, temperature=, seed=)`` that returns one object with ``text`` per prompt,
        as the generators of ``orthant.learn.synthesis`` do.
    method : {"pointwise", "listwise"}, default "pointwise"
        A yes or no with a certainty per record: one short prompt each, comparable between queries, many ties. Or the
        order of a window of records: fewer and longer prompts, and the model sees what it compares.
    window, step : int, default 20 and 10
        Records per list, and how far the window moves, from the last records to the first; for ``"listwise"``. A larger
        window takes fewer prompts, and models lose track of it.
    max_characters : int, default 2000
        Characters shown of a record. Fewer cost less and may cut the answer away.
    attempts : int, default 2
        How often a prompt is sent whose reply cannot be read, each time with another seed.

    Raises
    ------
    InputError
        An object without ``generate``, or settings out of range or of the other method.

    Notes
    -----
    A reply that cannot be read after all attempts raises :class:`RerankError` with the reply: an unknown relevance is
    not a low one. Cost: one prompt per candidate, or about ``rerank_depth / step`` long ones.

    References
    ----------
    W. Sun et al.: Is ChatGPT good at search? Investigating large language models as re-ranking agents,
    arXiv:2304.09542, section 3 (sliding windows).

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> class Model:
    ...     def generate(self, prompts, *, max_tokens, temperature, seed):
    ...         return [SimpleNamespace(text="yes 90" if "kite" in p.split("Passage:")[1] else "no") for p in prompts]
    >>> LLMReranker(Model()).score("a toy", ["a red kite", "a blue boat"]).tolist()
    [0.949..., 0.0]
    """

    def __init__(
        self,
        generator: Any,
        *,
        method: Literal["pointwise", "listwise"] = "pointwise",
        window: int | None = None,
        step: int | None = None,
        max_characters: int = 2000,
        attempts: int = 2,
    ) -> None:
        if not callable(getattr(generator, "generate", None)):
            given = f"a {type(generator).__name__} as a generator"
            raise InputError(message(given, "an object with generate(prompts, ...)", "pass a text generator"))
        self._method = check_choice(method, ("pointwise", "listwise"), name="method")
        if method == "pointwise" and (window is not None or step is not None):
            given = "window= or step= with method='pointwise'"
            raise InputError(message(given, "method='listwise' for them", "leave them out"))
        self._generator = generator
        self._window = check_count(20 if window is None else window, name="window", minimum=2)
        self._step = check_count(max(1, self._window // 2) if step is None else step, name="step", maximum=self._window)
        self._characters = check_count(max_characters, name="max_characters")
        self._attempts = check_count(attempts, name="attempts")

    def score(self, query: str, records: Sequence[Any]) -> FloatArray:
        """Return what the model thinks of every record.

        Parameters
        ----------
        query : str
            The question.
        records : sequence of m texts or records
            What may answer it, in the order of the first search.

        Returns
        -------
        ndarray of shape (m,), float32
            Pointwise: from 0, a certain no, to 1, a certain yes. Listwise: ``(m - place) / m``, 1 for the first.

        Raises
        ------
        InputError
            A query without text.
        RerankError
            A record without text, or a reply that cannot be read.
        """
        asked = require_text(query, needed_by="LLMReranker")
        texts = [text_of(record, i, needed_by="LLMReranker")[: self._characters] for i, record in enumerate(records)]
        if not texts:
            return np.zeros(0, dtype=np.float32)
        if self._method == "listwise":
            return self._listwise(asked, texts)
        prompts = [_POINTWISE.format(query=asked, passage=text) for text in texts]
        return np.asarray(self._ask(prompts, parse_judgement, max_tokens=8), dtype=np.float32)

    def _listwise(self, query: str, texts: list[str]) -> FloatArray:
        order = list(range(len(texts)))
        end = len(texts)
        # From the back to the front, so that the best of the last records can climb all the way.
        while True:
            begin = max(0, end - self._window)
            part = order[begin:end]
            passages = "\n\n".join(f"[{i}] {texts[place]}" for i, place in enumerate(part, 1))
            prompt = _LISTWISE.format(query=query, passages=passages)
            if len(part) > 1:
                size = len(part)
                (found,) = self._ask([prompt], lambda reply: parse_order(reply, size), max_tokens=8 * size)  # noqa: B023
                order[begin:end] = [part[i] for i in found]
            if begin == 0:
                break
            end -= self._step
        scores = np.zeros(len(texts), dtype=np.float32)
        scores[order] = np.arange(len(texts), 0, -1) / len(texts)
        return scores

    def _ask(self, prompts: list[str], parse: Callable[[str], Any], *, max_tokens: int) -> list[Any]:
        out: list[Any] = [None] * len(prompts)
        replies = [""] * len(prompts)
        open_ = list(range(len(prompts)))
        for attempt in range(self._attempts):
            made = self._generator.generate(
                [prompts[i] for i in open_],
                max_tokens=max_tokens,
                # The likeliest reply would only come again.
                temperature=0.0 if attempt == 0 else 0.5,
                seed=attempt,
            )
            if len(made) != len(open_):
                given = f"{len(made)} replies for {len(open_)} prompts"
                raise RerankError(message(given, "one each", "correct the generator"))
            for i, reply in zip(open_, made, strict=True):
                replies[i] = reply if isinstance(reply, str) else reply.text
                out[i] = parse(replies[i])
            open_ = [i for i in open_ if out[i] is None]
            if not open_:
                return out
        raise RerankError(
            message(
                f"the reply {replies[open_[0]][:200]!r} of the model, and {len(open_) - 1} more that cannot be read",
                "yes or no with a certainty" if self._method == "pointwise" else "every number exactly once",
                "use a model that follows instructions, a smaller window, or more attempts",
            )
        )
