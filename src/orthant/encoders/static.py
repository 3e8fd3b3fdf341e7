"""A token-table encoder: look up each token's row, add, normalise. No network, no torch, many thousand texts/s."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.encoders.fingerprint import Fingerprint
from orthant.encoders.static_files import read_model2vec, read_static, write_static
from orthant.encoders.wordpiece import WordPieceTokenizer
from orthant.errors import DimensionError, DtypeError, InputError, message
from orthant.kernels.pooling import pool_bags, pool_range
from orthant.types import EncodeReport, FloatArray, Role
from orthant.validate import as_texts, as_vectors, check_choice, check_count

__all__ = ["StaticEncoder"]

_SHIPPED = Path(__file__).with_name("static_minilm")
# Below these sizes a call answers before a compiler, or the decoding of a whole table, would be ready.
_COMPILE_ABOVE = 2_048
_DECODE_ABOVE = 256


class StaticEncoder:
    """Encode texts as normalised sums of token vectors, on any machine, without torch or a download.

    Use it as the default encoder: for a first index, for large corpora on few cores, and where a query must be encoded
    in microseconds. It knows no word order, so prefer a transformer where fine distinctions of meaning decide.

    Parameters
    ----------
    table : ndarray of shape (V, dim), float32 or int8; or (V, dim / 2), uint8, with ``levels``
        One row per token of the tokenizer. uint8 rows hold two 4-bit codes per byte, low half first.
    tokenizer : str
        Content of a ``tokenizer.json``.
    scales : ndarray of shape (V,), float32, optional
        Factor of each row; ones when left out. It carries the token's weight in a text.
    levels : ndarray of shape (16,), int8, optional
        Value of each 4-bit code.
    power : float, default 1.0, range 0 to 1
        A token that occurs c times counts ``c ** power``. 1 is the plain mean; smaller values keep repeated words of
        long documents and code from drowning the rest; 0 ignores repetition.
    normalize : bool, default True
        Return unit vectors. Without it a text's vector is the weighted mean, divided by its token count.
    max_tokens : int, optional
        Tokens kept of each text. None reads all; too small loses the ends of documents (the report counts what is cut).
    empty : ndarray of shape (dim,), float32, optional
        Direction given to a text without a known token. Left out, it is opposite to the table's weighted mean row.
    name : str, default "static"
        Name that stands in the fingerprint.

    Attributes
    ----------
    dim : int
        Dimension of the vectors.
    fingerprint : str
        Name, hash of table and tokenizer, pooling, normalisation and dtype; equal fingerprints give equal vectors.
    max_tokens : int or None
        As given.

    Raises
    ------
    DimensionError
        Table, scales, levels, empty direction and vocabulary disagree in size.
    DtypeError
        A table of another type.
    InputError
        ``power`` outside 0 to 1, or ``max_tokens`` below 1.

    Notes
    -----
    The vector of a text with distinct tokens t, counts c(t), scales s(t) and rows E(t) is
    ``sum_t c(t)**power * s(t) * E(t)`` divided by its norm. A text without a known token cannot have one; it gets the
    unit direction ``empty``, which is far from all ordinary text, and is counted in the report as an empty item.
    Vectors do not depend on the batch they were encoded in (cosine at least 1 - 1e-6).

    Cost: O(characters + T dim) for T tokens; a 4-bit table takes V dim / 2 bytes, and V dim more after a large batch.

    References
    ----------
    S. Arora, Y. Liang, T. Ma, A Simple but Tough-to-Beat Baseline for Sentence Embeddings, ICLR 2017, section 3.
    W. Wang et al., MiniLM, arXiv 2002.10957 (the teacher of the shipped table).

    Examples
    --------
    >>> from orthant.encoders.static import StaticEncoder
    >>> encoder = StaticEncoder.load()
    >>> a, b, c = encoder.encode(["a cat on the sofa", "a kitten on a couch", "interest rates rose"])
    >>> bool(a @ b > a @ c)
    True
    """

    def __init__(
        self,
        table: npt.NDArray[Any],
        tokenizer: str,
        *,
        scales: FloatArray | None = None,
        levels: npt.NDArray[np.int8] | None = None,
        power: float = 1.0,
        normalize: bool = True,
        max_tokens: int | None = None,
        empty: FloatArray | None = None,
        name: str = "static",
    ) -> None:
        self._table = np.ascontiguousarray(table)
        self._levels = None if levels is None else np.ascontiguousarray(levels, dtype=np.int8)
        self._scales = np.ones(len(table), np.float32) if scales is None else np.ascontiguousarray(scales, np.float32)
        self._tokenizer = WordPieceTokenizer(tokenizer)
        self._check_shapes()
        self.dim: int = self._table.shape[1] * (1 if levels is None else 2)
        if not 0.0 <= power <= 1.0:
            raise InputError(message(f"power={power}", "a number from 0 to 1", "use 1 for a plain mean"))
        self.power, self.normalize, self.name = float(power), bool(normalize), name
        self.max_tokens: int | None = None if max_tokens is None else check_count(max_tokens, name="max_tokens")
        self._decoded: npt.NDArray[Any] | None = self._table if levels is None else None
        self._given_empty = None if empty is None else as_vectors(empty, dim=self.dim, name="empty", single=True)[0]
        self._empty: FloatArray | None = None
        self._fingerprint: str | None = None
        self._origin: dict[str, Any] = {}

    def _check_shapes(self) -> None:
        wanted = {True: ("uint8",), False: ("float32", "int8")}[self._levels is not None]
        if self._table.ndim != 2 or self._table.dtype.name not in wanted:
            raise DtypeError(
                message(
                    f"table of dtype {self._table.dtype} and {self._table.ndim} axes",
                    f"two axes of {' or '.join(wanted)}",
                    "convert the table, or pass levels with packed 4-bit codes",
                )
            )
        sizes = {"table": len(self._table), "scales": len(self._scales), "vocabulary": self._tokenizer.size}
        if len(set(sizes.values())) > 1 or self._scales.ndim != 1:
            raise DimensionError(message(f"sizes {sizes}", "one row per token", "pass matching table and tokenizer"))
        if self._levels is not None and self._levels.shape != (16,):
            raise DimensionError(message(f"levels of shape {self._levels.shape}", "16 levels", "pass one per code"))

    @property
    def fingerprint(self) -> str:
        """Identity of the vectors: name, weights, tokenizer, pooling, normalisation and window."""
        if self._fingerprint is None:
            weights = hashlib.sha256()
            for part in (self._table, self._scales, self._levels, self._empty_direction()):
                weights.update(part.tobytes() if isinstance(part, np.ndarray) else b"|")
            self._fingerprint = str(
                Fingerprint(
                    name=f"static-{self.name}",
                    weight_hash=weights.hexdigest()[:16],
                    tokenizer_hash=hashlib.sha256(self._tokenizer.source.encode()).hexdigest()[:16],
                    pooling=f"sum^{self.power:g}",
                    normalization="l2" if self.normalize else "none",
                    dim=self.dim,
                    max_tokens=self.max_tokens,
                    truncation="" if self.max_tokens is None else "cut",
                )
            )
        return self._fingerprint

    def encode(
        self, items: Sequence[str], *, role: Role = "document", batch_size: int = 1024, progress: bool = False
    ) -> FloatArray:
        """Return one vector per text.

        Parameters
        ----------
        items : sequence of str
            Texts of any length and language.
        role : {"query", "document"}, default "document"
            Accepted for the protocol; a table treats both alike.
        batch_size : int, default 1024
            Texts handled at a time. Larger saves a little overhead per text and takes more memory.
        progress : bool, default False
            Show a bar on stderr.

        Returns
        -------
        ndarray of shape (n, dim), float32, C-contiguous
            Unit vectors when ``normalize``; never NaN.

        Raises
        ------
        InputError
            An item is not a str (the position and type are named), or a wrong role or batch size.
        """
        return self.encode_with_report(items, role=role, batch_size=batch_size, progress=progress)[0]

    def encode_with_report(
        self, items: Sequence[str], *, role: Role = "document", batch_size: int = 1024, progress: bool = False
    ) -> tuple[FloatArray, EncodeReport]:
        """Return the vectors and what was cut or found empty.

        Parameters
        ----------
        items : sequence of str
            Texts of any length and language.
        role : {"query", "document"}, default "document"
            Accepted for the protocol; a table treats both alike.
        batch_size : int, default 1024
            Texts handled at a time.
        progress : bool, default False
            Show a bar on stderr.

        Returns
        -------
        vectors : ndarray of shape (n, dim), float32, C-contiguous
            As from ``encode``.
        report : EncodeReport
            Items, truncated items and tokens, items without a known token, seconds.

        Raises
        ------
        InputError
            As from ``encode``.
        """
        begun = time.perf_counter()
        texts = as_texts(items, name="items")
        check_choice(role, ("query", "document"), name="role")
        batch_size = check_count(batch_size, name="batch_size")
        out = np.empty((len(texts), self.dim), dtype=np.float32)
        kernel = pool_range if len(texts) >= _COMPILE_ABOVE else None
        truncated, cut, empty = 0, 0, 0
        for start, stop in self._batches(len(texts), batch_size, progress):
            ids, offsets = self._tokenizer.token_ids(texts[start:stop])
            if self.max_tokens is not None:
                ids, offsets, lost = _cut(ids, offsets, self.max_tokens)
                truncated, cut = truncated + int(np.count_nonzero(lost)), cut + int(lost.sum())
            empty += self._pool(ids, offsets, out[start:stop], kernel)
        return out, EncodeReport(
            items=len(texts),
            truncated_items=truncated,
            truncated_tokens=cut,
            empty_items=empty,
            seconds=time.perf_counter() - begun,
        )

    def token_counts(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return how many tokens each text has, without a limit; what a chunker sizes chunks by.

        Parameters
        ----------
        texts : sequence of str, length n
            Texts or single words.

        Returns
        -------
        ndarray of shape (n,), int64
            Tokens.
        """
        _, offsets = self._tokenizer.token_ids(as_texts(texts, name="texts"))
        return np.diff(offsets)

    @property
    def document_tokens(self) -> int | None:
        """Most tokens of a document that have a part in its vector; None without a limit."""
        return self.max_tokens

    @staticmethod
    def _batches(count: int, batch_size: int, progress: bool) -> Iterator[tuple[int, int]]:
        starts: Any = range(0, count, batch_size)
        if progress:
            from rich.console import Console
            from rich.progress import track

            starts = track(starts, description="encoding", console=Console(stderr=True))
        for start in starts:
            yield start, min(start + batch_size, count)

    def _pool(self, ids: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], out: FloatArray, kernel: Any) -> int:
        """Fill ``out`` and return how many texts had no known token."""
        if self._tokenizer.unknown is not None:
            ids = np.where(ids == self._tokenizer.unknown, -1, ids).astype(np.int32, copy=False)
        if kernel is not None:
            counts = np.zeros(len(self._table), dtype=np.int32)
            kernel(ids, offsets, self._rows(), self._scales, self.power, counts, out)
        elif self._decoded is not None or len(out) > _DECODE_ABOVE:
            out[:] = pool_bags(ids, offsets, self._rows(), self._scales, self.power)
        else:
            used, inverse = np.unique(np.maximum(ids, 0), return_inverse=True)
            places = np.where(ids < 0, -1, inverse)
            out[:] = pool_bags(
                places.astype(np.int32), offsets, self._decode(self._table[used]), self._scales[used], self.power
            )
        norms = np.sqrt(np.einsum("ij,ij->i", out, out))
        blank = norms == 0.0
        if self.normalize:
            divisors = norms
        else:
            known = np.concatenate([[0], np.cumsum(ids >= 0)])
            divisors = np.diff(known[offsets]).astype(np.float32)
        np.divide(out, np.where(blank, 1.0, divisors)[:, None], out=out, casting="same_kind")
        if blank.any():
            out[blank] = self._empty_direction()
        return int(np.count_nonzero(blank))

    def _rows(self) -> npt.NDArray[Any]:
        if self._decoded is None:
            self._decoded = self._decode(self._table)
        return self._decoded

    def _decode(self, codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if self._levels is None:
            return codes
        halves = np.arange(256, dtype=np.uint8)
        pairs = np.stack([self._levels[halves & 15], self._levels[halves >> 4]], axis=1)
        # Both halves of a byte are looked up as one 16-bit value, which halves the work of decoding.
        return np.take(pairs.view(np.int16)[:, 0], codes).view(np.int8)

    def _empty_direction(self) -> FloatArray:
        if self._empty is None:
            direction = self._given_empty
            if direction is None:
                direction = -(self._scales @ self._rows().astype(np.float32)).astype(np.float32)
            norm = float(np.linalg.norm(direction))
            self._empty = direction / norm if norm > 0 else np.eye(1, self.dim, dtype=np.float32)[0]
        return self._empty

    def save(self, path: str | Path, *, origin: Mapping[str, Any] | None = None) -> None:
        """Write the encoder as an artefact folder that ``load`` reads.

        Parameters
        ----------
        path : str or Path
            Folder, created if missing.
        origin : mapping, optional
            JSON-serialisable account of where the table comes from; kept in ``config.json``. Left out, what the
            encoder was loaded with is kept.
        """
        arrays = {"table": self._table, "scales": self._scales, "empty": self._empty_direction()}
        if self._levels is not None:
            arrays["levels"] = self._levels
        config = {
            "name": self.name,
            "dim": self.dim,
            "power": self.power,
            "normalize": self.normalize,
            "max_tokens": self.max_tokens,
            "origin": dict(self._origin if origin is None else origin),
        }
        write_static(Path(path), arrays, config, self._tokenizer.source)

    @classmethod
    def load(cls, path: str | Path | None = None) -> StaticEncoder:
        """Load the shipped encoder, a saved one, or a model2vec model folder.

        Parameters
        ----------
        path : str or Path, optional
            Folder of ``save``, or with ``model.safetensors``, ``tokenizer.json`` and ``config.json`` of model2vec. None
            loads the encoder that comes with the package.

        Returns
        -------
        StaticEncoder
            Ready to encode; nothing is compiled or downloaded.

        Raises
        ------
        NotFoundError
            A file is missing.
        StoreCorruptedError
            A file was altered or is not what it should be.
        StoreVersionError
            A newer release wrote the folder.

        Notes
        -----
        A model2vec folder keeps its window (512 tokens unless its settings say otherwise) and its normalisation. Two
        things differ from that package: long texts are cut by tokens only, and a text without a known token gets the
        ``empty`` direction instead of zeros.
        """
        folder = _SHIPPED if path is None else Path(path)
        encoder_origin: dict[str, Any] = {}
        if not (folder / "arrays.safetensors").exists() and (folder / "model.safetensors").exists():
            settings = read_model2vec(folder)
        else:
            settings, encoder_origin = read_static(folder)
        encoder = cls(settings.pop("table"), settings.pop("tokenizer"), **settings)
        encoder._origin = encoder_origin
        return encoder


def _cut(
    ids: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], most: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Keep the first ``most`` tokens of each text; also return how many each text lost."""
    lengths = np.diff(offsets)
    lost = np.maximum(lengths - most, 0)
    if not lost.any():
        return ids, offsets, lost
    places = np.arange(len(ids)) - np.repeat(offsets[:-1], lengths)
    return ids[places < most], np.concatenate([[0], np.cumsum(lengths - lost)]), lost
