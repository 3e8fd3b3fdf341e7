"""What stands on top of an encoder: class logits against fixed prototypes, and a projection to another width."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from orthant.artifact import read_artifact, write_artifact
from orthant.errors import DimensionError, InputError, message
from orthant.transforms.layers import Layer
from orthant.validate import as_texts, as_vectors, check_count

__all__ = ["FixedPrototypeHead", "ProjectionHead"]

_PROTOTYPES = "head.prototypes"
_PROJECTION = "head.projection"


def _check_width(embeddings: Tensor, dim: int, owner: str) -> None:
    if embeddings.ndim < 1 or embeddings.shape[-1] != dim:
        raise DimensionError(
            message(
                f"embeddings of shape {tuple(embeddings.shape)} for a {owner} of dimension {dim}",
                f"a last axis of {dim}",
                f"give the model a last layer of width {dim}, or make the head for the model's width",
            )
        )


class FixedPrototypeHead(nn.Module):
    """Score embeddings against class directions that are given and never trained.

    Models trained one after the other against the same directions stay comparable, and a head for very many classes
    costs no training. For classes that should be free to arrange themselves use an ordinary linear layer.

    Parameters
    ----------
    prototypes : array-like of shape (n, dim)
        Class directions, as from `orthant.nn.prototypes`; brought to unit length.
    scale : float, default 10.0
        Factor on the cosine, the inverse of the temperature. Too small cannot separate many classes; too large makes
        early training jump. Equiangular Basis Vectors use 1 / 0.07.
    labels : sequence of str, optional
        Class names in the order of the prototypes; kept with them, since that order is all that links the two.

    Attributes
    ----------
    prototypes : Tensor of shape (n, dim), float32
        A buffer: it moves with the module and has no gradient.

    Raises
    ------
    InputError
        A zero row, or more labels than prototypes.

    Notes
    -----
    ``logit_k = scale <z / |z|, w_k>``.

    References
    ----------
    Biondi et al.: Stationary Representations. arXiv 2405.02581, section 3.
    Shen et al.: Equiangular Basis Vectors. arXiv 2303.11637, section 3.

    Examples
    --------
    >>> from orthant.nn.prototypes import simplex_prototypes
    >>> head = FixedPrototypeHead(simplex_prototypes(4))
    >>> head(torch.randn(2, 3)).shape, list(head.parameters())
    (torch.Size([2, 4]), [])
    """

    prototypes: Tensor

    def __init__(self, prototypes: npt.ArrayLike, *, scale: float = 10.0, labels: Sequence[str] | None = None) -> None:
        super().__init__()
        rows = torch.from_numpy(as_vectors(prototypes, name="prototypes", nonzero=True).copy())
        if not (isinstance(scale, (int, float)) and 0 < scale < float("inf")):
            raise InputError(message(f"scale={scale!r}", "a finite number above 0", "pass scale=10.0"))
        self.scale = float(scale)
        self.labels = None if labels is None else tuple(as_texts(labels, name="labels"))
        if self.labels is not None and (len(self.labels) > len(rows) or len(set(self.labels)) < len(self.labels)):
            raise InputError(
                message(
                    f"{len(self.labels)} labels for {len(rows)} prototypes",
                    "distinct labels, at most one per prototype",
                    "make more prototypes, or drop repeated labels",
                )
            )
        self.register_buffer("prototypes", functional.normalize(rows.double(), dim=-1).float())

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return a logit for every class.

        Parameters
        ----------
        embeddings : Tensor of shape (..., dim)
            Of any length.

        Returns
        -------
        Tensor of shape (..., n)
            From -scale to scale.

        Raises
        ------
        DimensionError
            Another width.
        """
        _check_width(embeddings, self.prototypes.shape[1], "prototype head")
        return self.scale * functional.normalize(embeddings, dim=-1) @ self.prototypes.to(embeddings.dtype).T

    def network_layers(self) -> list[Layer]:
        """Return the head as layers that NumPy computes; ``orthant.learn.export_network`` asks for them.

        Returns
        -------
        list of Layer
            Unit length, then the scaled prototypes.
        """
        weight = (self.scale * self.prototypes).cpu().numpy()
        return [Layer("normalize"), Layer("linear", {"weight": weight})]

    def cross_entropy(self, embeddings: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
        """Return the mean cross-entropy of the right classes.

        Parameters
        ----------
        embeddings : Tensor of shape (B, dim)
            Of any length.
        labels : Tensor of shape (B,), int64
            Numbers of the classes, from 0 to n - 1.
        smoothing : float, default 0.0
            Share of the target spread evenly over all classes, from 0 to 1.

        Returns
        -------
        Tensor of shape ()
            The loss.

        Raises
        ------
        InputError
            A label without a prototype.
        DimensionError
            Another width.
        """
        n = len(self.prototypes)
        if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= n):
            raise InputError(
                message(
                    f"labels from {int(labels.min())} to {int(labels.max())}",
                    f"0 to {n - 1}",
                    "make a head with at least one prototype per class",
                )
            )
        return functional.cross_entropy(self(embeddings), labels, label_smoothing=smoothing)

    def save(self, folder: str | Path) -> None:
        """Write prototypes, scale and labels as an artefact that NumPy reads too.

        Parameters
        ----------
        folder : str or Path
            Created if missing.
        """
        config = {"scale": self.scale, "labels": None if self.labels is None else list(self.labels)}
        write_artifact(folder, kind=_PROTOTYPES, arrays={"prototypes": self.prototypes.cpu().numpy()}, config=config)

    @classmethod
    def load(cls, folder: str | Path) -> FixedPrototypeHead:
        """Read what ``save`` wrote.

        Parameters
        ----------
        folder : str or Path
            The artefact.

        Returns
        -------
        FixedPrototypeHead
            Equal to the saved one.

        Raises
        ------
        NotFoundError
            No artefact there.
        StoreCorruptedError
            Damaged files.
        InputError
            Another kind of artefact.
        """
        arrays, config = read_artifact(folder, kind=_PROTOTYPES)
        return cls(arrays["prototypes"], scale=config["scale"], labels=config["labels"])


class ProjectionHead(nn.Module):
    """Map embeddings or token states to another width by one matrix, and to unit length if asked.

    Parameters
    ----------
    dim_in : int
        Width of what comes.
    dim_out : int
        Width of what goes. Far below ``dim_in`` loses neighbours; above it gains nothing.
    bias : bool, default False
        Add a constant vector.
    normalize : bool, default False
        Bring the result to unit length.

    Raises
    ------
    InputError
        A width below 1.

    Examples
    --------
    >>> head = ProjectionHead(8, 3, normalize=True)
    >>> head(torch.randn(2, 5, 8)).norm(dim=-1).round(decimals=4).unique().tolist()
    [1.0]
    """

    def __init__(self, dim_in: int, dim_out: int, *, bias: bool = False, normalize: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(check_count(dim_in, name="dim_in"), check_count(dim_out, name="dim_out"), bias=bias)
        self.normalize = normalize

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return projected embeddings.

        Parameters
        ----------
        embeddings : Tensor of shape (..., dim_in)
            Vectors or token states.

        Returns
        -------
        Tensor of shape (..., dim_out)
            Projected.

        Raises
        ------
        DimensionError
            Another width.
        """
        _check_width(embeddings, self.linear.in_features, "projection")
        out = self.linear(embeddings)
        return functional.normalize(out, dim=-1) if self.normalize else out

    def network_layers(self) -> list[Layer]:
        """Return the head as layers that NumPy computes; ``orthant.learn.export_network`` asks for them.

        Returns
        -------
        list of Layer
            The matrix, and unit length where it is asked for.
        """
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in self.linear.state_dict().items()}
        return [Layer("linear", arrays), *([Layer("normalize")] if self.normalize else [])]

    def save(self, folder: str | Path) -> None:
        """Write the matrix (and bias) as an artefact that NumPy reads too.

        Parameters
        ----------
        folder : str or Path
            Created if missing.
        """
        state = {name: tensor.detach().cpu().numpy() for name, tensor in self.linear.state_dict().items()}
        write_artifact(folder, kind=_PROJECTION, arrays=state, config={"normalize": self.normalize})

    @classmethod
    def load(cls, folder: str | Path) -> ProjectionHead:
        """Read what ``save`` wrote.

        Parameters
        ----------
        folder : str or Path
            The artefact.

        Returns
        -------
        ProjectionHead
            Equal to the saved one.

        Raises
        ------
        NotFoundError
            No artefact there.
        StoreCorruptedError
            Damaged files.
        InputError
            Another kind of artefact.
        """
        arrays, config = read_artifact(folder, kind=_PROJECTION)
        dim_out, dim_in = arrays["weight"].shape
        head = cls(dim_in, dim_out, bias="bias" in arrays, normalize=config["normalize"])
        head.linear.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        return head
