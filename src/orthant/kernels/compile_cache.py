"""Where compiled kernels lie on disk: one folder per state of the sources, the compiler and the processor.

Numba keeps compiled functions itself, but looks at the file of the function only: an edit in a function that it calls
goes unnoticed. Here any edit beside a kernel, another compiler or another processor names another folder.
"""

from __future__ import annotations

import atexit
import glob
import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
import time
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from orthant.kernels import cpu

__all__ = [
    "KERNELS",
    "cache_base",
    "cache_key",
    "cache_state",
    "folder_for",
    "numba_cache",
    "source_hash",
    "sources_of",
]

KERNELS = Path(__file__).resolve().parent
"""The folder whose sources decide the key."""

_MARK = "used"
_UNUSED_DAYS = 30
_DAY_S = 86_400
_SEAL = hashlib.sha256().digest_size
# Settings of Numba that change the code it generates, and that its own cache does not ask about.
_CODE_SETTINGS = (
    *("OPT", "BOUNDSCHECK", "DEBUGINFO", "LOOP_VECTORIZE", "SLP_VECTORIZE"),
    *("ENABLE_AVX", "CPU_NAME", "CPU_FEATURES"),
)


def cache_base() -> Path:
    """Return the folder for whatever this user's Orthant can make again.

    Returns
    -------
    Path
        ``ORTHANT_CACHE``, or ``orthant`` in the platform's cache folder; not necessarily existing.
    """
    given = os.environ.get("ORTHANT_CACHE", "").strip()
    if given:
        return Path(given).expanduser()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA", "")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "orthant"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "orthant"
    shared = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(shared) if shared else Path.home() / ".cache") / "orthant"


def source_hash(folder: Path = KERNELS) -> str:
    """Return a digest of all Python sources in a folder.

    Parameters
    ----------
    folder : Path, default the kernels' own
        Where kernels and the functions that they call lie. Of the kernels' own, the folders below it count as well;
        what lies below another one is not ours to read.

    Returns
    -------
    str
        64 hexadecimal digits; another one after any edit, renaming or new file.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.glob("**/*.py" if folder == KERNELS else "*.py")):
        text = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(text)}\0".encode())
        digest.update(text)
    return digest.hexdigest()


def cache_key(folder: Path = KERNELS) -> str:
    """Return the name of everything that compiled code depends on.

    Parameters
    ----------
    folder : Path, default the kernels' own
        Where the sources lie.

    Returns
    -------
    str
        24 hexadecimal digits, from the sources, the versions of Python, Numba and llvmlite, the processor, the level
        of ``cpu.simd_level`` and Numba's settings.
    """
    settings = {name: os.environ.get(f"NUMBA_{name}", "") for name in _CODE_SETTINGS}
    parts = [source_hash(folder), sys.version, version("numba"), version("llvmlite"), sys.platform, cpu.name()]
    text = json.dumps([*parts, sorted(cpu.features()), cpu.simd_level(), settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def folder_for(sources: Path = KERNELS) -> Path:
    """Return the folder for code compiled from some sources, made and ready.

    Parameters
    ----------
    sources : Path, default the kernels' own
        Where the sources lie.

    Returns
    -------
    Path
        ``cache_base() / "kernels" / cache_key(sources)``, which may be one that can only be read, such as a part of a
        container's image. Where it cannot be made, or others may write to it, a temporary folder that ends with this
        process: what lies in the cache is executed.

    Notes
    -----
    Folders beside it that nobody has used for 30 days are removed.
    """
    return _prepared(cache_base() / "kernels", sources)


@lru_cache(maxsize=64)
def _prepared(base: Path, sources: Path) -> Path:
    folder = base / cache_key(sources)
    with suppress(OSError):
        folder.mkdir(parents=True, mode=0o755, exist_ok=True)
    if not _trusted(folder):
        return _temporary()
    if not os.access(folder, os.W_OK):
        # Somebody else's folder: useful as long as there is something in it.
        return folder if any(folder.glob("*.nbc")) else _temporary()
    with suppress(OSError):
        (folder / _MARK).touch()
        _remove_unused(base, time.time() - _UNUSED_DAYS * _DAY_S)
    return folder


def _trusted(folder: Path) -> bool:
    try:
        found = folder.stat()
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        return False
    if os.name == "nt":
        return True
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & 0o022


@lru_cache(maxsize=1)
def _temporary() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="orthant-kernels-"))
    owner = os.getpid()

    def remove() -> None:
        # A forked child runs this as well, while its parent still needs the folder.
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def _remove_unused(base: Path, before: float) -> None:
    for mark in base.glob(f"*/{_MARK}"):
        with suppress(OSError):
            if mark.stat().st_mtime < before:
                shutil.rmtree(mark.parent, ignore_errors=True)


def cache_state() -> dict[str, Any]:
    """Return what lies in the folder of this state of the kernels.

    Returns
    -------
    dict
        ``folder``, ``functions`` and ``bytes`` that are compiled, and ``kept``: False where the folder is a temporary
        one because the cache cannot be used.
    """
    folder = folder_for()
    sizes = [path.stat().st_size for path in folder.glob("*.nbc")]
    kept = folder.parent == cache_base() / "kernels"
    return {"folder": str(folder), "functions": len(sizes), "bytes": sum(sizes), "kept": kept}


@lru_cache(maxsize=1)
def _file_class() -> type[Any]:
    """One file for each signature of a function, named by it and sealed.

    Numba numbers the files of a function and writes the list of numbers first. Of two processes that compile two
    signatures at once, or where one is read in between, a signature gets the code of another: arrays of other types
    then go through it, and every later process finds it so.
    """
    from numba.core import caching

    class Files(caching.IndexDataCacheFile):  # type: ignore[misc]
        def _named(self, key: Any) -> tuple[str, bytes]:
            name = hashlib.sha256(repr(key).encode())
            return f"{self._index_name.removesuffix('.nbi')}.{name.hexdigest()[:16]}.nbc", name.digest()

        def save(self, key: Any, data: Any) -> None:
            name, about = self._named(key)
            payload = self._dump(data)
            with self._open_for_write(self._data_path(name)) as file:
                # Who reads the rest does not look at what stands behind it.
                file.write(payload + hashlib.sha256(about + payload).digest())

        def load(self, key: Any) -> Any:
            name, about = self._named(key)
            try:
                data = Path(self._data_path(name)).read_bytes()
            except FileNotFoundError:
                return None
            # What is read here is executed: half of a file, or one with a flipped bit, ends the process.
            sealed = hashlib.sha256(about + data[:-_SEAL]).digest() == data[-_SEAL:]
            return self._load_data(name) if sealed else None

        def flush(self) -> None:
            base = glob.escape(self._index_name.removesuffix(".nbi"))
            for path in Path(self._cache_path).glob(f"{base}.*.nbc"):
                path.unlink(missing_ok=True)

    return Files


@lru_cache(maxsize=1)
def _cache_class() -> type[Any]:
    """Numba's cache of a function, put where we want it and forgiving towards what it finds there."""
    from numba.core import caching, sigutils

    class Locator(caching._CacheLocator):  # type: ignore[misc]
        def __init__(self, function: Any, file: str) -> None:
            self._py_file = file
            self._function = function
            self._sources = sources_of(function)
            self._folder = folder_for(self._sources)

        def ensure_cache_path(self) -> None:
            self._folder.mkdir(parents=True, exist_ok=True)

        def get_cache_path(self) -> str:
            return str(self._folder)

        def get_source_stamp(self) -> str:
            return self._folder.name

        def get_disambiguator(self) -> str:
            module = hashlib.sha256(self._function.__module__.encode()).hexdigest()[:8]
            return f"{module}-{self._function.__code__.co_firstlineno}"

        @classmethod
        def from_function(cls, function: Any, file: str) -> Locator:
            return cls(function, file)

    class Place(caching.CompileResultCacheImpl):  # type: ignore[misc]
        _locator_classes = [Locator]

    class FolderCache(caching.FunctionCache):  # type: ignore[misc]
        _impl_class = Place

        def __init__(self, function: Any) -> None:
            super().__init__(function)
            place = self._impl.locator
            self._cache_file = _file_class()(place.get_cache_path(), self._impl.filename_base, place.get_source_stamp())

        def load_overload(self, signature: Any, context: Any) -> Any:
            try:
                found = super().load_overload(signature, context)
                wanted, _ = sigutils.normalize_signature(signature)
                return found if found is None or tuple(found.signature.args) == tuple(wanted) else None
            except Exception:  # noqa: BLE001
                # A torn file, whatever it raises, is as good as none: the kernel is compiled and the file replaced.
                return None

        def save_overload(self, signature: Any, result: Any) -> None:
            # A full disk or a folder that can only be read costs the next process a compilation, nothing else.
            with suppress(OSError):
                super().save_overload(signature, result)

    return FolderCache


def sources_of(function: Any) -> Path:
    """Return the folder whose edits must recompile a function.

    Parameters
    ----------
    function : function
        The Python function.

    Returns
    -------
    Path
        The kernels' folder, or for a function from elsewhere the folder of its file.
    """
    home = Path(function.__code__.co_filename).resolve().parent
    return KERNELS if home.is_relative_to(KERNELS) else home


def numba_cache(function: Any) -> Any | None:
    """Return a cache on disk for one function, to be given to its Numba dispatcher.

    Parameters
    ----------
    function : function
        The Python function.

    Returns
    -------
    numba.core.caching.FunctionCache or None
        None for a function that has no file, as in an interactive session. The user's own setting of Numba's cache
        folder is neither used nor changed.
    """
    return _cache_class()(function) if os.path.isfile(function.__code__.co_filename) else None
