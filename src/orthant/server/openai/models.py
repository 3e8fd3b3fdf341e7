"""The models that a server offers beside the encoders of its collections, each on a thread of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from orthant.collection.asynchronous.lanes import Lane
from orthant.collection.stages.rerankers import CrossEncoderReranker, as_reranker
from orthant.encoders.late_interaction.folder import is_token_folder
from orthant.encoders.late_interaction.reranker import MaxSimReranker
from orthant.encoders.registry import load_encoder, load_token_encoder
from orthant.errors import InputError, NotFoundError, message
from orthant.server.failures import within
from orthant.server.limits import Limits
from orthant.types import Encoder, Reranker
from orthant.validate import check_count

__all__ = ["Models", "ServedModel", "declared_dimensions", "load_reranker"]

T = TypeVar("T")


class ServedModel:
    """An encoder with the dimensions that its vectors may be truncated to, or a reranker.

    Parameters
    ----------
    model : str, Path, Encoder or Reranker
        What :func:`orthant.encoders.registry.load_encoder` takes, or an object with ``score(query, records)``.
    dimensions : sequence of int, optional
        Widths at which the leading values of a vector are one too, as those of a model trained with a Matryoshka loss.
        Default what the model's ``config.json`` declares as ``matryoshka_dimensions``. Cutting another model's vectors
        loses much of what they tell, so nothing is cut that is not declared.

    Attributes
    ----------
    encoder : Encoder or None
        Makes vectors.
    reranker : Reranker or None
        Scores texts.
    dimensions : tuple of int
        Ascending; empty where vectors come whole only.

    Raises
    ------
    InputError
        No model, or a width that the encoder's vectors do not have.

    References
    ----------
    A. Kusupati et al., Matryoshka Representation Learning, arXiv:2205.13147, section 3.

    Examples
    --------
    >>> ServedModel("static", dimensions=[64, 128]).dimensions
    (64, 128)
    """

    def __init__(self, model: Any, *, dimensions: Sequence[int] | None = None) -> None:
        scores = callable(getattr(model, "score", None)) and not callable(getattr(model, "encode", None))
        ranks = callable(getattr(model, "rank", None)) and callable(getattr(model, "predict", None))
        self.encoder: Encoder | None = None
        self.reranker: Reranker | None = None
        if scores or ranks:
            if dimensions:
                raise InputError(message("dimensions= with a reranker", "an encoder", "leave them out"))
            self.reranker = as_reranker(model)
            self.dimensions: tuple[int, ...] = ()
            return
        self.encoder = load_encoder(model)
        declared = declared_dimensions(model) if dimensions is None else dimensions
        whole = self.encoder.dim
        for width in declared:
            check_count(width, name="dimensions", maximum=whole)
        self.dimensions = tuple(sorted(set(declared)))


def declared_dimensions(model: Any) -> tuple[int, ...]:
    """Return the widths that a model's folder declares for shorter vectors.

    Parameters
    ----------
    model : str, Path or object
        A folder whose ``config.json`` may hold ``matryoshka_dimensions``; anything else declares none.

    Returns
    -------
    tuple of int
        As written; empty where there are none.

    Raises
    ------
    InputError
        They are there and are no list of numbers.
    """
    if not isinstance(model, (str, os.PathLike)):
        return ()
    file = Path(model).expanduser() / "config.json"
    if not file.is_file():
        return ()
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        # A damaged file is told by whoever loads the model from it.
        return ()
    found = config.get("matryoshka_dimensions") if isinstance(config, dict) else None
    if found is None:
        return ()
    if not isinstance(found, list) or not all(type(one) is int for one in found):
        given = f"matryoshka_dimensions of {file} that are no list of numbers"
        raise InputError(message(given, "widths such as [64, 128]", "correct them, or pass dimensions="))
    return tuple(found)


def load_reranker(folder: str | Path) -> Reranker:
    """Return the reranker that a folder holds.

    Parameters
    ----------
    folder : str or Path
        Of a late-interaction model, which compares token by token, or of a cross-encoder (extra ``learn``).

    Returns
    -------
    Reranker
        Scores texts against a query.

    Raises
    ------
    NotFoundError
        No such folder.
    MissingExtraError
        A cross-encoder without sentence-transformers.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise NotFoundError(message(f"no folder {folder}", "the folder of a reranker", "check the path"))
    if is_token_folder(path):
        return MaxSimReranker(load_token_encoder(path))
    return CrossEncoderReranker(path)


class Models:
    """Models by name; each answers one request at a time, on a thread of its own.

    Parameters
    ----------
    given : mapping of str to ServedModel, Encoder, Reranker, str or Path
        What :class:`ServedModel` takes.

    Examples
    --------
    >>> sorted(Models({"words": "static"}).by_name)
    ['words']
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.by_name: dict[str, ServedModel] = {
            name: model if isinstance(model, ServedModel) else ServedModel(model) for name, model in given.items()
        }
        self._lanes: dict[str, Lane] = {}
        self._limits = Limits()

    async def run(self, stack: AsyncExitStack, limits: Limits) -> None:
        """Start the threads; they end with the stack, after the calls that run.

        Parameters
        ----------
        stack : AsyncExitStack
            Entered for as long as the server runs.
        limits : Limits
            Bounds of waiting calls and of seconds.
        """
        self._limits = limits
        for name in self.by_name:
            # A model uses all CPUs for one call already; two at once would only share them.
            lane = Lane(f"model-{name}", threads=1, max_waiting=limits.max_waiting)
            stack.push_async_callback(lane.close)
            self._lanes[name] = lane

    async def call(self, name: str, function: Callable[[Any], T]) -> T:
        """Run a function of a model on its thread, for as long as a call may take.

        Parameters
        ----------
        name : str
            The model.
        function : callable of Encoder or Reranker
            May block.

        Returns
        -------
        object
            What it gave.

        Raises
        ------
        Refusal
            Status 504: it took too long.
        OverloadedError
            Too many calls wait.
        """
        model = self.by_name[name]
        return await within(self._lanes[name].run(lambda: function(model.encoder or model.reranker)), self._limits)
