"""What a figure was measured on: machine, versions, code and data, in one dictionary.

Every report and every benchmark result carries this, so that a figure can be traced and repeated.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from orthant.errors import DtypeError, message
from orthant.threads import default_threads

__all__ = ["code_hash", "hash_data", "machine", "run_context", "versions"]

_PACKAGES = ("numpy", "scipy", "numba", "scikit-learn", "tokenizers")


def run_context(
    *, seed: int | Sequence[int] | None = None, data_hash: str | None = None, packages: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what is needed to repeat a measurement; put it beside every figure that leaves the process.

    Parameters
    ----------
    seed : int, sequence of int, or None
        Seeds of the run.
    data_hash : str, optional
        Of the data measured on; `hash_data` makes one.
    packages : sequence of str
        Further distributions whose versions belong to the figure, such as peers; absent ones become None.

    Returns
    -------
    dict
        Keys ``machine``, ``versions``, ``threads``, ``code_sha256``, ``seeds``, ``data_sha256``; JSON-serialisable.

    Examples
    --------
    >>> sorted(run_context(seed=0))
    ['code_sha256', 'data_sha256', 'machine', 'seeds', 'threads', 'versions']
    """
    seeds = [] if seed is None else [int(s) for s in seed] if isinstance(seed, Sequence) else [int(seed)]
    return {
        "machine": machine(),
        "versions": versions(packages),
        "threads": default_threads(),
        "code_sha256": code_hash(),
        "seeds": seeds,
        "data_sha256": data_hash,
    }


def machine() -> dict[str, Any]:
    """Return processor, cores, memory and system.

    Returns
    -------
    dict
        ``cpu`` (model), ``cores`` (that this process may use), ``memory_bytes`` (None where unknown), ``system``.

    Examples
    --------
    >>> machine()["cores"] >= 1
    True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu_model(),
        "cores": cores or 1,
        "memory_bytes": _memory_bytes(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def versions(packages: Sequence[str] = ()) -> dict[str, str | None]:
    """Return the versions of Python, Orthant and the packages it computes with, without importing them.

    Parameters
    ----------
    packages : sequence of str
        Further distributions.

    Returns
    -------
    dict of str to str or None
        None for what is not installed.

    Examples
    --------
    >>> versions(["no-such-distribution"])["no-such-distribution"] is None
    True
    """
    from orthant import __version__

    found: dict[str, str | None] = {"orthant": __version__, "python": platform.python_version()}
    for name in (*_PACKAGES, *packages):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


@cache
def code_hash() -> str:
    """Return the SHA-256 of the package's Python sources.

    Returns
    -------
    str
        Hexadecimal; changes with any edit in any module, not with line endings or the folder's place.

    Examples
    --------
    >>> len(code_hash())
    64
    """
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py"), key=lambda p: p.relative_to(root).as_posix()):
        source = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(source)}\0".encode())
        digest.update(source)
    return digest.hexdigest()


def hash_data(*parts: Any) -> str:
    """Return one SHA-256 over arrays, texts, numbers and nestings of them.

    Parameters
    ----------
    *parts : ndarray, str, bytes, number, bool, None, mapping, or iterable of these
        Order counts, except that of a mapping's keys. Arrays count with dtype and shape.

    Returns
    -------
    str
        Hexadecimal; the same on every machine.

    Raises
    ------
    DtypeError
        A value of another type, or an array of Python objects.

    Examples
    --------
    >>> hash_data({"a": 1, "b": 2}) == hash_data({"b": 2, "a": 1})
    True
    >>> hash_data(["ab", "c"]) == hash_data(["a", "bc"])
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        _feed(digest, part)
    return digest.hexdigest()


def _feed(digest: Any, part: Any) -> None:
    # Every value goes in with a tag and its length, so that no two nestings share a byte stream.
    if isinstance(part, np.generic):
        part = part.item()
    if isinstance(part, np.ndarray):
        if part.dtype == object:
            raise DtypeError(message("an array of Python objects", "numbers or text", "convert it before hashing"))
        array = np.ascontiguousarray(part.astype(part.dtype.newbyteorder("<"), copy=False))
        _feed_bytes(digest, f"array {array.dtype.str} {part.shape}", array.tobytes())
    elif isinstance(part, str):
        _feed_bytes(digest, "str", part.encode("utf-8", "surrogatepass"))
    elif isinstance(part, bytes):
        _feed_bytes(digest, "bytes", part)
    elif part is None or isinstance(part, (bool, int, float)):
        _feed_bytes(digest, type(part).__name__, repr(part).encode())
    elif isinstance(part, Mapping):
        _feed_bytes(digest, f"mapping {len(part)}", b"")
        for key in sorted(part, key=lambda k: (type(k).__name__, str(k))):
            _feed(digest, key)
            _feed(digest, part[key])
    elif isinstance(part, (set, frozenset)):
        _feed_bytes(digest, "set", b"")
        for item in sorted(hash_data(item) for item in part):
            digest.update(item.encode())
    elif isinstance(part, Iterable):
        _feed_bytes(digest, "sequence", b"")
        for item in part:
            _feed(digest, item)
        _feed_bytes(digest, "end", b"")
    else:
        raise DtypeError(
            message(f"a {type(part).__name__} to hash", "arrays, texts, numbers or nestings", "convert it first")
        )


def _feed_bytes(digest: Any, tag: str, data: bytes) -> None:
    digest.update(f"{tag}\0{len(data)}\0".encode())
    digest.update(data)


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model", "cpu model"):
                return value.strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    if not hasattr(os, "sysconf"):
        return None
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None
