"""An encoder whose vectors pass through a small trained network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import write_artifact
from orthant.encoders.fingerprint import Fingerprint, digest_tensors
from orthant.encoders.projected.base import describe_base, load_base, read_head, saved_base
from orthant.errors import DimensionError, InputError, message
from orthant.transforms.network import Network, describe_layers
from orthant.types import EncodeReport, FloatArray, Role
from orthant.validate import as_vectors

__all__ = ["ProjectedEncoder"]

KIND = "encoder.projected"
_FOLLOWS = "follows."


class ProjectedEncoder:
    """Encode items by an encoder followed by a trained head, for a vector space of one aspect.

    For the heads that ``orthant.learn.train_aspect_heads`` makes, and for any other `Network` on frozen vectors. The
    encoder itself is not copied: several heads may stand on one.

    Parameters
    ----------
    base : str, Path, Encoder or model object
        What makes the vectors; as ``load_encoder`` takes. By its name it is found again when the encoder is loaded.
    network : Network
        From vectors of the base to vectors of the aspect.
    name : str
        Of the aspect; stands in the fingerprint.
    follows : mapping of str to array-like of shape (dim,), optional
        By the fingerprint of an older encoder of the same history, how far vectors moved on the mean since; what
        ``ContinualTrainer.encoder`` gives. ``Collection.upgrade`` reads it.
    report : mapping, optional
        What is known of how well it searches vectors of older encoders; kept with it, JSON-ready.

    Attributes
    ----------
    dim : int
        Width of the network's result.
    max_tokens : int or None
        That of the base.
    fingerprint : str
        From the base's fingerprint, the layers and the name.

    Raises
    ------
    InputError
        A network that takes ids or does not tell its width, or an empty name.
    DimensionError
        A network for vectors of another width.

    Notes
    -----
    Vectors are at unit length; one of zeros stays one. Cost: the base, and the layers' products.

    References
    ----------
    Ostendorff et al.: Specialized document embeddings for aspect-based similarity. arXiv 2203.14541, section 3.

    Examples
    --------
    >>> from orthant.transforms import Layer, Network
    >>> half = Network([Layer("linear", {"weight": np.eye(256, 512, dtype=np.float32)})])
    >>> ProjectedEncoder("static", half, name="half").encode(["a lighthouse"]).shape
    (1, 256)
    """

    def __init__(
        self,
        base: Any,
        network: Network,
        *,
        name: str,
        follows: Mapping[str, npt.ArrayLike] | None = None,
        report: Mapping[str, Any] | None = None,
    ) -> None:
        self.base, self._base_name = load_base(base)
        self.network = network
        if not isinstance(network, Network) or network.takes_ids or network.dim is None:
            raise InputError(
                message(
                    f"{network!r} behind an encoder", "a Network from vectors to vectors", "begin with a linear layer"
                )
            )
        if network.dim_in not in (None, self.base.dim):
            given = f"a network for {network.dim_in} dimensions behind an encoder of {self.base.dim}"
            raise DimensionError(message(given, "equal widths", "pass the encoder that the network was trained on"))
        if not isinstance(name, str) or not name:
            raise InputError(message(f"name={name!r}", "a name of the aspect", "pass name='genre', for example"))
        self.name = name
        self.dim: int = network.dim
        self.max_tokens = self.base.max_tokens
        self._fingerprint: str | None = None
        self.follows = {
            older: as_vectors(np.asarray(moved)[None], dim=self.dim, name="movements in follows")[0]
            for older, moved in (follows or {}).items()
        }
        self.report = None if report is None else dict(report)

    @property
    def fingerprint(self) -> str:
        """Identity of the vectors."""
        if self._fingerprint is None:
            arrays: dict[str, npt.NDArray[Any]] = {}
            layers = describe_layers(self.network.layers, "", arrays)
            kinds = "+".join(str(layer["kind"]) for layer in layers)
            made = Fingerprint(
                name=f"aspect-{self.name}",
                revision=f"{kinds} of {self.base.fingerprint}",
                weight_hash=digest_tensors(arrays),
                normalization="l2",
                dim=self.dim,
                max_tokens=self.max_tokens,
            )
            self._fingerprint = str(made)
        return self._fingerprint

    def encode(
        self, items: Sequence[Any], *, role: Role = "document", batch_size: int = 64, progress: bool = False
    ) -> FloatArray:
        """Return one vector per item.

        Parameters
        ----------
        items : sequence
            Whatever the base takes.
        role : {"query", "document"}, default "document"
            For the base; the network treats both alike.
        batch_size : int, default 64
            Items at a time, for the base.
        progress : bool, default False
            Show the base's bar.

        Returns
        -------
        ndarray of shape (n, dim), float32
            Of unit length.
        """
        return self.encode_with_report(items, role=role, batch_size=batch_size, progress=progress)[0]

    def encode_with_report(
        self, items: Sequence[Any], *, role: Role = "document", batch_size: int = 64, progress: bool = False
    ) -> tuple[FloatArray, EncodeReport]:
        """Return the vectors and the base's report.

        Parameters
        ----------
        items : sequence
            Whatever the base takes.
        role : {"query", "document"}, default "document"
            For the base.
        batch_size : int, default 64
            For the base.
        progress : bool, default False
            Show the base's bar.

        Returns
        -------
        vectors : ndarray of shape (n, dim), float32
            Of unit length.
        report : EncodeReport
            What was cut.
        """
        X, report = self.base.encode_with_report(items, role=role, batch_size=batch_size, progress=progress)
        return self.project(X), report

    def project(self, X: npt.ArrayLike) -> FloatArray:
        """Return what the head makes of vectors of the base, for records whose vectors are there already.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors of the base.

        Returns
        -------
        ndarray of shape (n, dim), float32
            Of unit length.
        """
        out = self.network.transform(X)
        norms = np.linalg.norm(out, axis=1, keepdims=True)
        return np.ascontiguousarray(out / np.where(norms > 0, norms, 1), dtype=np.float32)

    def save(self, path: str | Path) -> None:
        """Write the head and the name of the base to a folder.

        Parameters
        ----------
        path : str or Path
            Created if missing.
        """
        arrays: dict[str, npt.NDArray[Any]] = {}
        layers = describe_layers(self.network.layers, "", arrays)
        base = describe_base(self.base, self._base_name)
        config: dict[str, Any] = {"name": self.name, "layers": layers, "base": base}
        if self.follows or self.report:
            arrays |= {f"{_FOLLOWS}{i}": moved for i, moved in enumerate(self.follows.values())}
            config |= {"follows": list(self.follows), "report": self.report}
        write_artifact(path, kind=KIND, config=config, arrays=arrays)

    @classmethod
    def load(cls, path: str | Path, *, base: Any = None) -> ProjectedEncoder:
        """Read an encoder from a folder.

        Parameters
        ----------
        path : str or Path
            What ``save`` wrote.
        base : str, Path, Encoder or model object, optional
            The encoder behind it, where that has no name to be loaded by.

        Returns
        -------
        ProjectedEncoder
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
            Damaged files.
        """
        network, saved, (name, follows, report) = read_head(path, kind=KIND, parts=_parts)
        standing = saved_base(saved, base, what="base", argument="base")
        return cls(standing, network, name=name, follows=follows, report=report)


def _parts(arrays: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[str, dict[str, Any], Any]:
    older = config.get("follows", [])
    return config["name"], {key: arrays[f"{_FOLLOWS}{i}"] for i, key in enumerate(older)}, config.get("report")
