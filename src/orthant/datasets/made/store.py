"""Make a vector set from texts once, keep it in the cache, and hand it out memory-mapped.

A set lies in ``<cache>/vectors/<name>/`` as plain ``.npy`` files beside ``manifest.json``, which names the recipe, the
hashes of the data it was made from, the encoder and the hash of the files. A set that no longer fits is made anew.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthant.artifact import write_bytes_atomically
from orthant.datasets.kinds import VectorSet
from orthant.datasets.made.texts import TEXTS, MadeTexts
from orthant.datasets.registry import data_hash, folder_hash
from orthant.errors import NotFoundError, StoreCorruptedError, message
from orthant.types import FloatArray, TokenEncoder
from orthant.validate import check_choice

__all__ = ["MADE_SETS", "MadeSet", "cache_folder", "load_made", "make"]

MADE_SETS = tuple(TEXTS)
# Raise it whenever the same data would give other vectors.
_RECIPE = 1
_SEED = 0
_BLOCK = 2_048
_MANIFEST = "manifest.json"

Root = str | os.PathLike[str] | None


@dataclass(frozen=True, eq=False)
class MadeSet:
    """A set from the cache and what it was made from.

    Attributes
    ----------
    vectors : VectorSet
        Memory-mapped base and query vectors, float32, of unit length.
    manifest : dict
        Recipe, sources with their hashes, encoder, seconds and the SHA-256 over the files.
    """

    vectors: VectorSet
    manifest: dict[str, Any]


def cache_folder() -> Path:
    """Return the folder for made sets and ground truth: ``ORTHANT_CACHE``, else ``.orthant-cache`` here.

    Returns
    -------
    Path
        It need not exist yet.
    """
    return Path(os.environ.get("ORTHANT_CACHE") or ".orthant-cache")


def _folder(name: str) -> Path:
    check_choice(name, MADE_SETS, name="made vector set")
    return cache_folder() / "vectors" / name


def _recipe(name: str, root: Root, sources: Sequence[str]) -> dict[str, Any]:
    return {
        "name": name,
        "recipe": _RECIPE,
        "seed": _SEED,
        "sources": {source: data_hash(source, root=root) for source in sources},
    }


def load_made(name: str, *, root: Root = None) -> MadeSet:
    """Return a set that was made before.

    Parameters
    ----------
    name : {"newsgroups_chunks", "token_vectors"}
        Which set.
    root : str or path-like, optional
        The data folder, whose files must be those that the set was made from; left out, ``ORTHANT_DATA``.

    Returns
    -------
    MadeSet
        Memory-mapped; nothing is read but the texts' hashes.

    Raises
    ------
    NotFoundError
        It was not made yet, or from other texts or by another recipe.
    StoreCorruptedError
        Its files are not those that were written.
    """
    folder = _folder(name)
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(
            message(f"vector set {name!r}, not in the cache {folder.parent}", "a set made before", _remedy())
        ) from None
    except ValueError as error:
        raise StoreCorruptedError(message(f"{folder / _MANIFEST} that is not JSON", "JSON", _remedy())) from error
    expected = _recipe(name, root, sorted(manifest.get("sources", {})))
    stale = [key for key, value in expected.items() if manifest.get(key) != value]
    if stale:
        raise NotFoundError(
            message(
                f"vector set {name!r} in {folder.parent} made with another {' and '.join(stale)}",
                "one made from the texts that are there now",
                _remedy(),
            )
        )
    sizes = {path.name: path.stat().st_size for path in folder.glob("*.npy")}
    if sizes != manifest["bytes"]:
        raise StoreCorruptedError(message(f"files of {sizes} in {folder}", f"{manifest['bytes']}", _remedy()))
    arrays = {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in sorted(folder.glob("*.npy"))}
    base = arrays.pop("base")
    return MadeSet(VectorSet(name, base, {key.removeprefix("queries_"): a for key, a in arrays.items()}), manifest)


def _remedy() -> str:
    return "make it with benchmarks/make_vectors.py, or point ORTHANT_CACHE at the folder that has it"


def make(
    name: str,
    encoder: Callable[[int], TokenEncoder],
    *,
    rows: int | None = None,
    root: Root = None,
    report: Callable[[str, int, int], None] | None = None,
) -> MadeSet:
    """Encode the texts of a set and put it into the cache.

    Parameters
    ----------
    name : {"newsgroups_chunks", "token_vectors"}
        Which set.
    encoder : callable of int
        Given the window in tokens, returns an encoder with ``encode`` and ``encode_tokens``.
    rows : int, optional
        Base vectors, from 1, for a small trial; left out, all.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.
    report : callable of (part, done, total), optional
        Called after every block with rows encoded.

    Returns
    -------
    MadeSet
        As from ``load_made``.

    Raises
    ------
    NotFoundError
        Texts of the data folder are missing.

    Notes
    -----
    The folder appears when it is complete, so an interrupted run leaves no half set.
    Cost: the encoder's; a transformer needs minutes per 100,000 texts.
    """
    texts = TEXTS[check_choice(name, MADE_SETS, name="made vector set")](root, seed=_SEED)
    model = encoder(texts.max_tokens)
    folder = _folder(name)
    aside = folder.with_name(f".{name}.{os.getpid()}")
    aside.mkdir(parents=True, exist_ok=True)
    try:
        started, cpu = time.perf_counter(), time.process_time()
        _encode(texts, model, aside, rows=rows, report=report)
        manifest = _recipe(name, root, texts.sources) | {
            "encoder": model.fingerprint,
            "complete": rows is None,
            "seconds": round(time.perf_counter() - started, 1),
            "cpu_seconds": round(time.process_time() - cpu, 1),
            "bytes": {path.name: path.stat().st_size for path in aside.glob("*.npy")},
            "sha256": folder_hash(aside),
        }
        write_bytes_atomically(aside / _MANIFEST, json.dumps(manifest, indent=2, sort_keys=True).encode())
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return load_made(name, root=root)


def _encode(
    texts: MadeTexts,
    model: Any,
    folder: Path,
    *,
    rows: int | None,
    report: Callable[[str, int, int], None] | None,
) -> None:
    wanted = min(rows or texts.rows, texts.rows if texts.per_token else len(texts.base))
    for part, items in texts.queries.items():
        found = np.concatenate(list(_blocks(items, model, texts.per_token)))
        if texts.per_token:
            # Tokens of one document follow each other; a seeded draw spreads the queries over all of them.
            chosen = np.random.default_rng(_SEED).permutation(len(found))[: texts.query_rows]
            found = found[chosen]
        np.save(folder / f"queries_{part}.npy", found[: texts.query_rows])
        if report is not None:
            report(f"{part} queries", len(found), len(found))
    # Half precision would halve the file, but every engine would then need a float32 copy of its own.
    base: np.memmap[Any, np.dtype[np.float32]] | None = None
    done = 0
    for block in _blocks(texts.base, model, texts.per_token):
        if base is None:
            base = np.lib.format.open_memmap(folder / "base.npy", "w+", np.float32, (wanted, block.shape[1]))
        part = block[: wanted - done]
        base[done : done + len(part)] = part
        done += len(part)
        if report is not None:
            report("base", done, wanted)
        if done == wanted:
            break
    if base is not None:
        base.flush()


def _blocks(items: Sequence[str], model: Any, per_token: bool) -> Any:
    for start in range(0, len(items), _BLOCK // 16 if per_token else _BLOCK):
        block = list(items[start : start + (_BLOCK // 16 if per_token else _BLOCK)])
        vectors: FloatArray = model.encode_tokens(block).values if per_token else model.encode(block)
        yield vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
