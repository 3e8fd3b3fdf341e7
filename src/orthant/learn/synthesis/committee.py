"""Several retrievers vote on which generated text serves a document best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, NonFiniteError, message
from orthant.learn.mining.soft_labels import teacher_distribution
from orthant.types import Reranker
from orthant.validate import as_texts, check_choice

__all__ = ["RetrievalCommittee", "Vote"]


@dataclass(frozen=True, eq=False)
class Vote:
    """The outcome of a vote.

    Attributes
    ----------
    winner : int
        Place of the chosen candidate.
    choices : mapping of str to int
        The candidate that each member puts first.
    shares : ndarray of shape (m,), float64
        Votes per candidate: summed probabilities (soft) or members (hard).
    """

    winner: int
    choices: Mapping[str, int]
    shares: npt.NDArray[np.float64]


class RetrievalCommittee:
    """Let several scorers choose among texts that were generated for one document.

    Parameters
    ----------
    members : mapping of str to Reranker
        Scorers by name; each scores the candidates with the document as the query. Give a dense member a scale, such as
        ``DenseScorer(encoder, scale=100)``: a soft vote over bare cosines is nearly flat.
    mode : {"soft", "hard"}, default "soft"
        Sum of each member's softmax over the candidates; or majority of first choices, ties to the first candidate.

    Raises
    ------
    InputError
        No member or an unknown mode.

    Notes
    -----
    Soft: ``argmax_j sum_m softmax(s_m)_j``. Hard: ``argmax_j #{m : argmax s_m = j}``.

    References
    ----------
    O1 Embedder: Let Retrievers Think Before Action, arXiv:2502.07555, section on data production (retrieval committee).

    Examples
    --------
    >>> from orthant.learn.mining.scorers import BM25Scorer
    >>> committee = RetrievalCommittee({"words": BM25Scorer()}, mode="hard")
    >>> committee.vote("a red boat sails", ["a green car", "the red boat"]).winner
    1
    """

    def __init__(self, members: Mapping[str, Reranker], *, mode: Literal["soft", "hard"] = "soft") -> None:
        if not members:
            raise InputError(message("a committee without members", "at least one scorer", "name one"))
        self._members = dict(members)
        self._mode = check_choice(mode, ("soft", "hard"), name="mode")

    def __call__(self, document: str, candidates: Sequence[str]) -> int:
        """Return the place of the chosen candidate; for ``synthesize(choose=...)``."""
        return self.vote(document, candidates).winner

    def vote(self, document: str, candidates: Sequence[str]) -> Vote:
        """Vote on candidates.

        Parameters
        ----------
        document : str
            What the candidates were generated for.
        candidates : sequence of str
            At least two texts.

        Returns
        -------
        Vote
            Winner, first choices and votes.

        Raises
        ------
        InputError, NonFiniteError
            Fewer than two candidates, or scores that do not fit.
        """
        texts = as_texts(candidates, name="candidates")
        if len(texts) < 2:
            raise InputError(message(f"{len(texts)} candidates", "at least two", "generate more, or do without a vote"))
        choices: dict[str, int] = {}
        shares = np.zeros(len(texts), dtype=np.float64)
        for name, member in self._members.items():
            scores = np.asarray(member.score(document, texts), dtype=np.float64)
            if scores.shape != (len(texts),):
                raise InputError(
                    message(f"scores of shape {scores.shape} from {name!r}", f"({len(texts)},)", "return one per text")
                )
            if not np.isfinite(scores).all():
                raise NonFiniteError(
                    message(f"a score of {name!r} that is not finite", "numbers", "correct that member")
                )
            choices[name] = int(scores.argmax())
            if self._mode == "soft":
                shares += teacher_distribution(scores).astype(np.float64)
            else:
                shares[choices[name]] += 1
        return Vote(int(shares.argmax()), choices, shares)
