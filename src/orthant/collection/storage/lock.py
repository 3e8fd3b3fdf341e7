"""The one writer's place: an operating-system lock that dies with its process."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from orthant.collection.storage.files import storage_error
from orthant.errors import StoreLockedError, message
from orthant.threads import Copied

__all__ = ["WriterLock"]


class WriterLock(Copied):
    """An exclusive lock on a file, held while a collection writes.

    The file stays behind and means nothing by itself: only the lock on it counts, and the operating system drops
    that when the process ends, however it ends. A copied process (``os.fork``) does not hold it: there is one writer.

    Parameters
    ----------
    path : Path
        The lock file; created when missing.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> lock = WriterLock(Path(folder) / "writer.lock")
    >>> lock.acquire(); lock.held
    True
    >>> lock.release()
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None
        super().__init__()

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._handle is not None

    def acquire(self) -> None:
        """Take the lock now or say who holds it.

        Raises
        ------
        StoreLockedError
            Another process, or another object of this one, is the writer.
        StoreReadOnlyError
            The folder cannot be written.
        """
        if self.held:
            return
        while True:
            handle = self._locked()
            if _is_file(handle, self.path):
                break
            # Somebody deleted the file between opening and locking: this lock would exclude nobody.
            os.close(handle)
        os.lseek(handle, _PID_AT, os.SEEK_SET)
        os.write(handle, f"{os.getpid():<20d}".encode())
        self._handle = handle

    def _locked(self) -> int:
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise storage_error(error, self.path, "lock") from error
        try:
            _lock(handle)
        except OSError as error:
            holder = _holder(handle)
            os.close(handle)
            raise StoreLockedError(
                message(
                    f"a second writer for {self.path.parent} while process {holder} is writing",
                    "one writer at a time; readers are unlimited",
                    f"close the collection in process {holder}, or open this one with read_only=True",
                )
            ) from error
        return handle

    def begin_anew(self) -> None:
        """Close what a copied process has of its parent's lock; unlocking would take it from the parent, too."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            with suppress(OSError):
                os.close(handle)

    def release(self) -> None:
        """Give the lock back; harmless when not held."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            _unlock(handle)
            os.close(handle)


# Windows locks byte ranges and hides them from readers, so the pid stands behind the locked first byte.
_PID_AT = 1

if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

    def _unlock(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)


def _is_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False


def _holder(handle: int) -> str:
    os.lseek(handle, _PID_AT, os.SEEK_SET)
    return os.read(handle, 20).decode("ascii", "replace").strip(" \0") or "unknown"
