"""From a YAML or JSON file to a ``Recipe``; everything that is wrong is said at once, with the way out."""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from orthant.errors import InputError, MissingExtraError, NotFoundError, message
from orthant.learn.recipes.checking import problems_of
from orthant.learn.recipes.schema import Recipe

__all__ = ["parse_recipe", "read_recipe"]

_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def read_recipe(path: str | Path) -> Recipe:
    """Read a training recipe.

    Parameters
    ----------
    path : str or Path
        A ``.yaml``, ``.yml`` or ``.json`` file.

    Returns
    -------
    Recipe
        Checked, with defaults filled in.

    Raises
    ------
    NotFoundError
        No such file.
    InputError
        Not YAML or JSON, or a recipe that cannot be run: all unknown names (with the valid ones), wrong types and
        contradictions are listed together.
    MissingExtraError
        A YAML file without PyYAML.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(message(f"no recipe at {path}", "a .yaml or .json file", "check the path")) from error
    except (IsADirectoryError, UnicodeDecodeError) as error:
        raise InputError(message(f"{path}, which is no text file", "a .yaml or .json file", "check it")) from error
    suffix = path.suffix.lower()
    if suffix == ".json":
        return parse_recipe(_json(text, path), source=str(path))
    if suffix in {".yaml", ".yml"}:
        return parse_recipe(_yaml(text, path), source=str(path))
    raise InputError(message(f"a recipe named {path.name}", "a name ending in .yaml, .yml or .json", "rename it"))


def _json(text: str, path: Path) -> Any:
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, path))
    except json.JSONDecodeError as error:
        raise InputError(message(f"{path} with {error}", "JSON", "correct it there")) from error


def _once(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(message(f"{path} with {twice[0]!r} twice in one section", "each name once", "remove one"))
    return dict(pairs)


def _yaml(text: str, path: Path) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError(
            message("a YAML recipe without PyYAML", "the extra 'learn'", 'run: pip install "orthant[learn]"')
        ) from error

    class Loader(yaml.SafeLoader):
        """Refuses a name that is given twice: the first one would be dropped without a word."""

    def mapping(loader: Any, node: Any) -> dict[str, Any]:
        loader.flatten_mapping(node)
        return _once([(str(loader.construct_object(k)), loader.construct_object(v, deep=True)) for k, v in node.value],
                     path)  # fmt: skip

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        # A SafeLoader: it makes plain values only.
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise InputError(message(f"{path} with {' '.join(str(error).split())}", "YAML", "correct it there")) from error


def parse_recipe(values: Any, *, source: str = "recipe") -> Recipe:
    """Turn plain values into a checked recipe.

    Parameters
    ----------
    values : mapping
        Sections by name, as a file has them.
    source : str, default "recipe"
        How it is called in an error.

    Returns
    -------
    Recipe
        With defaults filled in.

    Raises
    ------
    InputError
        As for ``read_recipe``.

    Examples
    --------
    >>> recipe = parse_recipe({"name": "m", "data": {"a": {"source": "papers"}}, "stages": [{"name": "s", "steps": 9}]})
    >>> recipe.stages[0].batch_size
    32
    """
    problems: list[str] = []
    recipe = _built(Recipe, values, "", problems)
    if not problems:
        problems += problems_of(recipe)
    if problems:
        shown = "; ".join(problems)
        raise InputError(
            message(f"{source} with {len(problems)} problem{'s' * (len(problems) > 1)}: {shown}", "a recipe",
                    "correct what is named; `orthant train --schema` lists all names")
        )  # fmt: skip
    return recipe


def _built(cls: type, value: Any, where: str, problems: list[str]) -> Any:
    """Make a dataclass of a mapping; what cannot be made is added to the problems."""
    if not isinstance(value, Mapping):
        problems.append(f"{where or 'the recipe'} is {_shown(value)}, expected names and values")
        return None
    hints = get_type_hints(cls)
    fields = {each.name: each for each in dataclasses.fields(cls)}
    for name in value:
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            problems.append(f"{_at(where, str(name))} is unknown ({hint}valid here: {', '.join(sorted(fields))})")
    made = {}
    for name, each in fields.items():
        if name in value:
            made[name] = _typed(hints[name], value[name], _at(where, name), problems)
        elif each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING:
            problems.append(f"{_at(where, name)} is missing")
    try:
        return cls(**made)
    except TypeError:
        # Something is missing, which is among the problems already.
        return None


def _typed(wanted: Any, value: Any, where: str, problems: list[str]) -> Any:
    origin, options = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        return _typed(next(o for o in options if o is not type(None)), value, where, problems)
    if origin is Literal:
        if value not in options:
            problems.append(f"{where} is {_shown(value)}, expected one of {', '.join(map(str, options))}")
        return value
    if origin is list:
        if not isinstance(value, list):
            problems.append(f"{where} is {_shown(value)}, expected a list")
            return []
        return [_typed(options[0], each, f"{where}[{i}]", problems) for i, each in enumerate(value)]
    if origin is dict:
        if not isinstance(value, Mapping):
            problems.append(f"{where} is {_shown(value)}, expected names and values")
            return {}
        return {str(name): _typed(options[1], each, _at(where, str(name)), problems) for name, each in value.items()}
    if isinstance(wanted, type) and dataclasses.is_dataclass(wanted):
        return _built(wanted, value, where, problems)
    return _plain(wanted, value, where, problems)


def _plain(wanted: Any, value: Any, where: str, problems: list[str]) -> Any:
    if wanted is float and isinstance(value, str):
        # YAML 1.1 reads 2e-5, without a point, as text.
        try:
            return float(value)
        except ValueError:
            pass
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, wanted) or (wanted is not bool and isinstance(value, bool)):
        problems.append(f"{where} is {_shown(value)}, expected {_WORDS[wanted]}")
    return value


def _at(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _shown(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
