"""JSON records as vectors, without training."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, Self, get_args

import numpy as np
import numpy.typing as npt

from orthant.encoders.callable import as_item_list
from orthant.encoders.fingerprint import Fingerprint
from orthant.encoders.progress import progress_bar
from orthant.encoders.records import files
from orthant.encoders.records.account import RecordAccount, account
from orthant.encoders.records.binding import Binder, Structure
from orthant.encoders.records.folding import fold, turn_back
from orthant.encoders.records.learning import absent_fields, learn
from orthant.encoders.records.leaves import LeafVectors, NumberCode
from orthant.encoders.records.rules import Arrays, FieldRule, Fields, describe, parse_path, parse_schema
from orthant.encoders.records.walking import Leaf, Reading, leaves
from orthant.errors import InputError, message, warn
from orthant.types import Encoder, EncodeReport, FloatArray, Role
from orthant.validate import as_vectors, check_choice, check_count, check_fraction

__all__ = ["RecordEncoder"]

_SHOWN = 12


class RecordEncoder:
    """Turn JSON records of any nesting into vectors of one length, without training.

    Use it where structure matters: exact fields, near numbers and nested parts decide what is similar, a part of a
    record is a query, and a similarity can be taken apart by fields. For records that are mostly one long text a text
    encoder alone is better; for exact conditions use ``where``.

    Parameters
    ----------
    dim : int, default 2048
        Values per vector. Chance resemblance between unlike records is about 1/sqrt(dim): below 512 it drowns single
        fields of wide records, above 4,096 it only costs.
    text_encoder : str, Encoder or None, default None
        For text: a name, a folder or an encoder, as ``load_encoder`` takes; its dimension at most ``dim``. None
        compares texts by the words they share.
    arrays : {"bag", "set", "sequence"}, default "bag"
        Lists: ``"bag"`` adds the items; ``"set"`` counts equal ones once; ``"sequence"`` turns each by its position, so
        that order counts. A list of one item is as that item.
    bag_weight : float, default 0.0
        Share of the unordered sum in sequences, 0 to 1: above 0, lists that are only shifted stay similar.
    structure : {"hadamard", "householder", "dense"}, default "hadamard"
        How keys turn vectors; see :class:`Binder`. ``"hadamard"`` wants a power of two, and is the same anywhere.
    schema : mapping of path to (str, FieldRule or mapping), optional
        Rules by path, such as ``{"year": "number", "isbn": "symbol", "plot": FieldRule(weight=2.0), "debug": "skip"}``.
    text_field : str, default "text"
        Name under which the text of a collection's record, and a query that is a bare text, takes part.
    normalize : bool, default True
        Give unit vectors. False keeps lengths near 1 and lets vectors be added on.
    max_depth : int, default 64
        Deepest nesting, at most 200.
    seed : int, default 0
        Another seed gives unrelated vectors.

    Attributes
    ----------
    dim, max_tokens : int, int or None
        Of the vectors; the window of the text encoder, where it has one.
    reads_records : bool
        True: a collection hands over whole records.
    fingerprint : str
        Settings, schema, what was fitted, and the text encoder's own. It changes with ``fit``.
    number_fields_ : dict of tuple of str to ndarray of shape (m,)
        Borders of the cells of fitted numeric fields.
    string_kinds_ : dict of tuple of str to str
        What ``fit`` decided about strings without a rule.

    Raises
    ------
    InputError
        A setting out of range or without effect; a text encoder with a larger dimension.

    Notes
    -----
    ``V({k: v}) = sum_k w_k M_k V(v) / sqrt(sum_k w_k^2)``; a sequence is ``sum_i M^i V(x_i) / sqrt(n)``, a bag the sum
    without turns. M are random orthogonal matrices by the name of the key. ``1`` and ``1.0`` are one number, ``"1"`` is
    a text, ``null`` differs from a missing key. New keys need no fitting. Cost per record: one turn per key, at
    O(dim log dim), and what the text encoder takes.

    References
    ----------
    S. I. Gallant, Orthogonal Matrices for MBAT Vector Symbolic Architectures, and a "Soft" VSA Representation for JSON,
    arXiv 2202.04771.

    Examples
    --------
    >>> films = [{"title": "Heat", "year": 1995, "genre": "crime"}, {"title": "Ronin", "year": 1998, "genre": "crime"},
    ...          {"title": "Amelie", "year": 2001, "genre": "romance"}]
    >>> encoder = RecordEncoder(1024).fit(films)
    >>> scores = encoder.encode(films) @ encoder.encode_query({"year": 1998, "genre": "crime"})
    >>> films[scores.argmax()]["title"]
    'Ronin'
    """

    reads_records = True

    def __init__(
        self,
        dim: int = 2048,
        *,
        text_encoder: str | Encoder | Any | None = None,
        arrays: Arrays = "bag",
        bag_weight: float = 0.0,
        structure: Structure = "hadamard",
        schema: Mapping[Any, str | FieldRule | Mapping[str, Any]] | None = None,
        text_field: str = "text",
        normalize: bool = True,
        max_depth: int = 64,
        seed: int = 0,
    ) -> None:
        self._binder = Binder(dim, structure=structure, seed=seed)
        self.dim = self._binder.dim
        self.schema = parse_schema(schema)
        check_choice(arrays, get_args(Arrays), name="arrays")
        self._reading = Reading(
            self.schema,
            {},
            arrays,
            check_fraction(bag_weight, name="bag_weight"),
            check_count(max_depth, name="max_depth", maximum=200),
        )
        if bag_weight and "sequence" not in (arrays, *(rule.arrays for rule in self.schema.values())):
            given = f"bag_weight={bag_weight} without a sequence"
            raise InputError(message(given, "arrays='sequence', or a field of that kind", "leave bag_weight out"))
        if not isinstance(text_field, str) or not text_field:
            raise InputError(message(f"text_field={text_field!r}", "a key", "leave it out"))
        self.text_field, self.normalize = text_field, bool(normalize)
        self.text_encoder, self._named = files.load_text_encoder(text_encoder, self.dim)
        self.max_tokens: int | None = None if self.text_encoder is None else self.text_encoder.max_tokens
        self._numbers = NumberCode(self.dim, seed)
        self._set_learned({}, {})

    def _set_learned(self, knots: dict[Fields, npt.NDArray[np.float64]], kinds: dict[Fields, str]) -> None:
        self.number_fields_, self.string_kinds_ = knots, kinds
        reading = self._reading
        self._reading = Reading(reading.schema, kinds, reading.arrays, reading.bag_weight, reading.max_depth)
        self._vectors = LeafVectors(self._binder, self._numbers, knots, self.text_encoder)
        self.fingerprint = self._identity()

    def _identity(self) -> str:
        state = hashlib.sha256(json.dumps(self._settings(), sort_keys=True).encode())
        for fields in sorted(self.number_fields_):
            state.update(json.dumps(fields).encode() + self.number_fields_[fields].tobytes())
        state.update(json.dumps(sorted(map(list, self.string_kinds_.items())), default=list).encode())
        inner = self.text_encoder
        return str(
            Fingerprint(
                name="records",
                revision="1",
                weight_hash=state.hexdigest()[:16],
                tokenizer_hash="" if inner is None else hashlib.sha256(inner.fingerprint.encode()).hexdigest()[:16],
                pooling=self._binder.structure,
                normalization="l2" if self.normalize else "none",
                dim=self.dim,
                max_tokens=self.max_tokens,
            )
        )

    def _settings(self) -> dict[str, Any]:
        return {
            "dim": self.dim,
            "structure": self._binder.structure,
            "seed": self._binder.seed,
            "arrays": self._reading.arrays,
            "bag_weight": self._reading.bag_weight,
            "max_depth": self._reading.max_depth,
            "text_field": self.text_field,
            "normalize": self.normalize,
            "schema": describe(self.schema),
        }

    def fit(self, records: Sequence[Mapping[str, Any]]) -> Self:
        """Learn how numbers are spread and which strings are enumerations; a few thousand examples are enough.

        Parameters
        ----------
        records : sequence of mapping
            Examples, at least one. Too few make the grid of numbers coarse.

        Returns
        -------
        RecordEncoder
            Self, with another fingerprint: encode stored records again.

        Raises
        ------
        InputError
            No record, or a malformed one.

        Notes
        -----
        Without it numbers lie on a logarithmic grid, where years are nearly alike, and all strings are texts. A rule of
        the schema for a field that no record has, as by a slip of the pen, is warned about.
        """
        given = as_item_list(records)
        if not given or not all(isinstance(record, Mapping) for record in given):
            raise InputError(message("no records to fit, or items that are none", "dicts", "pass a list of dicts"))
        reading = self._reading
        plain = Reading(reading.schema, {}, reading.arrays, reading.bag_weight, reading.max_depth)
        self._set_learned(*learn(given, plain))
        # The text of a collection's record is not among its fields.
        idle = absent_fields(given, (fields for fields in self.schema if fields != (self.text_field,)))
        if idle:
            rules = ", ".join(repr(".".join(fields)) for fields in idle)
            known = ", ".join(sorted({key for record in given for key in record})[:_SHOWN])
            warn(message(f"a rule for {rules}, which no record has", f"fields such as {known}", "check the spelling"))
        return self

    def encode(
        self, items: Sequence[Any], *, role: Role = "document", batch_size: int = 256, progress: bool = False
    ) -> FloatArray:
        """Return one vector per record.

        Parameters
        ----------
        items : sequence of mapping or str
            Records; a str stands for ``{text_field: str}``.
        role : {"query", "document"}, default "document"
            Told to the text encoder.
        batch_size : int, default 256
            Records at a time.
        progress : bool, default False
            Show a bar on stderr.

        Returns
        -------
        ndarray of shape (n, dim), float32, C-contiguous
            Unit vectors when ``normalize``.

        Raises
        ------
        InputError
            No record: another type, keys that are no str, values that are no JSON, too deep; the position is named.
        NonFiniteError
            NaN or infinity in it.
        """
        return self.encode_with_report(items, role=role, batch_size=batch_size, progress=progress)[0]

    def encode_with_report(
        self, items: Sequence[Any], *, role: Role = "document", batch_size: int = 256, progress: bool = False
    ) -> tuple[FloatArray, EncodeReport]:
        """Return the vectors and what the text encoder cut.

        Parameters
        ----------
        items, role, batch_size, progress
            As for ``encode``.

        Returns
        -------
        vectors : ndarray of shape (n, dim), float32, C-contiguous
            As from ``encode``.
        report : EncodeReport
            Items, texts that were cut and their tokens, records without a field, seconds.

        Raises
        ------
        InputError, NonFiniteError
            As from ``encode``.
        """
        begun = time.perf_counter()
        check_choice(role, ("query", "document"), name="role")
        check_count(batch_size, name="batch_size")
        records = [self._as_record(item, i) for i, item in enumerate(as_item_list(items))]
        out = np.empty((len(records), self.dim), np.float32)
        cut = tokens = 0
        with progress_bar(len(records), shown=progress) as advance:
            for start in range(0, len(records), batch_size):
                part = records[start : start + batch_size]
                sums, report = self._sums(part, role, start)
                out[start : start + len(part)] = _unit(sums) if self.normalize else sums
                cut, tokens = cut + min(report.truncated_items, len(part)), tokens + report.truncated_tokens
                advance(len(part))
        empty = sum(not record for record in records)
        return out, EncodeReport(len(records), cut, tokens, empty, time.perf_counter() - begun)

    def _as_record(self, item: Any, position: int) -> Mapping[str, Any]:
        if isinstance(item, str):
            return {self.text_field: item}
        if isinstance(item, Mapping):
            return item
        given = f"items[{position}] of type {type(item).__name__}"
        raise InputError(message(given, "a dict, or a str for its text", "pass one dict per record"))

    def _read(self, records: Sequence[Any], start: int = 0) -> tuple[list[Leaf], npt.NDArray[np.int64]]:
        read = [leaves(record, self._reading, where=f"items[{start + i}]") for i, record in enumerate(records)]
        owners = np.repeat(np.arange(len(read), dtype=np.int64), [len(one) for one in read])
        return [leaf for one in read for leaf in one], owners

    def _sums(self, records: Sequence[Any], role: Role, start: int = 0) -> tuple[FloatArray, EncodeReport]:
        batch, owners = self._read(records, start)
        vectors, index, report = self._vectors.table(batch, role)
        sums = fold(batch, owners.tolist(), vectors, index, count=len(records), binder=self._binder)
        return sums, report

    def encode_query(self, partial: Mapping[str, Any] | str) -> FloatArray:
        """Return the vector of a part of a record, to be compared with those of whole ones.

        Parameters
        ----------
        partial : mapping or str
            The fields that matter, such as ``{"year": 1999, "author": {"country": "France"}}``.

        Returns
        -------
        ndarray of shape (dim,), float32
            Closest to records that agree in these fields, whatever else they hold.

        Raises
        ------
        InputError
            No field, or a malformed record.
        """
        if not partial:
            raise InputError(message("a query without a field", "one field at least", "name what you look for"))
        return np.ascontiguousarray(self.encode([partial], role="query")[0])

    def unbind(self, vectors: npt.ArrayLike, path: str | Sequence[str | int]) -> FloatArray:
        """Return what stands at a path, noisy from everything that stands elsewhere.

        Parameters
        ----------
        vectors : array-like of shape (n, dim)
            Vectors of records, or sums of them.
        path : str or sequence of (str or int)
            ``"author.name"``, ``"stops[2]"`` in a sequence, or the steps as a tuple.

        Returns
        -------
        ndarray of shape (n, dim), float32
            To be compared with vectors of values: see ``value_at``.

        Raises
        ------
        InputError
            No path, or vectors that do not fit.
        """
        return turn_back(as_vectors(vectors, dim=self.dim, name="vectors"), parse_path(path), self._binder)

    def value_at(
        self, vectors: npt.ArrayLike, path: str | Sequence[str | int], candidates: Sequence[Any]
    ) -> tuple[list[Any], FloatArray]:
        """Return which of some values stands at a path, read from the vectors alone.

        Parameters
        ----------
        vectors : array-like of shape (n, dim)
            Vectors of records.
        path : str or sequence of (str or int)
            As for ``unbind``.
        candidates : sequence of JSON values, length m
            What may stand there.

        Returns
        -------
        values : list
            The nearest candidate of each vector.
        cosines : ndarray of shape (n, m), float32
            Of what stands there with each candidate. A record of n parts gives about 1/sqrt(n) for the true one, and
            noise of 1/sqrt(dim) for the others.

        Raises
        ------
        InputError
            No candidate, or malformed input.
        """
        steps, values = parse_path(path), as_item_list(candidates)
        if not values:
            raise InputError(message("no candidates", "one value at least", "list the values that may stand there"))
        fields = tuple(step for step in steps if isinstance(step, str))
        nested: list[Any] = []
        for value in values:
            for field in reversed(fields):
                value = {field: value}
            nested.append(value)
        # Encoded under its keys, so that the rules of the field hold, and turned back like the vectors.
        made = turn_back(_unit(self._sums(nested, "document")[0]), fields, self._binder)
        cosines = _unit(self.unbind(vectors, steps)) @ made.T
        return [values[i] for i in cosines.argmax(axis=1).tolist()], np.ascontiguousarray(cosines)

    def explain(self, a: Mapping[str, Any] | str, b: Mapping[str, Any] | str) -> RecordAccount:
        """Say which fields make two records similar.

        Parameters
        ----------
        a, b : mapping or str
            Two records, or a part of one as a query.

        Returns
        -------
        RecordAccount
            Shares per path, the crosstalk between paths, and what only one of them has; ``print`` shows a table.

        Raises
        ------
        InputError
            A malformed record.
        """
        records = [self._as_record(item, i) for i, item in enumerate((a, b))]
        batch, owners = self._read(records)
        vectors, index, _ = self._vectors.table(batch, "document")
        sums = fold(batch, owners.tolist(), vectors, index, count=2, binder=self._binder)
        return account(batch, owners, vectors, index, sums)

    def save(self, path: str | FilePath) -> None:
        """Write the encoder as an artefact folder; the text encoder is named, not copied.

        Parameters
        ----------
        path : str or Path
            Folder, created if missing.
        """
        inner = self.text_encoder
        files.write(
            path,
            settings=self._settings(),
            knots=self.number_fields_,
            kinds=self.string_kinds_,
            text_encoder=None if inner is None else {"name": self._named, "fingerprint": inner.fingerprint},
        )

    @classmethod
    def load(cls, path: str | FilePath, *, text_encoder: str | Encoder | Any | None = None) -> RecordEncoder:
        """Read an encoder back.

        Parameters
        ----------
        path : str or Path
            A folder that ``save`` wrote.
        text_encoder : str or Encoder, optional
            Wanted where the saved one had a text encoder that was not given by name.

        Returns
        -------
        RecordEncoder
            With the same fingerprint.

        Raises
        ------
        NotFoundError, StoreCorruptedError, StoreVersionError
            No artefact, a damaged one, or one of a newer release.
        EncoderMismatchError
            Another text encoder.
        InputError
            The text encoder must be given.
        """
        settings, knots, kinds, inner = files.read(path, text_encoder)
        out = cls(**settings, text_encoder=inner)
        out._set_learned(knots, kinds)
        return out

    def __repr__(self) -> str:
        """Return the identity in one line."""
        return f"RecordEncoder({self.fingerprint!r})"


def _unit(rows: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), dtype=np.float32)
