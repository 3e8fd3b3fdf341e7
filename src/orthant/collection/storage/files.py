"""Every write that a collection makes outside SQLite goes through this layer.

It exists so that a test can record the writes, lose the unsynced ones, fill the disk, and prove that no acknowledged
record goes with them.
"""

from __future__ import annotations

import errno
import os
import shutil
import zlib
from collections.abc import Iterable
from pathlib import Path

from orthant.artifact import sync_folder
from orthant.errors import StoreError, StoreReadOnlyError, message

__all__ = ["SHORTAGES", "FileLayer", "remove_folder", "size_and_crc", "storage_error"]

_PART = 1 << 20


SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""What a process runs out of while its files are sound."""


def storage_error(error: OSError, path: Path, action: str) -> StoreError:
    """Turn an operating-system error into one that says what was kept.

    Parameters
    ----------
    error : OSError
        What the operating system reported.
    path : Path
        The file or folder concerned.
    action : str
        What was being done, such as ``"write"``.

    Returns
    -------
    StoreError
        To be raised by the caller; ``StoreReadOnlyError`` when permission is missing.
    """
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreReadOnlyError(
            message(f"no permission to {action} {path}", "a writable folder", "change its permissions or open a copy")
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            message(
                f"a full disk at {action} of {path}",
                "free space; everything acknowledged before is kept and this call changed nothing",
                "free some space and repeat the call",
            )
        )
    if error.errno in SHORTAGES:
        return StoreError(
            message(
                f"{error.strerror} at {action} of {path}",
                "room for one more open file; nothing of the collection is damaged",
                "raise the limit (ulimit -n) or close what is not in use, and repeat the call",
            )
        )
    return StoreError(message(f"{error.strerror or error} at {action} of {path}", "a working file", "check the disk"))


class FileLayer:
    """Positional writes, syncs, renames and removals on a real disk.

    Nothing here is buffered: a call that returned has reached the operating system, and ``sync`` makes it durable.
    """

    def create(self, path: Path) -> None:
        """Create an empty file; it must not exist.

        Parameters
        ----------
        path : Path
            The file; its folder must exist.
        """
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o644))

    def make_folder(self, path: Path) -> None:
        """Create a folder and its parents; existing ones are fine.

        Parameters
        ----------
        path : Path
            The folder.
        """
        path.mkdir(parents=True, exist_ok=True)

    def write_at(self, path: Path, offset: int, data: memoryview | bytes) -> None:
        """Write bytes at an offset of an existing file.

        Parameters
        ----------
        path : Path
            The file.
        offset : int
            Byte position of the first byte.
        data : bytes-like
            What to write.
        """
        handle = os.open(path, os.O_WRONLY | getattr(os, "O_BINARY", 0))
        try:
            view = memoryview(data).cast("B")
            os.lseek(handle, offset, os.SEEK_SET)
            while view:
                view = view[os.write(handle, view) :]
        finally:
            os.close(handle)

    def truncate(self, path: Path, size: int) -> None:
        """Cut or extend a file to a size.

        Parameters
        ----------
        path : Path
            The file.
        size : int
            New length in bytes.
        """
        os.truncate(path, size)

    def sync(self, paths: Iterable[Path]) -> None:
        """Make the content of files durable.

        Parameters
        ----------
        paths : iterable of Path
            The files.
        """
        for path in paths:
            handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
            try:
                getattr(os, "fdatasync", os.fsync)(handle)
            finally:
                os.close(handle)

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder durable; a no-op where folders cannot be synced.

        Parameters
        ----------
        path : Path
            The folder.
        """
        sync_folder(path)

    def link(self, source: Path, target: Path, *, size: int | None = None) -> bool:
        """Give a file a second name, or copy it durably where that cannot be done.

        Parameters
        ----------
        source, target : Path
            The file, and a name that is not taken; its folder must exist.
        size : int, optional
            Bytes wanted; a file that is longer is copied up to there, since a second name would show the rest.

        Returns
        -------
        bool
            Whether it is the same file; False when bytes were copied.
        """
        if size is None or source.stat().st_size == size:
            try:
                os.link(source, target)
            except FileNotFoundError:
                raise
            except OSError:
                # Another file system, or one without second names.
                pass
            else:
                return True
        with open(source, "rb") as reader, open(target, "xb") as writer:
            left = source.stat().st_size if size is None else size
            while left and (part := reader.read(min(left, _PART))):
                left -= writer.write(part)
        if left:
            raise OSError(errno.EIO, "the file ends early", str(source))
        shutil.copymode(source, target)
        self.sync([target])
        return False

    def replace(self, source: Path, target: Path) -> None:
        """Rename a file or folder over another name.

        Parameters
        ----------
        source, target : Path
            Old and new name on the same file system.
        """
        os.replace(source, target)

    def remove(self, path: Path) -> bool:
        """Delete a file if it exists and is not held open by a reader of this platform.

        Parameters
        ----------
        path : Path
            The file.

        Returns
        -------
        bool
            Whether the name is gone.
        """
        try:
            path.unlink(missing_ok=True)
        except PermissionError:
            # Windows refuses while a reader maps the file; the next maintenance tries again.
            return False
        return True


def remove_folder(folder: Path) -> None:
    """Delete a folder that can be derived again.

    Parameters
    ----------
    folder : Path
        The folder. It is renamed first, so that a crash half-way leaves nothing that looks like a damaged one.
    """
    gone = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(gone, ignore_errors=True)
    try:
        folder.rename(gone)
    except OSError:
        gone = folder
    shutil.rmtree(gone, ignore_errors=True)


def size_and_crc(path: Path) -> tuple[int, int]:
    """Return a file's size in bytes and its CRC-32.

    Parameters
    ----------
    path : Path
        The file; read once, in parts.

    Returns
    -------
    tuple of (int, int)
        Size and checksum.
    """
    size = crc = 0
    with open(path, "rb") as handle:
        while part := handle.read(_PART):
            size, crc = size + len(part), zlib.crc32(part, crc)
    return size, crc
