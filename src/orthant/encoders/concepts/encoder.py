"""A trained map from an encoder's vectors to weights of named concepts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from orthant.artifact import write_artifact
from orthant.encoders.concepts.rows import check_concepts, joined_names, split_names, strongest
from orthant.encoders.fingerprint import Fingerprint, digest_tensors
from orthant.encoders.projected.base import describe_base, load_base, read_head, saved_base
from orthant.errors import DimensionError, InputError, message
from orthant.transforms.network import Network, describe_layers
from orthant.types import FloatArray, Role
from orthant.validate import check_count

__all__ = ["ConceptEncoder"]

KIND = "encoder.concepts"


class ConceptEncoder:
    """Represent texts by named concepts, learned from pairs and tags.

    What ``orthant.learn.train_concepts`` makes. In a space of its own a collection searches it by postings, and
    ``hit.explain()`` tells a score in names of concepts. Expect to give up some accuracy against vectors that mean
    nothing in particular.

    Parameters
    ----------
    base : str, Path, Encoder or model object
        What makes the vectors; as ``load_encoder`` takes. By its name it is found again when the encoder is loaded.
    network : Network
        From vectors of the base to one weight per concept, none below 0: it ends with a sigmoid or a ReLU.
    concepts : sequence of str
        Their names, one per output of the network.
    keep : int, default 32
        Concepts of a text, the strongest. Fewer are quicker and easier to read; too few lose what it says beside its
        main point.

    Attributes
    ----------
    vocabulary : list of str
        Names of the concepts.
    dim : int
        Their number.
    fingerprint : str
        From the base's fingerprint, the layers and the names.

    Raises
    ------
    InputError
        Fewer than two concepts, a name twice, or a network whose weights may be below 0.
    DimensionError
        A network for other vectors or another number of concepts.

    Notes
    -----
    Rows are at unit length, so the dot product of two texts is the cosine of their concepts, and the parts of it that
    concepts add sum to it. Cost: the base, the layers' products, and a sort of the concepts of each text.

    References
    ----------
    Bogdanova, Yazdani: SESA: Supervised explicit semantic analysis. arXiv 1708.03246.

    Examples
    --------
    >>> import numpy as np
    >>> from orthant.transforms import Layer, Network
    >>> weight = np.eye(3, 512, dtype=np.float32)
    >>> network = Network([Layer("linear", {"weight": weight}), Layer("relu")])
    >>> ConceptEncoder("static", network, ["sea", "land", "air"]).encode_sparse(["a lighthouse"]).shape
    (1, 3)
    """

    def __init__(self, base: Any, network: Network, concepts: Sequence[str], *, keep: int = 32) -> None:
        self.base, self._base_name = load_base(base)
        self.network = network
        self.vocabulary = check_concepts(concepts)
        self.dim = len(self.vocabulary)
        self.keep = check_count(keep, name="keep")
        ends = isinstance(network, Network) and len(network.layers) > 0 and network.layers[-1].kind
        if ends not in ("sigmoid", "relu"):
            given = f"{network!r}, whose weights may be below 0"
            raise InputError(message(given, "a Network that ends with a sigmoid or a ReLU", "add one"))
        if network.dim_in not in (None, self.base.dim) or network.dim != self.dim:
            given = f"{network!r} for vectors of {self.base.dim} dimensions and {self.dim} concepts"
            raise DimensionError(message(given, "equal widths", "pass what the network was trained on"))
        self._fingerprint: str | None = None

    @property
    def fingerprint(self) -> str:
        """Identity of the weights."""
        if self._fingerprint is None:
            arrays = self._arrays()
            kinds = "+".join(str(layer["kind"]) for layer in describe_layers(self.network.layers, "", arrays))
            made = Fingerprint(
                name="concepts",
                revision=f"{kinds} of {self.base.fingerprint}",
                weight_hash=digest_tensors(arrays),
                pooling=f"concepts:{self.keep}",
                normalization="l2",
                dim=self.dim,
            )
            self._fingerprint = str(made)
        return self._fingerprint

    def weigh(self, items: Sequence[Any], *, role: Role = "document", batch_size: int = 64) -> FloatArray:
        """Return the weights of all concepts, as they leave the network.

        Parameters
        ----------
        items : sequence
            Whatever the base takes.
        role : {"query", "document"}, default "document"
            For the base.
        batch_size : int, default 64
            Items at a time, for the base.

        Returns
        -------
        ndarray of shape (n, dim), float32
            None below 0; behind a sigmoid, how likely a text is tagged with the concept.
        """
        return self.network.transform(self.base.encode(items, role=role, batch_size=batch_size))

    def encode_sparse(self, items: Sequence[Any], *, role: Role = "document", batch_size: int = 64) -> Any:
        """Return the strongest concepts of each item.

        Parameters
        ----------
        items : sequence
            Whatever the base takes.
        role : {"query", "document"}, default "document"
            For the base.
        batch_size : int, default 64
            Items at a time, for the base.

        Returns
        -------
        scipy.sparse.csr_matrix of shape (n, dim), float32
            Of unit length.
        """
        return strongest(self.weigh(items, role=role, batch_size=batch_size), self.keep)

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"concepts": joined_names(self.vocabulary)}

    def save(self, path: str | Path) -> None:
        """Write the map, the names and the name of the base to a folder.

        Parameters
        ----------
        path : str or Path
            Created if missing.
        """
        arrays = self._arrays()
        layers = describe_layers(self.network.layers, "", arrays)
        config = {"layers": layers, "keep": self.keep, "base": describe_base(self.base, self._base_name)}
        write_artifact(path, kind=KIND, config=config, arrays=arrays)

    @classmethod
    def load(cls, path: str | Path, *, base: Any = None) -> ConceptEncoder:
        """Read an encoder from a folder.

        Parameters
        ----------
        path : str or Path
            What ``save`` wrote.
        base : str, Path, Encoder or model object, optional
            The encoder behind it, where that has no name to be loaded by.

        Returns
        -------
        ConceptEncoder
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
        network, saved, (concepts, keep) = read_head(
            path, kind=KIND, parts=lambda arrays, config: (split_names(arrays["concepts"]), config["keep"])
        )
        return cls(saved_base(saved, base, what="base", argument="base"), network, concepts, keep=keep)
