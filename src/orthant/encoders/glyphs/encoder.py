"""Any text encoder behind a folding: texts are undone of lookalikes or errors before they are encoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.encoders.fingerprint import Fingerprint
from orthant.encoders.glyphs.folding import LookalikeFolding
from orthant.encoders.glyphs.reading import WordReading
from orthant.encoders.projected.base import describe_base, load_base, saved_base
from orthant.errors import InputError, StoreCorruptedError, message
from orthant.types import EncodeReport, FloatArray, Role
from orthant.validate import as_texts

__all__ = ["FoldedEncoder"]

KIND = "encoder.folded"


class FoldedEncoder:
    """Encode texts after undoing lookalike letters or typing errors in them.

    Parameters
    ----------
    base : str, Path, Encoder or model object
        What makes the vectors; as ``load_encoder`` takes. By its name it is found again when this one is loaded.
    folding : LookalikeFolding or WordReading, optional
        What is undone; lookalikes, by the defaults, when left out.

    Attributes
    ----------
    dim : int
        That of the base.
    max_tokens : int or None
        That of the base.
    fingerprint : str
        Of base and folding.

    Raises
    ------
    InputError
        A folding of another kind.

    Notes
    -----
    A text that the folding leaves alone has the vector of the base. Cost: the base, and the folding.

    References
    ----------
    A. Bochkov: Emergent Semantics Beyond Token Embeddings. arXiv 2507.04886, section 3.

    Examples
    --------
    >>> encoder = FoldedEncoder("static")
    >>> a, b = encoder.encode(["verify your paypal account", "vеrify yоur раypаl аccount"])
    >>> bool(a @ b > 0.99)
    True
    """

    def __init__(self, base: Any, folding: LookalikeFolding | WordReading | None = None) -> None:
        self.base, self._base_name = load_base(base)
        self.folding = LookalikeFolding() if folding is None else folding
        if not isinstance(self.folding, (LookalikeFolding, WordReading)):
            given = f"a folding of type {type(folding).__name__}"
            raise InputError(message(given, "a LookalikeFolding or a WordReading", "make one of the two"))
        self.dim: int = self.base.dim
        self.max_tokens = self.base.max_tokens

    @property
    def fingerprint(self) -> str:
        """Identity of the vectors."""
        made = Fingerprint(
            name="folded",
            revision=f"{self.folding.fingerprint} of {self.base.fingerprint}",
            dim=self.dim,
            max_tokens=self.max_tokens,
        )
        return str(made)

    def encode(
        self, items: Sequence[str], *, role: Role = "document", batch_size: int = 64, progress: bool = False
    ) -> FloatArray:
        """Return one vector per text.

        Parameters
        ----------
        items : sequence of str
            Texts.
        role : {"query", "document"}, default "document"
            For the base; both are folded.
        batch_size : int, default 64
            For the base.
        progress : bool, default False
            Show the base's bar.

        Returns
        -------
        ndarray of shape (n, dim), float32
            As the base makes them.
        """
        return self.encode_with_report(items, role=role, batch_size=batch_size, progress=progress)[0]

    def encode_with_report(
        self, items: Sequence[str], *, role: Role = "document", batch_size: int = 64, progress: bool = False
    ) -> tuple[FloatArray, EncodeReport]:
        """Return the vectors and the base's report.

        Parameters
        ----------
        items : sequence of str
            Texts.
        role : {"query", "document"}, default "document"
            For the base; both are folded.
        batch_size : int, default 64
            For the base.
        progress : bool, default False
            Show the base's bar.

        Returns
        -------
        vectors : ndarray of shape (n, dim), float32
            As the base makes them.
        report : EncodeReport
            What was cut.
        """
        texts = [self.folding.fold(text) for text in as_texts(items, name="items")]
        return self.base.encode_with_report(texts, role=role, batch_size=batch_size, progress=progress)

    def save(self, path: str | Path) -> None:
        """Write the folding and the name of the base to a folder.

        Parameters
        ----------
        path : str or Path
            Created if missing.

        Raises
        ------
        InputError
            A folding with a font of its own, which is not copied.
        """
        trained = isinstance(self.folding, WordReading)
        arrays: dict[str, npt.NDArray[Any]] = {"trained": np.array([trained])}
        if isinstance(self.folding, WordReading):
            arrays.update(self.folding.arrays())
        config = {"base": describe_base(self.base, self._base_name), "folding": self.folding.settings()}
        write_artifact(path, kind=KIND, config=config, arrays=arrays)

    @classmethod
    def load(cls, path: str | Path, *, base: Any = None) -> FoldedEncoder:
        """Read an encoder from a folder.

        Parameters
        ----------
        path : str or Path
            What ``save`` wrote.
        base : str, Path, Encoder or model object, optional
            The encoder behind it, where that has no name to be loaded by.

        Returns
        -------
        FoldedEncoder
            Equal to the saved one.

        Raises
        ------
        NotFoundError
            No such folder.
        EncoderMismatchError
            Another base than the saved one.
        InputError
            A base must be given.
        StoreCorruptedError
            Damaged files, or a table whose vectors are others in this release.
        """
        arrays, config = read_artifact(path, kind=KIND)
        try:
            saved, given = config["base"], config["folding"]
            folding = (
                WordReading.from_settings(given, arrays)
                if arrays["trained"][0]
                else LookalikeFolding.from_settings(given)
            )
        except (KeyError, TypeError, InputError) as error:
            told = f"an encoder at {path} with parts missing ({error})"
            raise StoreCorruptedError(message(told, "what save wrote", "restore the folder")) from error
        return cls(saved_base(saved, base, what="base", argument="base"), folding)
