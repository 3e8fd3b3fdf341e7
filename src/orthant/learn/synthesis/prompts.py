"""What a generator is asked for, and how its answer is read."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orthant.errors import InputError, message
from orthant.learn.conversion.templates import check_fields
from orthant.validate import check_choice

__all__ = ["HARD_NEGATIVES", "PARAPHRASES", "QUERIES", "THOUGHTS", "SynthesisTemplate"]

Column = Literal["anchor", "positive", "negative", "thought"]
_COLUMNS = ("anchor", "positive", "negative", "thought")

_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_FENCED = re.compile(r"^\s*```[a-z]*\s*\n(.*?)\n?```\s*$", re.DOTALL)


@dataclass(frozen=True)
class SynthesisTemplate:
    r"""A prompt with fields of a record, and which column of a training row the answer becomes.

    Parameters
    ----------
    prompt : str
        Format string; its fields are fields of the records. For ``RuleBased``, end it with ``Document:\n{text}``.
    column : {"anchor", "positive", "negative", "thought"}, default "anchor"
        What the generated text is; a thought goes with a query and guesses its answer.
    source : str, default "text"
        Field of the record that the generated text belongs to: what filters and committees compare it with.
    keep : mapping of str to str, optional
        Other columns of the row, by field of the record. Left out: ``{"positive": source}`` for an anchor,
        ``{"anchor": source}`` for a positive; a negative or thought must name both.
    answer : {"text", "lines", "json"}, default "text"
        The whole answer is one text; each line is one (bullets and numbers are taken off); or the answer is JSON: a
        text, a list of texts, or an object with one of them under ``json_field``.
    json_field : str, default "texts"
        Where the texts stand in a JSON object.
    allow_cut : bool, default False
        Accept answers that were cut at ``max_tokens``.

    Raises
    ------
    InputError
        A prompt without a field, a column that is kept and generated, or a negative or thought without anchor and
        positive.

    Examples
    --------
    >>> template = SynthesisTemplate("Ask about {title}.\n\nDocument:\n{text}")
    >>> template.fields, template.kept
    (('title', 'text'), {'positive': 'text'})
    >>> SynthesisTemplate("{text}", answer="lines").read("1. What is gout?\n2. Why?")
    ['What is gout?', 'Why?']
    """

    prompt: str
    column: Column = "anchor"
    source: str = "text"
    keep: Mapping[str, str] | None = None
    answer: Literal["text", "lines", "json"] = "text"
    json_field: str = "texts"
    allow_cut: bool = False
    fields: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        check_choice(self.column, _COLUMNS, name="column")
        check_choice(self.answer, ("text", "lines", "json"), name="answer")
        try:
            named = [name for _, name, _, _ in string.Formatter().parse(self.prompt) if name]
        except (ValueError, TypeError):
            named = []
        fields = check_fields(self.prompt, [name for name in named if name.isidentifier()], name="prompt")
        if not fields:
            raise InputError(
                message(f"prompt={self.prompt!r}", "at least one field of the record", "write {text} where it belongs")
            )
        object.__setattr__(self, "fields", tuple(dict.fromkeys(fields)))
        if self.column in self.kept:
            raise InputError(
                message(f"column {self.column!r} kept and generated", "one of them", "take it out of keep")
            )
        if not {"anchor", "positive"} <= {self.column, *self.kept}:
            raise InputError(
                message(
                    f"keep={self.keep!r} for a {self.column}", "fields for anchor and positive", "name both in keep"
                )
            )

    @property
    def kept(self) -> dict[str, str]:
        """Columns of a row that are fields of the record."""
        if self.keep is not None:
            return dict(self.keep)
        return {"anchor": {"positive": self.source}, "positive": {"anchor": self.source}}.get(self.column, {})

    @property
    def needed(self) -> tuple[str, ...]:
        """Fields that every record must have."""
        return tuple(dict.fromkeys((*self.fields, self.source, *self.kept.values())))

    def fill(self, record: Mapping[str, Any]) -> str:
        """Return the prompt of a record.

        Parameters
        ----------
        record : mapping
            With all fields of the prompt.

        Returns
        -------
        str
            The prompt; braces in the record's texts stay as they are.
        """
        return self.prompt.format_map({name: record[name] for name in self.fields})

    def read(self, text: str) -> list[str]:
        """Return the texts of an answer.

        Parameters
        ----------
        text : str
            What the generator wrote.

        Returns
        -------
        list of str
            Without blank ones.

        Raises
        ------
        InputError
            JSON was asked for and the answer is none, or has another form.
        """
        if self.answer == "text":
            found = [text]
        elif self.answer == "lines":
            found = [_BULLET.sub("", line) for line in text.splitlines()]
        else:
            found = self._read_json(text)
        return [" ".join(t.split()) if self.answer == "lines" else t.strip() for t in found if t.strip()]

    def _read_json(self, text: str) -> list[str]:
        fenced = _FENCED.match(text)
        try:
            value = json.loads(fenced.group(1) if fenced else text)
        except ValueError as error:
            raise InputError(
                message(f"an answer that is not JSON: {text[:60]!r}", "JSON", "ask for JSON only")
            ) from error
        if isinstance(value, dict):
            value = value.get(self.json_field)
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(t, str) for t in value):
            raise InputError(
                message(f"JSON of another form: {text[:60]!r}", f"texts under {self.json_field!r}", "state the form")
            )
        return value


QUERIES = SynthesisTemplate(
    "Write one search query that the document below answers. Use other words than the document where you can. "
    "Answer with the query only.\n\nDocument:\n{text}"
)
"""A query for each document."""

PARAPHRASES = SynthesisTemplate(
    "Rewrite the document below in other words and another order, with the same meaning. Answer with the new text "
    "only.\n\nDocument:\n{text}",
    column="positive",
)
"""Another wording of each document."""

HARD_NEGATIVES = SynthesisTemplate(
    "Here is a query and a document that answers it. Write a document of the same length and topic that does not "
    "answer the query. Answer with the new document only.\n\nQuery:\n{query}\n\nDocument:\n{text}",
    column="negative",
    keep={"anchor": "query", "positive": "text"},
)
"""A text on the topic of a query that does not answer it; records need ``query`` and ``text``."""

THOUGHTS = SynthesisTemplate(
    "Think about what a document that answers the query below would say, and write it in at most three sentences."
    "\n\nQuery:\n{query}",
    column="thought",
    keep={"anchor": "query", "positive": "text"},
    allow_cut=True,
)
"""A guess at the answer of a query, to be judged against its document; records need ``query`` and ``text``."""
