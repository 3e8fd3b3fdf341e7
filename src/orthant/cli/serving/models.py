"""Models of `orthant serve` as the command line names them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from orthant.errors import InputError, message

__all__ = ["named_encoders", "named_models", "space_encoders"]


def named_encoders(given: Sequence[str]) -> dict[str, str]:
    """Return the encoders that a server may change spaces to.

    Parameters
    ----------
    given : sequence of str
        ``NAME=ENCODER``, or the name of an encoder alone.

    Returns
    -------
    dict of str to str
        What ``load_encoder`` takes, by name; none is loaded.

    Raises
    ------
    InputError
        Two of one name, or another form.

    Examples
    --------
    >>> named_encoders(["minilm", "house=./model"])
    {'minilm': 'minilm', 'house': './model'}
    """
    return _pairs(given, bare=True)


def space_encoders(given: Sequence[str], collections: Collection[str]) -> dict[str, dict[str, str]]:
    """Return the encoders that spaces of served collections need and no name tells.

    Parameters
    ----------
    given : sequence of str
        ``COLLECTION/SPACE=FOLDER``, or ``SPACE=FOLDER`` where one collection is served.
    collections : collection of str
        Names under which collections are served.

    Returns
    -------
    dict of str to dict of str to str
        Folders by space, by collection.

    Raises
    ------
    InputError
        A collection that is not served or not named, two folders for one space, or another form.

    Examples
    --------
    >>> space_encoders(["words=./colbert"], ["notes"])
    {'notes': {'words': './colbert'}}
    """
    out: dict[str, dict[str, str]] = {}
    for name, folder in _pairs(given, bare=False).items():
        collection, sign, space = name.rpartition("/")
        if not sign and len(collections) == 1:
            collection = next(iter(collections))
        if collection not in collections:
            known = f"COLLECTION/SPACE=FOLDER with one of: {', '.join(collections)}"
            raise InputError(message(f"--space-encoder {name}={folder}", known, "correct it"))
        out.setdefault(collection, {})[space] = folder
    return out


def named_models(models: Sequence[str], dimensions: Sequence[str], rerankers: Sequence[str]) -> dict[str, Any]:
    """Load the models to serve by name.

    Parameters
    ----------
    models : sequence of str
        ``NAME=ENCODER``, or the name of an encoder alone.
    dimensions : sequence of str
        ``NAME=64,128``.
    rerankers : sequence of str
        ``NAME=FOLDER``.

    Returns
    -------
    dict of str to ServedModel
        Loaded.

    Raises
    ------
    InputError
        Two of one name, widths of no model, or another form.

    Examples
    --------
    >>> named_models(["words=static"], ["words=64"], [])["words"].dimensions
    (64,)
    """
    from orthant.server.openai.models import ServedModel, load_reranker

    encoders, widths, judges = _pairs(models, bare=True), _pairs(dimensions), _pairs(rerankers)
    strange = sorted(set(widths) - set(encoders))
    if strange:
        given = f"--dimensions for {strange[0]!r}"
        raise InputError(message(given, "the name of a --model", "serve it with --model NAME=ENCODER"))
    both = sorted(set(encoders) & set(judges))
    if both:
        raise InputError(message(f"a model and a reranker called {both[0]!r}", "a name for each", "rename one"))
    out = {name: ServedModel(spec, dimensions=_numbers(name, widths)) for name, spec in encoders.items()}
    return out | {name: ServedModel(load_reranker(folder)) for name, folder in judges.items()}


def _pairs(given: Sequence[str], *, bare: bool = False) -> dict[str, str]:
    out: dict[str, str] = {}
    for one in given:
        name, sign, value = one.partition("=")
        if not sign and bare:
            value = name
        if not name or not value:
            raise InputError(message(repr(one), "NAME=VALUE", "give it a name"))
        if name in out:
            raise InputError(message(f"the name {name!r} twice", "a name for each", "choose another one"))
        out[name] = value
    return out


def _numbers(name: str, widths: dict[str, str]) -> list[int] | None:
    if name not in widths:
        return None
    try:
        return [int(one) for one in widths[name].split(",")]
    except ValueError:
        given = f"--dimensions {name}={widths[name]}"
        raise InputError(message(given, "whole numbers, such as 64,128", "correct them")) from None
