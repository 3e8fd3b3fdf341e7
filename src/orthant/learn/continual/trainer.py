"""The trainer: classes come task by task, the model goes on learning, and old galleries stay of use."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from dataclasses import asdict
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch

from orthant.encoders.projected.encoder import ProjectedEncoder
from orthant.errors import DimensionError, InputError, message
from orthant.learn.continual.classifier import make_prototypes, served
from orthant.learn.continual.generations import (
    CompatibilityReport,
    Generation,
    network_fingerprint,
    template_accuracy,
)
from orthant.learn.continual.memory import RehearsalMemory
from orthant.learn.continual.objective import Keep, TrainedPrototypeHead, make_backbone, train_prototypes
from orthant.learn.training.history import History
from orthant.measures.compatibility import average_compatibility, average_multimodel_accuracy, cross_test
from orthant.nn.heads import FixedPrototypeHead
from orthant.transforms.alignment.drift import DriftCompensator
from orthant.transforms.alignment.mean_shift import MeanShift
from orthant.types import FloatArray
from orthant.validate import as_vectors, check_choice, check_count, check_fraction

__all__ = ["ContinualTrainer"]


class ContinualTrainer:
    """Train a model on classes that come task by task, so that galleries of earlier models can still be searched.

    Every class gets a fixed direction when it first comes, some items of old classes are shown again, and features are
    held next to those of the model before. Each task ends with a `Generation`. Use it where you train with labels and
    cannot encode the gallery again; for text encoders without classes see `DriftCompensator` and ``upgrade``.

    Parameters
    ----------
    n_prototypes : int, default 64
        Classes there can ever be. The simplex makes features one narrower than that; too few are refused later.
    prototypes : {"auto", "simplex", "equiangular", "random"}, default "simplex"
        Kind of the directions; "equiangular" where ``dim`` is smaller.
    dim : int, optional
        Width of the features; default one less than ``n_prototypes``.
    reserved : int, default 0
        Directions at the beginning that classes of a pretraining have taken.
    trained : bool, default False
        Let the directions move: an ordinary head, for comparison.
    keep : {"higher-order", "distillation", "none"}, default "higher-order"
        What holds features: a contrast to old features of other classes, the cosine to the own old feature, nothing.
    weight : float, default 0.9
        Share of it in the loss, from 0 to below 1. Large keeps more and learns new classes less well.
    keep_scale : float, default 10.0
        Factor on its cosines.
    rehearsal : int, default 20
        Items kept of each class.
    hidden : sequence of int, default (128,)
        Widths of the network between input and features.
    scale : float, default 10.0
        Factor on the cosines of the head.
    epochs : float, default 30
        Passes per task.
    batch_size : int, default 128
        Rows of a step; about half of them are shown again.
    learning_rate : float, default 2e-3
        Peak rate of the first task.
    later_rate : float, optional
        Peak rate of the others; default as the first. Smaller moves features less.
    weight_decay : float, default 1e-4
        Decay of matrices.
    seed : int, default 0
        Of everything random.

    Attributes
    ----------
    generations : list of Generation
        One per task.
    histories : list of History
        One per task.
    classes : list
        In the order of their directions.

    Raises
    ------
    InputError
        A setting out of range.

    Notes
    -----
    ``L = (1 - weight) cross-entropy + weight L_keep`` from the second task on. Cost: a training per task, of twice its
    items.

    References
    ----------
    Biondi et al.: Stationary Representations: Optimally Approximating Compatibility and Implications for Improved
    Model Replacements. CVPR 2024, arXiv 2405.02581, sections 3 and 4.
    Query Drift Compensation. CoLLAs 2025, arXiv 2506.00037, section 4.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> def task(*classes):
    ...     y = np.repeat(classes, 40)
    ...     return rng.standard_normal((len(y), 6)) + 4 * np.eye(6)[y], y
    >>> trainer = ContinualTrainer(n_prototypes=8, hidden=(16,), epochs=10)
    >>> first, second = trainer.learn(*task(0, 1)), trainer.learn(*task(2, 3))
    >>> gallery, new = first.encode(task(0, 1, 2, 3)[0]), second.encode(task(0, 1, 2, 3)[0])
    >>> second.classes, gallery.shape == new.shape
    ((0, 1, 2, 3), True)
    """

    def __init__(
        self,
        *,
        n_prototypes: int = 64,
        prototypes: str = "simplex",
        dim: int | None = None,
        reserved: int = 0,
        trained: bool = False,
        keep: Keep = "higher-order",
        weight: float = 0.9,
        keep_scale: float = 10.0,
        rehearsal: int = 20,
        hidden: Sequence[int] = (128,),
        scale: float = 10.0,
        epochs: float = 30,
        batch_size: int = 128,
        learning_rate: float = 2e-3,
        later_rate: float | None = None,
        weight_decay: float = 1e-4,
        seed: int = 0,
    ) -> None:
        self.n_prototypes = check_count(n_prototypes, name="n_prototypes", minimum=2)
        self.reserved = check_count(reserved, name="reserved", minimum=0, maximum=n_prototypes - 1)
        if check_fraction(weight, name="weight") == 1.0:
            raise InputError(message("weight=1.0", "below 1, so that classes are learned at all", "use 0.9"))
        self._kept = {
            "keep": check_choice(keep, get_args(Keep), name="keep"),
            "weight": float(weight),
            "scale": keep_scale,
        }
        self._table = make_prototypes(prototypes, n_prototypes, dim, None, seed=seed)
        self._head = (TrainedPrototypeHead if trained else FixedPrototypeHead)(self._table, scale=scale)
        self._training: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "weight_decay": weight_decay}
        self._rates = learning_rate, learning_rate if later_rate is None else later_rate
        self.hidden = tuple(hidden)
        self.seed = seed
        self.memory = RehearsalMemory(rehearsal, seed=seed)
        self.generations: list[Generation] = []
        self.histories: list[History] = []
        self.classes: list[Hashable] = []
        self._backbone: torch.nn.Module | None = None
        self._dim_in: int | None = None

    def learn(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Generation:
        """Train on the items of a task, and on some of earlier ones.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Items of new classes, of known ones, or of both.
        y : array-like of shape (n,)
            Their classes.

        Returns
        -------
        Generation
            The model after this task. The trainer goes on from it.

        Raises
        ------
        InputError
            No items, more classes than directions, NaN or infinity. Nothing was trained then.
        DimensionError
            Unequal lengths, or another width than before.
        """
        rows, labels = as_vectors(X, dim=self._dim_in), np.asarray(y)
        if labels.shape != (len(rows),):
            raise DimensionError(message(f"y of shape {labels.shape} for {len(rows)} rows", "one each", "label them"))
        if not len(rows):
            raise InputError(message("a task without items", "some of each class", "leave the task out"))
        new = [name for name in np.unique(labels).tolist() if name not in self.classes]
        if self.reserved + len(self.classes) + len(new) > self.n_prototypes:
            raise InputError(
                message(
                    f"{len(self.classes) + len(new)} classes for {self.n_prototypes - self.reserved} free prototypes",
                    "one each",
                    "begin anew with a larger n_prototypes: directions cannot be added without moving the old ones",
                )
            )
        self.classes += new
        self._dim_in = rows.shape[1]
        first = self._backbone is None
        if self._backbone is None:
            self._backbone = make_backbone(rows.shape[1], self.hidden, self._table.shape[1], seed=self.seed)
        before = None if first else served(self._backbone)
        self.histories.append(self._train(rows, labels.tolist(), before))
        self.memory.add(rows, labels)
        self.generations.append(self._generation(rows))
        return self.generations[-1]

    def replace(self, backbone: torch.nn.Module) -> None:
        """Go on from another model, trained elsewhere towards the same directions.

        Parameters
        ----------
        backbone : torch.nn.Module
            Takes the same rows and gives features of the same width; of layers that ``export_network`` knows. It is
            copied. The next ``learn`` holds features next to *its* features.

        Raises
        ------
        InputError
            A module that cannot be served, or one of another width.
        """
        copied = copy.deepcopy(backbone)
        network = served(copied)
        if network.dim != self._table.shape[1] or self._dim_in not in (None, network.dim_in):
            raise InputError(
                message(
                    f"a model from {network.dim_in} to {network.dim} dimensions",
                    f"from {self._dim_in or 'any'} to {self._table.shape[1]}",
                    "train it with a head of the same prototypes",
                )
            )
        self._backbone = copied

    def queries(self, X: npt.ArrayLike, *, gallery: int, compensate: bool = False) -> FloatArray:
        """Return features of the newest model as a gallery of an older generation should be asked.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Queries.
        gallery : int
            Number of the generation that encoded it.
        compensate : bool, default False
            Take off the mean movement since. It helps where nothing held the features (``keep="none"``), and little
            or not at all where something did: measure.

        Returns
        -------
        ndarray of shape (n, dim), float32
            Of length 1 unless compensated.

        Raises
        ------
        InputError
            A number that no generation has.
        EncoderMismatchError
            Features that cannot be compared.
        """
        self._require(1)
        check_count(gallery, name="gallery", minimum=0, maximum=len(self.generations) - 1)
        newest = self.generations[-1]
        newest.check_follows(self.generations[gallery])
        found = newest.encode(X)
        steps = [one.drift for one in self.generations[gallery + 1 :] if one.drift is not None]
        return found - np.sum(steps, axis=0, dtype=np.float32) if compensate and steps else found

    def compensator(self, *, gallery: int) -> DriftCompensator:
        """Return the mean movement from the newest model back to an older one as a map with fingerprints.

        Parameters
        ----------
        gallery : int
            Number of an older generation.

        Returns
        -------
        DriftCompensator
            For queries of the newest model over indexes of that generation.

        Raises
        ------
        InputError
            A number that no older generation has.
        """
        self._require(2)
        check_count(gallery, name="gallery", minimum=0, maximum=len(self.generations) - 2)
        steps = []
        for older, newer in zip(self.generations, self.generations[1:], strict=False):
            step = DriftCompensator(source=newer.fingerprint, target=older.fingerprint)
            step.drift_, step.explained_share_ = np.asarray(newer.drift), None
            step.n_features_in_ = step.n_features_out_ = len(step.drift_)
            steps.append(step)
        ends = self.generations[-1].fingerprint, self.generations[gallery].fingerprint
        return DriftCompensator.between(steps, source=ends[0], target=ends[1])

    def encoder(
        self,
        base: Any,
        *,
        generation: int = -1,
        name: str = "continual",
        report: CompatibilityReport | None = None,
    ) -> ProjectedEncoder:
        """Return a generation as an encoder of the items whose vectors it was trained on.

        A collection that was made by the encoder of an older generation is upgraded to it by
        ``collection.upgrade(encoder)``, which reads how far vectors have moved since and encodes nothing again.

        Parameters
        ----------
        base : str, Path, Encoder or model object
            What made the rows that ``learn`` got, as ``load_encoder`` takes.
        generation : int, default -1
            Number of the generation; the newest.
        name : str, default "continual"
            Of the model, the same for all generations; their number is added.
        report : CompatibilityReport, optional
            From :meth:`compatibility`; kept with the encoder.

        Returns
        -------
        ProjectedEncoder
            Of all items that the base takes; to be saved and loaded without torch.

        Raises
        ------
        InputError
            A number that no generation has, or a base of another width.
        """
        self._require(1)
        check_count(generation, name="generation", minimum=-len(self.generations), maximum=len(self.generations) - 1)
        number = range(len(self.generations))[generation]
        heads = [
            ProjectedEncoder(base, one.network, name=f"{name}-{one.number}") for one in self.generations[: number + 1]
        ]
        steps = [np.asarray(one.drift, dtype=np.float32) for one in self.generations[1 : number + 1]]
        follows = {head.fingerprint: np.sum(steps[i:], axis=0) for i, head in enumerate(heads[:-1])}
        told = None if report is None else {**asdict(report), "matrix": np.nan_to_num(report.matrix).tolist()}
        newest = self.generations[number]
        return ProjectedEncoder(base, newest.network, name=f"{name}-{number}", follows=follows, report=told)

    def compatibility(
        self,
        queries: npt.ArrayLike,
        labels: npt.ArrayLike,
        gallery: npt.ArrayLike,
        gallery_labels: npt.ArrayLike,
        *,
        compensate: bool = False,
    ) -> CompatibilityReport:
        """Judge every model against every gallery, to see whether replacing is worth it while old galleries stay.

        Parameters
        ----------
        queries : array-like of shape (n, d)
            Items that no task saw.
        labels : array-like of shape (n,)
            Their classes, also such as have not come yet.
        gallery : array-like of shape (m, d)
            Items that each model encodes as its gallery.
        gallery_labels : array-like of shape (m,)
            Their classes.
        compensate : bool, default False
            Take the mean movement between the two models from the queries.

        Returns
        -------
        CompatibilityReport
            Shares of queries that are nearest to the mean of their class.

        Raises
        ------
        InputError
            Fewer than two generations.
        """
        self._require(2)
        asked = [one.encode(queries) for one in self.generations]
        stored = [one.encode(gallery) for one in self.generations]
        drifts = [np.zeros(self._table.shape[1]) if one.drift is None else one.drift for one in self.generations]

        def score(i: int, j: int) -> float:
            rows = asked[i] - np.sum(drifts[j + 1 : i + 1], axis=0) if compensate and i > j else asked[i]
            return template_accuracy(rows, labels, stored[j], gallery_labels)

        matrix = cross_test(score, asked, stored, names=True)
        return CompatibilityReport(
            matrix, average_compatibility(matrix), average_multimodel_accuracy(matrix), float(matrix[-1, -1])
        )

    def _require(self, least: int) -> None:
        if len(self.generations) < least:
            given, wanted = f"{len(self.generations)} generation(s)", f"{least} at least"
            raise InputError(message(given, wanted, "learn another task" if self.generations else "learn a task first"))

    def _train(self, rows: FloatArray, labels: list[Hashable], before: Any) -> History:
        if before is not None:
            more, names = self.memory.sample(len(rows))
            if names:
                rows, labels = np.concatenate([rows, more]).astype(np.float32), [*labels, *names]
        vertex = {name: self.reserved + i for i, name in enumerate(self.classes)}
        columns: dict[str, npt.NDArray[Any]] = {"x": rows, "y": np.array([vertex[name] for name in labels])}
        kept: dict[str, Any] = {"keep": "none"}
        if before is not None and self._kept["keep"] != "none":
            # Frozen and without augmentation, so once is enough.
            columns["previous"], kept = before.transform(rows), dict(self._kept)
        task = len(self.generations)
        backbone = self._backbone
        if backbone is None:
            raise InputError(message("a trainer without a model", "one", "call learn"))
        backbone.train()
        return train_prototypes(
            backbone,
            self._head,
            columns,
            name=f"task-{task}",
            learning_rate=self._rates[min(task, 1)],
            seed=self.seed + task,
            **self._training,
            **kept,
        )

    def _generation(self, rows: FloatArray) -> Generation:
        network = served(self._backbone)
        drift = None
        if self.generations:
            shift = MeanShift().fit(network.transform(rows), self.generations[-1].encode(rows))
            drift = -shift.shift_
        table = self._head.prototypes.detach().numpy().copy()
        return Generation(
            len(self.generations),
            network,
            network_fingerprint(network),
            tuple(self.classes),
            self.reserved,
            table / np.linalg.norm(table, axis=1, keepdims=True),
            drift,
        )
