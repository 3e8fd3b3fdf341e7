"""What the verbs of ``bench`` measure on: a named set, or the user's own files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from orthant.evaluation.ann.inputs import AnnInputs
    from orthant.types import Metric


@contextmanager
def open_inputs(
    data: str | None, vectors: str | None, queries: str | None, metric: str, limit: int | None
) -> Iterator[AnnInputs]:
    """Vectors and queries by name or by file; what must be written lies in a folder that goes with the block."""
    from tempfile import TemporaryDirectory

    from orthant.errors import InputError, message
    from orthant.evaluation.ann.inputs import named_inputs, read_inputs
    from orthant.validate import check_metric

    with TemporaryDirectory() as folder:
        if data is not None and vectors is None and queries is None:
            yield named_inputs(data, folder=Path(folder), limit=limit)
        elif data is None and vectors is not None and queries is not None:
            chosen = cast("Metric", check_metric(metric))
            yield read_inputs(vectors, queries, metric=chosen, folder=Path(folder), limit=limit)
        else:
            raise InputError(
                message(
                    "neither a data set nor vectors with queries, or both",
                    "--data NAME, or --vectors and --queries",
                    "choose one of the two",
                )
            )
