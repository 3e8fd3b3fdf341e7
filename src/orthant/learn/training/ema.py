"""A slowly following copy of a model: the teacher of self-distillation, and the average that training can end with."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal

import torch

from orthant.errors import InputError, message
from orthant.validate import check_choice, check_count, check_fraction

__all__ = ["EMATeacher"]


class EMATeacher(torch.nn.Module):
    """A copy of a model whose weights follow the model's by exponential moving average; no gradient reaches it.

    Put one into a loss as a submodule: every training run updates the teachers that it finds in the loss, after each
    step. Alone, call ``update`` yourself.

    Parameters
    ----------
    model : torch.nn.Module
        The student, copied now and read at every update.
    momentum : float, default 0.999
        Share of the teacher that is kept at an update, from 0 to 1. Too small: the teacher is the student; too large:
        it never leaves its start.
    schedule : {"constant", "cosine"}, default "constant"
        "cosine" moves the momentum from `momentum` to 1 over `steps` updates.
    steps : int, optional
        Updates of the cosine schedule; needed by it, refused by the other.

    Raises
    ------
    InputError
        A value out of range, or `steps` that do not fit the schedule.

    Notes
    -----
    ``t <- m t + (1 - m) s`` for every weight. Cosine: ``m_k = 1 - (1 - m_0) (cos(pi k / K) + 1) / 2``. With constant m
    and students s_1 .. s_n: ``t_n = m^n t_0 + (1 - m) sum_i m^(n-i) s_i``. Buffers are copied.

    References
    ----------
    Tarvainen and Valpola, Mean teachers are better role models, arXiv 1703.01780, section 2. Grill et al., Bootstrap
    your own latent, arXiv 2006.07733, section 3.3 (the cosine schedule).

    Examples
    --------
    >>> student = torch.nn.Linear(2, 1, bias=False)
    >>> teacher = EMATeacher(student, momentum=0.5)
    >>> before = student.weight.detach().clone()
    >>> with torch.no_grad():
    ...     _ = student.weight.add_(1.0)
    >>> teacher.update()
    >>> torch.allclose(teacher.teacher.weight, before + 0.5)
    True
    """

    updates: torch.Tensor

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        momentum: float = 0.999,
        schedule: Literal["constant", "cosine"] = "constant",
        steps: int | None = None,
    ) -> None:
        super().__init__()
        self.momentum = check_fraction(momentum, name="momentum")
        self.schedule = check_choice(schedule, ("constant", "cosine"), name="schedule")
        if (steps is not None) != (schedule == "cosine"):
            raise InputError(
                message(
                    f"steps={steps} with schedule={schedule!r}",
                    "steps for 'cosine' and none for 'constant'",
                    "give the number of updates to the cosine schedule only",
                )
            )
        self.steps = check_count(steps, name="steps") if steps is not None else None
        self.teacher = copy.deepcopy(model).requires_grad_(False).eval()
        # A plain list: as a submodule the student's weights would be counted and saved twice.
        self._student = [model]
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def momentum_at(self, update: int) -> float:
        """Return the momentum of an update.

        Parameters
        ----------
        update : int
            Number of the update, from 0.

        Returns
        -------
        float
            From 0 to 1.
        """
        if self.steps is None:
            return self.momentum
        done = min(update / self.steps, 1.0)
        return 1.0 - (1.0 - self.momentum) * (math.cos(math.pi * done) + 1.0) / 2.0

    @torch.no_grad()
    def update(self) -> None:
        """Move the teacher towards the student by one step."""
        momentum = self.momentum_at(int(self.updates))
        student = self._student[0]
        for mine, other in zip(self.teacher.parameters(), student.parameters(), strict=True):
            mine.lerp_(other.detach().to(mine.dtype), 1.0 - momentum)
        for kept, current in zip(self.teacher.buffers(), student.buffers(), strict=True):
            kept.copy_(current)
        self.updates += 1

    def train(self, mode: bool = True) -> EMATeacher:
        """Keep the teacher in evaluation mode, whatever the loss around it is set to.

        Parameters
        ----------
        mode : bool, default True
            Ignored.

        Returns
        -------
        EMATeacher
            Itself.
        """
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        """Return the teacher's output for the inputs.

        Parameters
        ----------
        *inputs
            As the student takes them.

        Returns
        -------
        Any
            As the student returns it, without gradient.
        """
        return self.teacher(*inputs)
