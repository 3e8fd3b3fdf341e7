"""What stands around a text when a model reads it: instructions per task, and examples of the task in the prompt."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orthant.errors import InputError, message, warn
from orthant.learn.conversion.texts import normalised_text
from orthant.validate import as_texts, check_count

__all__ = ["TASK_INSTRUCTIONS", "InContextPrompt", "InstructionTemplate", "check_fields"]

TASK_INSTRUCTIONS: Mapping[str, str] = {
    "retrieval": "Given a search query, retrieve passages that answer it",
    "question": "Given a question, retrieve texts that answer it",
    "title": "Given the title of a document, retrieve its text",
    "duplicate": "Given a question, retrieve questions that ask the same",
    "similarity": "Retrieve texts that mean the same",
    "classification": "Given a text, retrieve texts of the same class",
    "clustering": "Given a text, retrieve texts on the same topic",
    "definition": "Given a term, retrieve its definition",
    "code": "Given a question about code, retrieve code that answers it",
}
"""Default instruction of each kind of task."""


def check_fields(
    template: str, allowed: Iterable[str], *, required: Iterable[str] = (), name: str = "template"
) -> tuple[str, ...]:
    """Return the fields of a format string, refusing ones that nothing will fill.

    Parameters
    ----------
    template : str
        A format string with plain fields, such as ``"Query: {query}"``.
    allowed : iterable of str
        Fields that may occur.
    required : iterable of str, default ()
        Fields that must occur.
    name : str, default "template"
        How the argument is called in an error.

    Returns
    -------
    tuple of str
        The fields, in their order.

    Raises
    ------
    InputError
        Unbalanced braces, an unknown or missing field, or a field with an index, conversion or format.

    Examples
    --------
    >>> check_fields("{task}: {query}", ["task", "query", "text"])
    ('task', 'query')
    """
    known = tuple(allowed)
    try:
        parts = list(string.Formatter().parse(template))
    except (ValueError, TypeError) as error:
        raise InputError(
            message(f"{name}={template!r} ({error})", "a format string", "double single braces")
        ) from error
    found = []
    for _, field_name, spec, conversion in parts:
        if field_name is None:
            continue
        if field_name not in known or spec or conversion:
            raise InputError(
                message(
                    f"field {{{field_name}}} in {name}={template!r}",
                    f"fields among {', '.join(f'{{{n}}}' for n in known)}",
                    "correct the name, or double the braces of literal text",
                )
            )
        found.append(field_name)
    absent = [n for n in required if n not in found]
    if absent:
        raise InputError(
            message(f"{name}={template!r} without {{{absent[0]}}}", f"the field {{{absent[0]}}}", "add it")
        )
    return tuple(found)


@dataclass(frozen=True)
class InstructionTemplate:
    r"""How queries and documents of a task are written for a model that follows instructions.

    Parameters
    ----------
    task : str
        The instruction, or a key of ``TASK_INSTRUCTIONS``.
    query : str, default "Instruct: {task}\nQuery: {text}"
        Format of a query, with ``{text}`` and perhaps ``{task}``.
    document : str, default "{text}"
        Format of a document. Symmetric tasks use the query's format on both sides.

    Raises
    ------
    InputError
        A blank task, a format without ``{text}`` or with another field.

    Examples
    --------
    >>> InstructionTemplate("question").format_query("What is gout?")
    'Instruct: Given a question, retrieve texts that answer it\nQuery: What is gout?'
    """

    task: str
    query: str = "Instruct: {task}\nQuery: {text}"
    document: str = "{text}"

    def __post_init__(self) -> None:
        if not self.task.strip():
            raise InputError(
                message("a blank task", "an instruction", f"write one, or name one of {list(TASK_INSTRUCTIONS)}")
            )
        object.__setattr__(self, "task", TASK_INSTRUCTIONS.get(self.task, self.task))
        check_fields(self.query, ("task", "text"), required=("text",), name="query")
        check_fields(self.document, ("task", "text"), required=("text",), name="document")

    @property
    def query_prefix(self) -> str:
        """What stands before a query's text: the prompt that sentence-transformers adds itself."""
        return self.query.format(task=self.task, text="\x00").partition("\x00")[0]

    def format_query(self, text: str) -> str:
        """Return a query as the model reads it.

        Parameters
        ----------
        text : str
            The query.

        Returns
        -------
        str
            With the instruction.
        """
        return self.query.format(task=self.task, text=text)

    def format_document(self, text: str) -> str:
        """Return a document as the model reads it.

        Parameters
        ----------
        text : str
            The document.

        Returns
        -------
        str
            As the template has it; bare by default.
        """
        return self.document.format(task=self.task, text=text)


def _count_words(text: str) -> int:
    return len(text.split())


@dataclass(frozen=True)
class InContextPrompt:
    r"""Put worked examples of a task in front of a query, as many as fit.

    Examples are dropped whole and oldest first; the query and its instruction are never cut. An example that holds the
    query's own text, or that the caller names, is left out.

    Parameters
    ----------
    template : InstructionTemplate
        How a query is written.
    examples : sequence of (query, document)
        The oldest first; none gives the plain query.
    example : str, default "{query}\n{document}"
        Format of an example; its query is written by ``template``.
    separator : str, default "\n\n"
        Between examples, and before the query.
    max_tokens : int, default 512
        Length of the whole prompt; below the query alone, no example fits.
    count_tokens : callable, optional
        Counts the tokens of a text; left out, its words.

    Raises
    ------
    InputError
        Examples that are not pairs of filled texts, or a format with other fields.

    Notes
    -----
    ``examples + Instruct: task + Query: text``, with a text's own example removed so that its answer is not shown.

    References
    ----------
    LG-ANNA-Embedding technical report, arXiv:2506.07438, section on in-context prompts.

    Examples
    --------
    >>> prompt = InContextPrompt(InstructionTemplate("say it shortly", query="{text} ->"), [("one", "1"), ("two", "2")])
    >>> prompt.format("three")
    'one ->\n1\n\ntwo ->\n2\n\nthree ->'
    >>> prompt.format("two")
    'one ->\n1\n\ntwo ->'
    """

    template: InstructionTemplate
    examples: Sequence[tuple[str, str]] = ()
    example: str = "{query}\n{document}"
    separator: str = "\n\n"
    max_tokens: int = 512
    count_tokens: Callable[[str], int] = field(default=_count_words)

    def __post_init__(self) -> None:
        check_count(self.max_tokens, name="max_tokens")
        check_fields(self.example, ("query", "document"), required=("query", "document"), name="example")
        for i, pair in enumerate(self.examples):
            if (
                isinstance(pair, str)
                or len(pair) != 2
                or not all(t.strip() for t in as_texts(pair, name=f"examples[{i}]"))
            ):
                raise InputError(message(f"examples[{i}]={pair!r}", "a pair of filled texts", "correct it"))

    def format(self, text: str, *, exclude: Iterable[str] = ()) -> str:
        """Return the prompt of a query.

        Parameters
        ----------
        text : str
            The query.
        exclude : iterable of str, default ()
            Texts that no example may hold: relevant documents of this query, items under evaluation.

        Returns
        -------
        str
            Examples that fit, then the query. A warning says when some were dropped for length.
        """
        query = self.template.format_query(text)
        barred = {normalised_text(t) for t in (text, *exclude)}
        fitting = [pair for pair in self.examples if not barred & set(map(normalised_text, pair))]
        written = [self.example.format(query=self.template.format_query(q), document=d) for q, d in fitting]
        first = 0
        while first < len(written) and self.count_tokens(self._join(written[first:], query)) > self.max_tokens:
            first += 1
        if first:
            warn(f"{first} of {len(written)} examples do not fit into {self.max_tokens} tokens and were dropped")
        return self._join(written[first:], query)

    def _join(self, written: Sequence[str], query: str) -> str:
        return self.separator.join([*written, query])
