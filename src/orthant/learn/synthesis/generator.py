"""The protocol of text generators: prompts in, texts with their cost out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from orthant.errors import InputError, OrthantError, message
from orthant.validate import as_texts, check_count, check_fraction

__all__ = ["Generated", "GenerationError", "TextGenerator", "check_request", "cut_at"]


@dataclass(frozen=True, slots=True)
class Generated:
    """One text that a generator wrote.

    Attributes
    ----------
    text : str
        The text, without the prompt and without the stop string.
    finish : {"stop", "length"}
        Whether it ended by itself or was cut at ``max_tokens``.
    prompt_tokens, completion_tokens : int
        What was read and written; 0 where unknown.
    cached : bool
        Whether it came from a cache, at no cost.
    """

    text: str
    finish: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached: bool = False


class GenerationError(OrthantError):
    """A generator gave up; ``partial`` holds what it wrote before.

    Parameters
    ----------
    text : str
        What happened and what to do.
    partial : sequence of (Generated or None), default ()
        One entry per prompt, None where there is no text.
    """

    def __init__(self, text: str, partial: Sequence[Generated | None] = ()) -> None:
        super().__init__(text)
        self.partial = list(partial)


@runtime_checkable
class TextGenerator(Protocol):
    """Writes texts for prompts."""

    fingerprint: str

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_tokens: int = 128,
        temperature: float = 0.0,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> list[Generated]:
        """Return one text per prompt, in order; equal arguments give equal texts where the generator can promise it."""
        ...


def check_request(
    prompts: Sequence[str], *, max_tokens: int, temperature: float, seed: int, stop: Sequence[str]
) -> tuple[list[str], tuple[str, ...]]:
    """Check the arguments of ``generate`` once for all generators.

    Parameters
    ----------
    prompts : sequence of str
        None blank.
    max_tokens : int
        From 1.
    temperature : float
        From 0 to 10; 0 takes the likeliest text.
    seed : int
        From 0.
    stop : sequence of str
        Strings that end a text; none empty.

    Returns
    -------
    prompts : list of str
        The prompts.
    stop : tuple of str
        The stop strings.

    Raises
    ------
    InputError
        Anything out of range.
    """
    listed = as_texts(prompts, name="prompts")
    for i, prompt in enumerate(listed):
        if not prompt.strip():
            raise InputError(message(f"prompts[{i}] without a word", "a prompt", "drop it"))
    check_count(max_tokens, name="max_tokens")
    check_fraction(temperature, name="temperature", high=10)
    check_count(seed, name="seed", minimum=0)
    ends = tuple(as_texts(stop, name="stop"))
    if not all(ends):
        raise InputError(message("an empty stop string", "strings that end a text", "drop it"))
    return listed, ends


def cut_at(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """Return a text up to the first stop string, and whether there was one.

    Parameters
    ----------
    text : str
        A generated text.
    stop : sequence of str
        Strings that end a text.

    Returns
    -------
    text : str
        Without the stop string and what follows.
    found : bool
        Whether it was cut.

    Examples
    --------
    >>> cut_at("one. two. three", [" t", "."])
    ('one', True)
    """
    places = [place for place in (text.find(end) for end in stop) if place >= 0]
    return (text[: min(places)], True) if places else (text, False)
