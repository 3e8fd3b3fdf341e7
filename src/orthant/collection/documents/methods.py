"""What a collection offers for documents: the method checks and delegates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from orthant.collection.collection import Collection
    from orthant.collection.documents.ingestion import DocumentsReport
    from orthant.collection.documents.passages import Passage
    from orthant.collection.reading import CollectionReader
    from orthant.datasets.documents.chunking import Chunking

__all__ = ["DocumentMethods", "DocumentReading"]


class DocumentMethods:
    """The part of a collection that indexes files; see :class:`Collection`."""

    def add_documents(
        self,
        paths: str | Path | Sequence[str | Path],
        *,
        chunk: Chunking | str | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        prune: bool = False,
        truncation: Literal["chunk", "cut", "error"] = "chunk",
        root: str | Path | None = None,
        prefix: str = "",
        max_bytes: int | None = None,
        batch_size: int = 2048,
        progress: bool = False,
    ) -> DocumentsReport:
        """Index documents: read files of many kinds, split them into chunks, and write what changed since last time.

        Reads ``.txt .md .html .pdf`` (extra ``pdf``), programs and mail (``.eml``, ``.mbox``). Every chunk becomes a
        record ``parent#number`` whose metadata names ``parent``, ``chunk``, ``chunks``, ``title``, ``heading``,
        ``source``, ``folder``, ``kind``, ``modified``, ``start``, ``end`` and ``hash``.

        Parameters
        ----------
        paths : str, Path or sequence of such
            Files and folders; folders are searched whole.
        chunk : Chunking or str, optional
            How documents are divided, or ``"BY:SIZE:OVERLAP"``; default by headings, at most 200 tokens.
        on_error : {"raise", "skip"}, default "raise"
            A document that cannot be read ends the call before anything is written, or is named in the report.
        prune : bool, default False
            Delete documents of the given folders whose files are gone. Otherwise they are only reported.
        truncation : {"chunk", "cut", "error"}, default "chunk"
            What happens to a chunk longer than the window of an encoder: it is divided further, its end gets no part
            in the vector (the report counts it), or its document is refused. Without effect where no window ends.
        root : str or Path, optional
            Folder that ids and sources are relative to; default each given folder, and for a file the one it is in.
        prefix : str, default ""
            In front of every id, to tell folders of one name apart.
        max_bytes : int, optional
            Longest document, default 64 MiB; more costs memory.
        batch_size : int, default 2048
            Chunks per commit, at least one document; small ones pay one disk sync each, large ones memory.
        progress : bool, default False
            Show a bar.

        Returns
        -------
        DocumentsReport
            What was added, updated, unchanged, gone, skipped and ignored.

        Raises
        ------
        InputError
            A document that cannot be read (it is named), a setting out of range, or a document of another folder that
            would be replaced.
        MissingExtraError
            A PDF without pypdf.
        NotFoundError
            A path where nothing is.

        Notes
        -----
        A document is written again when its bytes, the division or an encoder changed; its old chunks go in the commit
        that brings the new ones. An interrupted call is continued by repeating it. Cost: every file is read once, with
        ``on_error="raise"`` large folders twice; one pass over the metadata held.
        """
        from orthant.collection.documents.ingestion import Settings, add_documents

        settings = Settings.checked(
            chunk=chunk,
            on_error=on_error,
            prune=prune,
            truncation=truncation,
            prefix=prefix,
            max_bytes=max_bytes,
            batch_size=batch_size,
        )
        return add_documents(cast("Collection", self), paths, settings, root=root, progress=progress)


class DocumentReading:
    """The part of a collection that shows passages of documents; see :class:`CollectionReader`."""

    def passage(self, chunk_id: str, *, before: int = 0, after: int = 0) -> Passage:
        """Return a chunk of a document together with its neighbours, as one text.

        Parameters
        ----------
        chunk_id : str
            Id of a record that ``add_documents`` wrote, such as a hit's.
        before, after : int, default 0
            Chunks in front of it and behind it; fewer where the document begins or ends.

        Returns
        -------
        Passage
            Text without repetition of what chunks share, place in the document, title, heading, chunk ids.

        Raises
        ------
        NotFoundError
            No such record.
        InputError
            A record that is no chunk of a document, or a negative number.
        """
        from orthant.collection.documents.passages import passage

        return passage(cast("CollectionReader", self), chunk_id, before=before, after=after)
