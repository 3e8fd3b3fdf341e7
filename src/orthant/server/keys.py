"""Keys of an HTTP server: made at random, kept as hashes, compared in constant time, revoked at once."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orthant.errors import InputError, NotFoundError, StoreCorruptedError, message
from orthant.validate import check_choice

__all__ = ["SCOPES", "Grant", "KeyFile", "StoredKey", "check_served_name", "default_key_file"]

SCOPES = ("read", "write", "admin")
"""Each holds those before it."""
_FORMAT = 1
_KEY = re.compile(r"orth_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Grant:
    """What the bearer of a key may do.

    Attributes
    ----------
    key : str
        The key's public part, for logs.
    scopes : mapping of str to str
        Scope by collection; ``"*"`` stands for every collection.
    """

    key: str
    scopes: Mapping[str, str]

    def allows(self, collection: str, scope: str) -> bool:
        """Return whether something may be done with a collection.

        Parameters
        ----------
        collection : str
            Its name; ``"*"`` asks for all of them.
        scope : {"read", "write", "admin"}
            What is to be done.

        Returns
        -------
        bool
            True when the collection's scope, or that of ``"*"``, holds it.
        """
        held = [self.scopes[name] for name in {collection, "*"} if name in self.scopes]
        return any(SCOPES.index(one) >= SCOPES.index(scope) for one in held)


@dataclass(frozen=True)
class StoredKey:
    """A key as it is kept: its secret part is not in it.

    Attributes
    ----------
    key : str
        Public part.
    label : str
        What it is for.
    hash : str
        SHA-256 of the whole key, in hexadecimal.
    scopes : dict of str to str
        Scope by collection.
    created : str
        ISO 8601, UTC.
    """

    key: str
    label: str
    hash: str
    scopes: dict[str, str]
    created: str

    def to_dict(self) -> dict[str, Any]:
        """Return what may be shown.

        Returns
        -------
        dict
            Without the hash.
        """
        return {name: value for name, value in vars(self).items() if name != "hash"}


def default_key_file() -> Path:
    """Return where keys are kept when nothing else is said.

    Returns
    -------
    Path
        ``ORTHANT_KEYS``, else ``orthant/keys.json`` in the folder for settings of the user.
    """
    named = os.environ.get("ORTHANT_KEYS", "").strip()
    if named:
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME", "").strip()
    return (Path(home) if home else Path.home() / ".config") / "orthant" / "keys.json"


class KeyFile:
    """A file of hashed keys; what is added or revoked counts for running servers at their next request.

    A key has 256 random bits, so one SHA-256 is enough: nobody can try as many. A slow hash is for passwords, and would
    cost every request its time.

    Parameters
    ----------
    path : str or Path
        The file; made by the first ``add``, readable by its owner only.

    Examples
    --------
    >>> import tempfile
    >>> keys = KeyFile(Path(tempfile.mkdtemp()) / "keys.json")
    >>> key = keys.add("reader", {"books": "read"})
    >>> keys.verify(key).allows("books", "write"), keys.verify(key + "x") is None
    (False, True)
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._keys: dict[str, StoredKey] = {}

    def add(self, label: str, scopes: Mapping[str, str]) -> str:
        """Make a key.

        Parameters
        ----------
        label : str
            What it is for: 1 to 64 letters, digits, ``_``, ``-`` or ``.``; not taken.
        scopes : mapping of str to {"read", "write", "admin"}
            Scope by collection, at least one; ``"*"`` for all.

        Returns
        -------
        str
            The key. It is shown this once and stored nowhere.

        Raises
        ------
        InputError
            A label that is malformed or taken, no scope, or an unknown one.
        """
        if not isinstance(label, str) or not _LABEL.fullmatch(label):
            raise InputError(message(f"label {label!r}", "1 to 64 letters, digits, '_', '-' or '.'", "choose another"))
        if not scopes:
            raise InputError(message("a key without scopes", "at least one", "write {'books': 'read'}"))
        for name, scope in scopes.items():
            check_choice(scope, SCOPES, name=f"scope of {name!r}")
            if name != "*" and not _LABEL.fullmatch(name):
                raise InputError(message(f"collection {name!r}", "a name as it is served, or '*'", "correct it"))
        public, key = secrets.token_hex(6), ""
        key = f"orth_{public}_{secrets.token_urlsafe(32)}"
        with self._lock:
            held = self._read()
            if any(one.label == label for one in held.values()):
                raise InputError(message(f"label {label!r}", "one that is not taken", "revoke that key, or rename"))
            now = datetime.now(UTC).isoformat(timespec="seconds")
            held[public] = StoredKey(public, label, _hash(key), dict(scopes), now)
            self._write(held)
        return key

    def list(self) -> list[StoredKey]:
        """Return every key, oldest first, without its secret."""
        with self._lock:
            return list(self._current().values())

    def revoke(self, name: str) -> StoredKey:
        """Forget a key.

        Parameters
        ----------
        name : str
            Its label or its public part.

        Returns
        -------
        StoredKey
            What it was.

        Raises
        ------
        NotFoundError
            No such key.
        """
        with self._lock:
            held = self._read()
            found = next((one for one in held.values() if name in (one.label, one.key)), None)
            if found is None:
                raise NotFoundError(message(f"no key {name!r}", "a label or the part after 'orth_'", "list the keys"))
            del held[found.key]
            self._write(held)
        return found

    def verify(self, key: str) -> Grant | None:
        """Return what a key may do.

        Parameters
        ----------
        key : str
            As the client sent it.

        Returns
        -------
        Grant or None
            None for a key that does not exist.

        Raises
        ------
        StoreCorruptedError
            The file is damaged.
        """
        form = _KEY.fullmatch(key) if isinstance(key, str) else None
        with self._lock:
            stored = self._current().get(form[1]) if form else None
        # An unknown key costs as much as a wrong one, so that time tells nothing of which exist.
        expected = stored.hash if stored is not None else "0" * 64
        same = hmac.compare_digest(_hash(key if form else ""), expected)
        return Grant(stored.key, stored.scopes) if same and stored is not None else None

    def _current(self) -> dict[str, StoredKey]:
        try:
            found = self.path.stat()
            seen: tuple[int, ...] = (found.st_mtime_ns, found.st_size, found.st_ino)
        except FileNotFoundError:
            seen = ()
        if seen != self._seen:
            self._keys, self._seen = self._read(), seen
        return self._keys

    def _read(self) -> dict[str, StoredKey]:
        try:
            held = json.loads(self.path.read_text(encoding="utf-8"))
            if held["format"] != _FORMAT:
                raise ValueError(held["format"])
            return {one["key"]: StoredKey(**one) for one in held["keys"]}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            raise StoreCorruptedError(
                message(
                    "a file of keys that cannot be read", "one that `orthant keys` wrote", "restore it, or remove it"
                )
            ) from error

    def _write(self, held: Mapping[str, StoredKey]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # mkstemp makes a file that only its owner can read, so the hashes are never open to others.
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".keys-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"format": _FORMAT, "keys": [vars(one) for one in held.values()]}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def check_served_name(name: str) -> str:
    """Refuse a name that does not fit into an address.

    Parameters
    ----------
    name : str
        Name of a served collection.

    Returns
    -------
    str
        The same.

    Raises
    ------
    InputError
        Not 1 to 64 letters, digits, ``_``, ``-`` or ``.``.
    """
    if not isinstance(name, str) or not _LABEL.fullmatch(name):
        raise InputError(
            message(f"collection name {name!r}", "1 to 64 letters, digits, '_', '-' or '.'", "write NAME=FOLDER")
        )
    return name
