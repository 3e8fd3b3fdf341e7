"""What happened in a training, as a plain table: one row per step."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import write_bytes_atomically
from orthant.errors import InputError, MissingExtraError, message

__all__ = ["COLUMNS", "History"]

COLUMNS = ("stage", "step", "loss", "learning_rate", "seconds")


class History:
    """The rows of a training: stage, step, loss, learning rate, seconds, parts of the loss, metrics where validated.

    Attributes
    ----------
    rows : list of dict
        One per step, in order; keys beyond the five are there only where they have a value.
    context : dict
        Seeds, versions, threads, processes, and the settings of the stages.
    stopped : str
        Why the run ended early; empty when it ran to its end.

    Examples
    --------
    >>> history = History()
    >>> history.add({"stage": "fit", "step": 1, "loss": 0.5, "learning_rate": 1e-3, "seconds": 0.1})
    >>> history.column("loss")
    [0.5]
    """

    def __init__(self, *, context: Mapping[str, Any] | None = None) -> None:
        self.rows: list[dict[str, Any]] = []
        self.context: dict[str, Any] = dict(context or {})
        self.stopped = ""

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        ended = f", stopped={self.stopped!r}" if self.stopped else ""
        return f"History({len(self.rows)} steps{ended})"

    def add(self, row: Mapping[str, Any]) -> None:
        """Append the row of a step.

        Parameters
        ----------
        row : mapping
            The five columns, and any others.
        """
        self.rows.append(dict(row))

    def names(self) -> list[str]:
        """Return the columns that have a value in some row.

        Returns
        -------
        list of str
            The five first, then the others in order of appearance.
        """
        found = dict.fromkeys(COLUMNS if self.rows else ())
        for row in self.rows:
            found.update(dict.fromkeys(row))
        return list(found)

    def column(self, name: str, *, stage: str | None = None) -> list[Any]:
        """Return the values of a column, without the rows that lack it.

        Parameters
        ----------
        name : str
            Such as ``"loss"``.
        stage : str, optional
            Of this stage only.

        Returns
        -------
        list
            In order of the steps.

        Raises
        ------
        InputError
            No row has such a column.
        """
        if name not in self.names():
            raise InputError(message(f"column {name!r}", f"one of {self.names()}", "check the spelling"))
        return [r[name] for r in self.rows if name in r and (stage is None or r["stage"] == stage)]

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a copy of the rows.

        Returns
        -------
        list of dict
            One per step.
        """
        return [dict(row) for row in self.rows]

    def to_jsonl(self, path: str | Path) -> None:
        """Write one JSON object per row.

        Parameters
        ----------
        path : str or Path
            The file; replaced as a whole.
        """
        lines = [json.dumps(row) + "\n" for row in self.rows]
        write_bytes_atomically(path, "".join(lines).encode())

    def to_csv(self, path: str | Path) -> None:
        """Write a table with a header; a missing value is an empty field.

        Parameters
        ----------
        path : str or Path
            The file; replaced as a whole.
        """
        out = io.StringIO()
        writer = csv.DictWriter(out, fieldnames=self.names(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_bytes_atomically(path, out.getvalue().encode())

    def plot(self, path: str | Path, *, columns: Sequence[str] | None = None) -> None:
        """Draw columns over the steps of all stages, one panel each.

        Parameters
        ----------
        path : str or Path
            The picture; its ending says the format, such as ``.png`` or ``.svg``.
        columns : sequence of str, optional
            What to draw; left out, the loss, the learning rate and every metric.

        Raises
        ------
        InputError
            No rows, or a column that is not there.
        MissingExtraError
            matplotlib is not installed.
        """
        if not self.rows:
            raise InputError(message("a history without rows", "at least one step", "train first"))
        chosen = (
            list(columns) if columns is not None else [n for n in self.names() if n not in COLUMNS[:2] + COLUMNS[4:]]
        )
        for name in chosen:
            self.column(name)
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise MissingExtraError(
                message("plot without matplotlib", "matplotlib", "run: pip install 'orthant[bench]'")
            ) from error
        figure = Figure(figsize=(8, 2.2 * len(chosen)), layout="constrained")
        panels = figure.subplots(len(chosen), squeeze=False)[:, 0]
        borders = [i for i in range(1, len(self.rows)) if self.rows[i]["stage"] != self.rows[i - 1]["stage"]]
        for panel, name in zip(panels, chosen, strict=True):
            points = [(i + 1, row[name]) for i, row in enumerate(self.rows) if name in row]
            # A metric is there at few steps: marks show where, a line alone would hide a single one.
            panel.plot(*zip(*points, strict=True), marker="." if len(points) < len(self.rows) else None, linewidth=1)
            panel.set_ylabel(name)
            for border in borders:
                panel.axvline(border + 0.5, color="0.7", linewidth=0.8)
        panels[-1].set_xlabel("step")
        figure.savefig(path)

    def to_arrays(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Return the table as arrays, for a checkpoint.

        Returns
        -------
        arrays : dict of str to ndarray of shape (rows,), float64
            One per column; NaN where a row has no value. Stages are numbered.
        names : dict
            ``stages`` in order of their numbers, ``columns`` in order, and ``stopped``.
        """
        stages = list(dict.fromkeys(row["stage"] for row in self.rows))
        numbers = {name: i for i, name in enumerate(stages)}
        columns = self.names()
        arrays = {}
        for i, name in enumerate(columns):
            values = [numbers[row[name]] if name == "stage" else row.get(name, math.nan) for row in self.rows]
            arrays[str(i)] = np.asarray(values, dtype=np.float64)
        return arrays, {"stages": stages, "columns": columns, "stopped": self.stopped}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], names: Mapping[str, Any]) -> History:
        """Make a history from what ``to_arrays`` returned.

        Parameters
        ----------
        arrays : mapping of str to ndarray of shape (rows,)
            The columns.
        names : mapping
            The rest.

        Returns
        -------
        History
            With equal rows; its context is empty.
        """
        history = cls()
        columns = list(names["columns"])
        values = [arrays[str(i)] for i in range(len(columns))]
        for at in range(len(values[0]) if values else 0):
            row: dict[str, Any] = {}
            for name, array in zip(columns, values, strict=True):
                value = float(array[at])
                if not math.isnan(value):
                    row[name] = _typed(name, value, names["stages"])
            history.rows.append(row)
        return history


def _typed(name: str, value: float, stages: Sequence[str]) -> Any:
    if name == "stage":
        return stages[int(value)]
    return int(value) if name == "step" else value
