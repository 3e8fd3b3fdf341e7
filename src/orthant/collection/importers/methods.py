"""What a collection offers for moving in from other projects: the method delegates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from orthant.collection.reading import DEFAULT_SPACE
from orthant.types import Metric

if TYPE_CHECKING:
    from orthant.collection.collection import Collection
    from orthant.collection.importers.report import ForeignReport
    from orthant.datasets.foreign.opening import ForeignKind

__all__ = ["ForeignMethods"]


class ForeignMethods:
    """The part of a collection that reads other projects' stores; see :class:`Collection`."""

    def import_foreign(
        self,
        source: str | Path,
        *,
        kind: ForeignKind | None = None,
        table: str | None = None,
        id_field: str | None = None,
        text_field: str | None = None,
        metadata_fields: Sequence[str] | None = None,
        records: Sequence[Mapping[str, Any]] | str | Path | None = None,
        space: str | Mapping[str, str] = DEFAULT_SPACE,
        vectors: bool = True,
        metric: Metric | None = None,
        on_unknown: Literal["raise", "report"] = "raise",
        existing: Literal["replace", "skip"] = "replace",
        api_key: str | None = None,
        batch_size: int = 4096,
        advance: Callable[[int], None] | None = None,
    ) -> ForeignReport:
        """Import ids, vectors, texts and metadata from Chroma, LanceDB, Qdrant, pgvector, FAISS or hnswlib.

        The source is looked through from end to end first. What a collection cannot hold is counted by reason, and
        by default refuses the call; then every batch is durable as soon as it is written.

        Parameters
        ----------
        source : str or Path
            A folder of Chroma or LanceDB, the ``http://`` address of Qdrant, a ``postgresql://`` address, or an index
            file of FAISS or hnswlib.
        kind : {"chroma", "lancedb", "qdrant", "pgvector", "faiss", "hnswlib"}, optional
            Whose it is; told from the source by default.
        table : str, optional
            Collection or table; the only one by default. Not for FAISS and hnswlib.
        id_field : str, optional
            Field with the ids, where the source leaves a choice. Not for Chroma.
        text_field : str, optional
            Field with the texts; default Chroma's document, else ``"text"``, ``"document"``, ``"page_content"`` or
            ``"content"``, whichever exists.
        metadata_fields : sequence of str, optional
            Fields to keep; default all others.
        records : sequence of mapping, or path of a JSONL file, optional
            For FAISS and hnswlib: position i has the id, text and fields of the vector with label i. Without it the
            label is the id.
        space : str or mapping of str to str, default "default"
            Where the vectors go, or vector field to space for a source with several. Missing spaces are made.
        vectors : bool, default True
            Keep the vectors; with False the texts are encoded by this collection's encoder.
        metric : {"cosine", "dot", "l2"}, optional
            Of a space that is made; default the source's, and ``"cosine"`` where it does not say.
        on_unknown : {"raise", "report"}, default "raise"
            What to do about what cannot be carried.
        existing : {"replace", "skip"}, default "replace"
            What to do about ids that are here. ``"skip"`` resumes an import that was interrupted.
        api_key : str, optional
            For Qdrant.
        batch_size : int, default 4096
            Records per commit; small ones pay one disk sync each, large ones memory.
        advance : callable of int, optional
            Told how many further records are done.

        Returns
        -------
        ForeignReport
            Counts of what was carried, changed and lost.

        Raises
        ------
        InputError
            Something cannot be carried, a damaged file, no such table or field; nothing was written.
        EncoderMismatchError
            The space has an encoder at hand, and its vectors of the same texts are others.
        MissingExtraError
            LanceDB, pgvector or FAISS without the package that reads them. The others need none.

        Notes
        -----
        Local sources are read twice. Qdrant and PostgreSQL are read once, into a temporary folder as large as the
        vectors, so that a connection that breaks leaves the collection as it was.
        """
        from orthant.collection.importers.moving import import_foreign

        reading = {
            "table": table,
            "id_field": id_field,
            "text_field": text_field,
            "metadata_fields": metadata_fields,
            "records": records,
            "api_key": api_key,
        }
        return import_foreign(
            cast("Collection", self),
            source,
            kind=kind,
            reading=reading,
            space=space,
            vectors=vectors,
            metric=metric,
            on_unknown=on_unknown,
            existing=existing,
            batch_size=batch_size,
            advance=advance,
        )
