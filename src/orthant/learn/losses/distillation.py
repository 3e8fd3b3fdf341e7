"""Losses that make a student score as a teacher does: over candidates, over the batch, or vector by vector.

Scores are tensors (n, c): n queries, c candidates each. The first column is the positive where a loss needs one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from orthant.errors import InputError, message
from orthant.learn.losses.blocks import DenseScorer, Encoded
from orthant.learn.losses.protocol import LossOutput, check_finite, check_positive, check_shape
from orthant.validate import check_choice

__all__ = [
    "DistillationLoss",
    "EmbeddingDistillation",
    "batch_kl",
    "embedding_distance",
    "kl_divergence",
    "kl_rows",
    "list_net",
    "margin_mse",
    "rank_net",
    "score_mse",
]


def _scores(student: Tensor, teacher: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    check_shape(student, (None, None), name="student scores")
    check_shape(teacher, tuple(student.shape), name="teacher scores", like=student)
    if mask is None:
        mask = torch.ones_like(student, dtype=torch.bool)
    check_shape(mask, tuple(student.shape), name="mask", like=student)
    check_finite({"student scores": student.masked_fill(~mask, 0.0), "teacher scores": teacher.masked_fill(~mask, 0.0)})
    if (mask.sum(1) < 2).any():
        rows = (mask.sum(1) < 2).nonzero().flatten().tolist()[:5]
        raise InputError(
            message(
                f"fewer than two candidates in rows {rows}", "at least two to compare", "add candidates or drop them"
            )
        )
    if student.dtype not in (torch.float32, torch.float64):
        student = student.float()
    return student, teacher.detach().to(student.dtype), mask


def _log_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Log-softmax over the candidates that exist, 0 elsewhere."""
    filled = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return torch.log_softmax(filled, dim=1).masked_fill(~mask, 0.0)


def kl_rows(
    student: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor,
    student_temperature: float,
    teacher_temperature: float,
) -> Tensor:
    """Kullback-Leibler divergence of each row, without checks.

    Parameters
    ----------
    student, teacher : Tensor of shape (n, c)
        Scores; the teacher's carry no gradient.
    mask : Tensor of shape (n, c), bool
        Candidates that exist.
    student_temperature, teacher_temperature : float
        Divisors of the scores.

    Returns
    -------
    Tensor of shape (n,)
        0 or more.
    """
    log_student = _log_softmax(student / student_temperature, mask)
    log_teacher = _log_softmax(teacher / teacher_temperature, mask)
    share = log_teacher.exp().masked_fill(~mask, 0.0)
    return (share * (log_teacher - log_student)).sum(1)


def kl_divergence(
    student: Tensor,
    teacher: Tensor,
    *,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
    mask: Tensor | None = None,
    rescale: bool = False,
) -> Tensor:
    """Make the student's distribution over the candidates that of the teacher.

    Parameters
    ----------
    student : Tensor of shape (n, c)
        Scores of c candidates per query.
    teacher : Tensor of shape (n, c)
        Scores of the same candidates; any scale.
    student_temperature, teacher_temperature : float, default 1.0
        Divisors of the scores. Too small: one candidate takes all and the order of the rest is lost; too large: the
        distribution is flat and teaches nothing. Cosines want about 0.02 to 0.05.
    mask : Tensor of shape (n, c), bool, optional
        False where a row has fewer than c candidates.
    rescale : bool, default False
        Multiply by the square of the student's temperature, as Hinton et al. do to keep the size of the gradient.

    Returns
    -------
    Tensor of shape ()
        Mean over the queries.

    Raises
    ------
    InputError
        A temperature of 0 or less, or a row with fewer than two candidates.
    DimensionError
        Shapes that differ.
    NonFiniteError
        NaN or infinity.

    Notes
    -----
    mean_i sum_j t_ij (log t_ij - log s_ij), t = softmax(teacher / T_t), s = softmax(student / T_s).

    References
    ----------
    Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531, section 2.

    Examples
    --------
    >>> import torch
    >>> scores = torch.tensor([[1.0, 0.0]])
    >>> float(kl_divergence(scores, scores)), round(float(kl_divergence(scores, -scores)), 4)
    (0.0, 0.4621)
    """
    student_temperature = check_positive(student_temperature, name="student_temperature")
    teacher_temperature = check_positive(teacher_temperature, name="teacher_temperature")
    student, teacher, mask = _scores(student, teacher, mask)
    rows = kl_rows(
        student, teacher, mask=mask, student_temperature=student_temperature, teacher_temperature=teacher_temperature
    )
    return rows.mean() * (student_temperature**2 if rescale else 1.0)


def list_net(
    student: Tensor,
    teacher: Tensor,
    *,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
    mask: Tensor | None = None,
) -> Tensor:
    """Cross-entropy between the teacher's and the student's distribution over the candidates.

    Its gradient is that of `kl_divergence`; the value is larger by the teacher's entropy.

    Parameters
    ----------
    student, teacher : Tensor of shape (n, c)
        Scores of c candidates per query.
    student_temperature, teacher_temperature : float, default 1.0
        As in `kl_divergence`.
    mask : Tensor of shape (n, c), bool, optional
        False where a row has fewer than c candidates.

    Returns
    -------
    Tensor of shape ()
        Mean over the queries.

    Raises
    ------
    InputError
        As in `kl_divergence`.

    Notes
    -----
    - mean_i sum_j softmax(teacher)_ij log softmax(student)_ij.

    References
    ----------
    Cao et al. 2007, "Learning to Rank: From Pairwise Approach to Listwise Approach", section 4; Xiao et al. 2022,
    "Distill-VQ", arXiv 2204.00185, section 3.

    Examples
    --------
    >>> import torch
    >>> round(float(list_net(torch.zeros(1, 2), torch.tensor([[3.0, 0.0]]))), 4)
    0.6931
    """
    student_temperature = check_positive(student_temperature, name="student_temperature")
    teacher_temperature = check_positive(teacher_temperature, name="teacher_temperature")
    student, teacher, mask = _scores(student, teacher, mask)
    share = _log_softmax(teacher / teacher_temperature, mask).exp().masked_fill(~mask, 0.0)
    return -(share * _log_softmax(student / student_temperature, mask)).sum(1).mean()


def rank_net(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None, weighted: bool = True) -> Tensor:
    """Make the student order every pair of candidates as the teacher does.

    Parameters
    ----------
    student, teacher : Tensor of shape (n, c)
        Scores of c candidates per query. Ties of the teacher say nothing.
    mask : Tensor of shape (n, c), bool, optional
        False where a row has fewer than c candidates.
    weighted : bool, default True
        Weight each pair by the difference of the teacher's scores, as Distill-VQ does; else all pairs count alike.

    Returns
    -------
    Tensor of shape ()
        Sum over the pairs of a query, mean over the queries. Needs (n, c, c) entries of memory.

    Raises
    ------
    InputError
        A row with fewer than two candidates.

    Notes
    -----
    - mean_i sum_{t_a > t_b} (t_a - t_b) log sigmoid(s_a - s_b).

    References
    ----------
    Burges et al. 2005, "Learning to Rank using Gradient Descent", section 3; Xiao et al. 2022, "Distill-VQ",
    arXiv 2204.00185, section 3.

    Examples
    --------
    >>> import torch
    >>> round(float(rank_net(torch.zeros(1, 2), torch.tensor([[3.0, 1.0]]))), 4)
    1.3863
    """
    student, teacher, mask = _scores(student, teacher, mask)
    above = teacher.unsqueeze(2) - teacher.unsqueeze(1)
    counts = (above > 0) & mask.unsqueeze(2) & mask.unsqueeze(1)
    loss = functional.softplus(student.unsqueeze(1) - student.unsqueeze(2))
    weights = (above if weighted else torch.ones_like(above)).masked_fill(~counts, 0.0)
    return (weights * loss.masked_fill(~counts, 0.0)).sum((1, 2)).mean()


def margin_mse(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Make the student's margins between the positive and each negative those of the teacher.

    Parameters
    ----------
    student, teacher : Tensor of shape (n, c)
        Scores; the first column is the positive.
    mask : Tensor of shape (n, c), bool, optional
        False where a row has fewer than c candidates.

    Returns
    -------
    Tensor of shape ()
        Mean over all margins.

    Raises
    ------
    InputError
        A row with fewer than two candidates, or without its positive.

    Notes
    -----
    mean_{i, j > 0} ((s_i0 - s_ij) - (t_i0 - t_ij))^2.

    References
    ----------
    Hofstaetter et al. 2020, "Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation",
    arXiv 2010.02666, section 3.

    Examples
    --------
    >>> import torch
    >>> float(margin_mse(torch.tensor([[1.0, 0.0]]), torch.tensor([[9.0, 6.0]])))
    4.0
    """
    student, teacher, mask = _scores(student, teacher, mask)
    if not mask[:, 0].all():
        raise InputError(message("a mask without the positive", "True in the first column", "drop these rows"))
    error = (student[:, :1] - student[:, 1:]) - (teacher[:, :1] - teacher[:, 1:])
    return error[mask[:, 1:]].square().mean()


def score_mse(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Make the student's scores those of the teacher; both must be on one scale.

    Parameters
    ----------
    student, teacher : Tensor of shape (n, c)
        Scores of c candidates per query.
    mask : Tensor of shape (n, c), bool, optional
        False where a row has fewer than c candidates.

    Returns
    -------
    Tensor of shape ()
        Mean squared difference over all candidates that exist.

    Raises
    ------
    InputError
        A row with fewer than two candidates.

    Examples
    --------
    >>> import torch
    >>> float(score_mse(torch.zeros(1, 2), torch.ones(1, 2)))
    1.0
    """
    student, teacher, mask = _scores(student, teacher, mask)
    return (student - teacher)[mask].square().mean()


def batch_kl(
    student_queries: Tensor,
    student_documents: Tensor,
    teacher_queries: Tensor,
    teacher_documents: Tensor,
    *,
    student_temperature: float = 0.05,
    teacher_temperature: float = 0.05,
    similarity: str = "cosine",
) -> Tensor:
    """Make the student's distribution over all documents of the batch that of the teacher, without any labels.

    Parameters
    ----------
    student_queries, student_documents : Tensor of shape (n, d) and (c, d)
        The student's embeddings.
    teacher_queries, teacher_documents : Tensor of shape (n, e) and (c, e)
        The teacher's embeddings of the same items; e may differ from d.
    student_temperature, teacher_temperature : float, default 0.05
        As in `kl_divergence`.
    similarity : {"cosine", "dot"}, default "cosine"
        How both compare.

    Returns
    -------
    Tensor of shape ()
        Mean over the queries.

    Raises
    ------
    InputError
        As in `kl_divergence`.
    DimensionError
        Numbers of items that differ.

    References
    ----------
    Zhao et al. 2025, "KaLM-Embedding-V2", arXiv 2506.20923, section on contrastive distillation.

    Examples
    --------
    >>> import torch
    >>> x = torch.eye(3)
    >>> float(batch_kl(x, x, x, x))
    0.0
    """
    scorer = DenseScorer(similarity)
    check_shape(teacher_queries, (len(student_queries), None), name="teacher_queries", like=student_queries)
    check_shape(teacher_documents, (len(student_documents), None), name="teacher_documents", like=student_queries)

    def compare(queries: Tensor, documents: Tensor) -> Tensor:
        return scorer.pairs(scorer.prepare(Encoded(queries)), scorer.prepare(Encoded(documents)))

    with torch.no_grad():
        wanted = compare(teacher_queries, teacher_documents)
    return kl_divergence(
        compare(student_queries, student_documents),
        wanted,
        student_temperature=student_temperature,
        teacher_temperature=teacher_temperature,
    )


def embedding_distance(student: Tensor, teacher: Tensor, *, distance: str = "cosine") -> Tensor:
    """Distance between a student's and a teacher's embeddings of the same items.

    Parameters
    ----------
    student, teacher : Tensor of shape (n, d)
        Embeddings.
    distance : {"cosine", "mse", "l2"}, default "cosine"
        1 - cosine, squared error averaged over all entries, or Euclidean distance.

    Returns
    -------
    Tensor of shape ()
        Mean over the items.

    Raises
    ------
    DimensionError
        Shapes that differ.
    NonFiniteError
        NaN or infinity.

    References
    ----------
    Goswami et al. 2025, "Query Drift Compensation", arXiv 2506.00037, section 3 (cosine form).

    Examples
    --------
    >>> import torch
    >>> float(embedding_distance(torch.eye(2), torch.eye(2).flip(0)))
    1.0
    """
    check_choice(distance, ("cosine", "mse", "l2"), name="distance")
    check_shape(student, (None, None), name="student embeddings")
    check_shape(teacher, tuple(student.shape), name="teacher embeddings", like=student)
    check_finite({"student embeddings": student, "teacher embeddings": teacher})
    if student.dtype not in (torch.float32, torch.float64):
        student = student.float()
    teacher = teacher.detach().to(student.dtype)
    if distance == "mse":
        return functional.mse_loss(student, teacher)
    if distance == "l2":
        return torch.linalg.vector_norm(student - teacher, dim=-1).mean()
    return (1.0 - functional.cosine_similarity(student, teacher, dim=-1)).mean()


class EmbeddingDistillation(nn.Module):
    """`embedding_distance` to a teacher of another dimension, through a learned linear map.

    Parameters
    ----------
    dim : int
        Dimension of the student.
    teacher_dim : int, optional
        Dimension of the teacher. Left out, it is the student's and nothing is learned.
    distance : {"cosine", "mse", "l2"}, default "cosine"
        As in `embedding_distance`.

    Examples
    --------
    >>> import torch
    >>> loss = EmbeddingDistillation(4, 8)
    >>> loss({"student": torch.randn(2, 4), "teacher": torch.randn(2, 8)}).loss.item() > 0
    True
    """

    def __init__(self, dim: int, teacher_dim: int | None = None, *, distance: str = "cosine") -> None:
        super().__init__()
        self.distance = check_choice(distance, ("cosine", "mse", "l2"), name="distance")
        self.projection = nn.Identity() if teacher_dim is None else nn.Linear(dim, teacher_dim)

    def forward(self, batch: Mapping[str, Tensor]) -> LossOutput:
        """Compute the distance.

        Parameters
        ----------
        batch : mapping of str to Tensor
            ``student`` of shape (n, dim) and ``teacher`` of shape (n, teacher_dim).

        Returns
        -------
        LossOutput
            Mean distance.

        Raises
        ------
        InputError
            A missing field.
        DimensionError
            Shapes that differ.
        """
        student, teacher = _pair(batch)
        return LossOutput(embedding_distance(self.projection(student), teacher, distance=self.distance))


_KINDS = {
    "kl": kl_divergence,
    "list_net": list_net,
    "rank_net": rank_net,
    "margin_mse": margin_mse,
    "mse": score_mse,
}


class DistillationLoss(nn.Module):
    """A loss over scores of candidates, by name.

    Parameters
    ----------
    kind : {"kl", "list_net", "rank_net", "margin_mse", "mse"}, default "kl"
        `kl_divergence`, `list_net`, `rank_net`, `margin_mse` or `score_mse`.
    student_temperature, teacher_temperature : float, optional
        Of ``"kl"`` and ``"list_net"``, where they default to 1; the other kinds have none.

    Raises
    ------
    InputError
        An unknown kind, a temperature of 0 or less, or one for a kind without.

    Examples
    --------
    >>> import torch
    >>> loss = DistillationLoss("margin_mse")
    >>> float(loss({"student": torch.tensor([[1.0, 0.0]]), "teacher": torch.tensor([[9.0, 6.0]])}).loss)
    4.0
    """

    def __init__(
        self,
        kind: str = "kl",
        *,
        student_temperature: float | None = None,
        teacher_temperature: float | None = None,
    ) -> None:
        super().__init__()
        self.kind = check_choice(kind, tuple(_KINDS), name="kind")
        given = {"student_temperature": student_temperature, "teacher_temperature": teacher_temperature}
        self.temperatures = {name: check_positive(t, name=name) for name, t in given.items() if t is not None}
        if self.temperatures and kind not in ("kl", "list_net"):
            raise InputError(
                message(f"{sorted(self.temperatures)} with kind={kind!r}", "no temperature", "leave it out")
            )

    def forward(self, batch: Mapping[str, Tensor]) -> LossOutput:
        """Compute the loss.

        Parameters
        ----------
        batch : mapping of str to Tensor
            ``student`` and ``teacher`` scores of shape (n, c), optionally ``mask`` of shape (n, c).

        Returns
        -------
        LossOutput
            The loss of the kind chosen.

        Raises
        ------
        InputError
            A missing field, or what the kind refuses.
        """
        student, teacher = _pair(batch)
        return LossOutput(_KINDS[self.kind](student, teacher, mask=batch.get("mask"), **self.temperatures))  # type: ignore[arg-type, operator]


def _pair(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    missing = [name for name in ("student", "teacher") if name not in batch]
    if missing:
        raise InputError(message(f"a batch without {missing}", "student and teacher", "add them"))
    return batch["student"], batch["teacher"]
