"""A function of one's own as a sparse encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from orthant.encoders.callable import as_item_list
from orthant.encoders.fingerprint import Fingerprint
from orthant.encoders.sparse.rows import LARGEST_DIM, SparseRows, as_sparse_rows
from orthant.errors import DimensionError, InputError, message
from orthant.types import Role
from orthant.validate import check_choice, check_count

__all__ = ["CallableSparseEncoder"]

Function = Callable[[list[Any]], Any]


class CallableSparseEncoder:
    """Wrap a function from a list of items to weighted terms, such as a call to a service or a weighting of your own.

    Use it when no other sparse encoder fits. A function has no weights to hash, so its identity is what you say:
    change ``revision`` whenever its weights change, or old and new ones will mix unnoticed.

    Parameters
    ----------
    function : callable
        Takes a list of items, returns a SciPy sparse matrix of shape (n, dim), or a list of ``{term: weight}``.
    dim : int
        Terms of the vocabulary, 1 to 2**31 - 1; that of a hash function, for example.
    name : str
        Name of the model, for the fingerprint.
    revision : str, default ""
        Version of the model, for the fingerprint.
    query_function : callable, optional
        Used for queries; left out, ``function`` serves both roles.
    vocabulary : sequence of str, length dim, optional
        Names of the terms.

    Attributes
    ----------
    dim, vocabulary
        As given.
    fingerprint : str
        From name, revision and dimension.

    Raises
    ------
    InputError
        Not a function, an empty name, or a vocabulary of another length.

    Examples
    --------
    >>> letters = CallableSparseEncoder(
    ...     lambda texts: [{ord(c) % 26: float(t.count(c)) for c in set(t)} for t in texts], dim=26, name="letters"
    ... )
    >>> letters.encode_sparse(["aab"]).toarray()[0].nonzero()[0].tolist()
    [19, 20]
    """

    def __init__(
        self,
        function: Function,
        *,
        dim: int,
        name: str,
        revision: str = "",
        query_function: Function | None = None,
        vocabulary: Sequence[str] | None = None,
    ) -> None:
        for one in (function, query_function or function):
            if not callable(one):
                given = f"a {type(one).__name__}"
                raise InputError(message(given, "a function from items to weighted terms", "pass one"))
        self._functions: dict[str, Function] = {"document": function, "query": query_function or function}
        self.dim = check_count(dim, name="dim", maximum=LARGEST_DIM)
        self.vocabulary = None if vocabulary is None else list(vocabulary)
        if self.vocabulary is not None and len(self.vocabulary) != self.dim:
            raise InputError(message(f"{len(self.vocabulary)} names", f"{self.dim}, one per term", "align them"))
        self.fingerprint = str(Fingerprint(name=name, revision=revision, dim=self.dim, pooling="sparse"))

    def encode_sparse(self, items: Sequence[Any], *, role: Role = "document", batch_size: int = 64) -> Any:
        """Return the weighted terms of each item.

        Parameters
        ----------
        items : sequence
            Whatever the function takes.
        role : {"query", "document"}, default "document"
            Chooses the function.
        batch_size : int, default 64
            Items per call of the function.

        Returns
        -------
        scipy.sparse.csr_matrix of shape (n, dim), float32
            In the order given.

        Raises
        ------
        DimensionError
            The function returned another number of rows or columns.
        InputError, NonFiniteError
            The function returned a term twice, a weight below 0, or NaN.
        """
        check_choice(role, ("query", "document"), name="role")
        check_count(batch_size, name="batch_size")
        given = as_item_list(items)
        parts = []
        for start in range(0, len(given), batch_size):
            batch = given[start : start + batch_size]
            found = as_sparse_rows(self._functions[role](batch), dim=self.dim, name="weights of the function")
            if len(found) != len(batch):
                raise DimensionError(
                    message(f"{len(found)} rows for {len(batch)} items", "one per item", "check the function")
                )
            parts += [found[i] for i in range(len(found))]
        return SparseRows.of(parts, self.dim).to_csr()

    def __repr__(self) -> str:
        """Return the identity in one line."""
        return f"CallableSparseEncoder({self.fingerprint!r})"
