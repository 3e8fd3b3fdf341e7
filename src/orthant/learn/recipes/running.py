"""Running a recipe: train, judge beside the base model, save, export, and judge what was exported."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from orthant.artifact import write_bytes_atomically
from orthant.errors import InputError, message
from orthant.learn.recipes.judging import JudgedPairs, judge, judged_pairs
from orthant.learn.recipes.models import build_base, build_model, build_stages
from orthant.learn.recipes.planning import TrainingPlan, plan_training
from orthant.learn.recipes.schema import Recipe
from orthant.learn.recipes.tables import TrainingData, load_training_data
from orthant.learn.training.curriculum import Curriculum
from orthant.learn.training.validation import Validation
from orthant.measures.ranking import RankingScores
from orthant.measures.significance import compare_arms
from orthant.types import Index

__all__ = ["RecipeRun", "TrainingReport"]

_RECIPE = "recipe.json"
_REPORT = "report.json"

Say = Callable[[str], None]


@dataclass(frozen=True)
class TrainingReport:
    """What a training brought.

    Attributes
    ----------
    name, metric : str
        Of the recipe.
    scores : dict of str to dict of str to float
        By data set: mean of the metric on held-out queries by arm (``base``, ``trained``, ``exported``).
    comparisons : dict of str to list of dict
        By data set: each arm against the base, with interval and p-value.
    judged : dict of str to dict of str to int
        Queries and documents by data set.
    steps : int
        Trained, those of an earlier, resumed run included.
    stopped : str
        Why the training ended early; empty when it did not.
    paths : dict of str to str
        ``model``, ``export``, ``history``, by the folder of the run.
    export : dict
        What the check of the export found; empty without one.
    seconds : dict of str to float
        By part, of this process.
    """

    name: str
    metric: str
    scores: dict[str, dict[str, float]]
    comparisons: dict[str, list[dict[str, Any]]]
    judged: dict[str, dict[str, int]]
    steps: int
    stopped: str
    paths: dict[str, str]
    export: dict[str, Any]
    seconds: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return dict(vars(self))


class RecipeRun:
    """One recipe in one folder: planned, trained, resumed, judged and exported.

    Parameters
    ----------
    recipe : Recipe
        What is trained.
    folder : str or Path
        Of checkpoints, model, history and export; made if missing. A folder that holds a run of another recipe is
        refused.
    make_index : callable of int, optional
        Gives an empty index of a dimension; needed where negatives are mined.
    say : callable of str, optional
        Told what is being done.

    Raises
    ------
    InputError
        A folder of another recipe, or one that holds other things.

    Notes
    -----
    Killed at any point, the same call goes on from the newest checkpoint, and gives the model that an undisturbed run
    gives.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: str | Path,
        *,
        make_index: Callable[[int], Index] | None = None,
        say: Say | None = None,
    ) -> None:
        self.recipe = recipe
        self.folder = Path(folder)
        self._make_index = make_index
        self._say: Say = say or (lambda text: None)
        self._seconds: dict[str, float] = {}
        self._check_folder()

    def _check_folder(self) -> None:
        if not self.folder.exists():
            return
        known = self.folder / _RECIPE
        if not known.is_file():
            if any(self.folder.iterdir()):
                raise InputError(
                    message(
                        f"the folder {self.folder}, which holds other things", "an empty or a new folder", "choose one"
                    )
                )
            return
        if json.loads(known.read_text(encoding="utf-8")) != self._identity():
            raise InputError(
                message(
                    f"the folder {self.folder}, which holds a run of another recipe",
                    "the recipe it was begun with",
                    "choose another folder, or remove this one",
                )
            )

    def _identity(self) -> dict[str, Any]:
        # What only says how results are shown or kept may change between a run and its resumption.
        values = {key: value for key, value in self.recipe.as_dict().items() if key not in ("threads", "output")}
        return json.loads(json.dumps(values))

    @cached_property
    def data(self) -> dict[str, TrainingData]:
        """The tables, with mined negatives."""
        return self._timed(
            "data",
            lambda: load_training_data(
                self.recipe, encoder=self._miner if self._make_index else None, make_index=self._make_index
            ),
        )

    @cached_property
    def model(self) -> Any:
        """The model: before ``train`` as it starts, afterwards trained."""
        return self._timed("model", lambda: build_model(self.recipe.model, seed=self.recipe.seed))

    @cached_property
    def _base(self) -> Any:
        return build_base(self.recipe.model)

    def _miner(self) -> Any:
        from orthant.encoders.sentence_transformers import SentenceTransformerEncoder

        self._say("mining negatives with the base model")
        return SentenceTransformerEncoder(self._base)

    def _timed(self, part: str, work: Callable[[], Any]) -> Any:
        begin = time.perf_counter()
        out = work()
        self._seconds[part] = round(self._seconds.get(part, 0.0) + time.perf_counter() - begin, 2)
        return out

    def plan(self, *, measure: bool = True) -> TrainingPlan:
        """Say what the recipe does and costs; nothing is written.

        Parameters
        ----------
        measure : bool, default True
            Time a few passes; see ``plan_training``.

        Returns
        -------
        TrainingPlan
            The plan.
        """
        return plan_training(self.recipe, self.model, self.data, measure=measure)

    def train(self, *, resume: bool = True, progress: bool = False) -> TrainingReport:
        """Train, or go on training; judge, save and export.

        Parameters
        ----------
        resume : bool, default True
            Go on from checkpoints in the folder. False refuses a folder that has some.
        progress : bool, default False
            Show bars on stderr.

        Returns
        -------
        TrainingReport
            Also kept as ``report.json``.

        Raises
        ------
        InputError
            Data or model that do not fit, or an export that judges lower by more than the recipe allows; the trained
            model is kept.
        """
        plan_training(self.recipe, self.model, self.data, measure=False)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(self.folder / _RECIPE, json.dumps(self._identity(), indent=2).encode())
        self._say(f"training {self.recipe.name}")
        curriculum = Curriculum(
            build_stages(self.recipe, self.data),
            seed=self.recipe.seed,
            checkpoint_every=self.recipe.output.checkpoint_every,
            threads=self.recipe.threads,
        )
        history = self._timed(
            "training",
            lambda: curriculum.run(
                self.model,
                self.folder / "checkpoints",
                resume=resume,
                validate=self._validation(),
                progress=progress,
            ),
        )
        history.to_jsonl(self.folder / "history.jsonl")
        self._declare_widths()
        self.model.save_pretrained(str(self.folder / "model"))
        report = self._report(history)
        text = json.dumps(report.to_dict(), indent=2, default=float)
        write_bytes_atomically(self.folder / _REPORT, text.encode())
        self._refuse_a_poor_export(report)
        return report

    def tasks(self, split: str) -> dict[str, JudgedPairs]:
        """Return the retrieval tasks of a split, by data set.

        Parameters
        ----------
        split : {"train", "dev", "test"}
            Where queries are taken of.

        Returns
        -------
        dict of str to JudgedPairs
            The same for the same recipe.
        """
        wanted = self.recipe.evaluation
        return {
            name: judged_pairs(
                each.splits, split, queries=wanted.queries, documents=wanted.documents, seed=self.recipe.seed
            )
            for name, each in self.data.items()
        }

    def _declare_widths(self) -> None:
        """Write into the model's ``config.json`` at which widths its vectors may be cut; servers read it there."""
        widths = self.recipe.stages[-1].loss.matryoshka
        config = getattr(getattr(self.model[0], "auto_model", None), "config", None)
        if widths is not None and config is not None:
            config.matryoshka_dimensions = sorted(widths)

    def _validation(self) -> Validation | None:
        wanted = self.recipe.evaluation
        if wanted.every is None:
            return None
        tasks = self.tasks("dev")

        def measure(model: Any) -> Mapping[str, float]:
            values = [judge(model, task, wanted.metric).mean for task in tasks.values()]
            return {wanted.metric: sum(values) / len(values)}

        return Validation(
            measure,
            metrics=[wanted.metric],
            monitor=wanted.metric if wanted.keep_best else None,
            every=wanted.every,
            keep_best=wanted.keep_best,
        )

    def _report(self, history: Any) -> TrainingReport:
        metric, tasks = self.recipe.evaluation.metric, self.tasks("test")
        exported, checked = self._export()
        arms = {"base": self._base, "trained": self.model, **({"exported": exported} if exported else {})}
        found: dict[str, dict[str, RankingScores]] = {}
        for name, task in tasks.items():
            self._say(f"judging on {name}: {len(task.queries):,} queries, {len(task.documents):,} documents")
            found[name] = {
                arm: self._timed(f"judging {arm}", partial(judge, m, task, metric)) for arm, m in arms.items()
            }
        return TrainingReport(
            name=self.recipe.name,
            metric=metric,
            scores={name: {arm: round(one.mean, 5) for arm, one in each.items()} for name, each in found.items()},
            comparisons={name: _compared(each, metric, self.recipe.seed) for name, each in found.items()},
            judged={n: {"queries": len(t.queries), "documents": len(t.documents)} for n, t in tasks.items()},
            steps=len(history),
            stopped=str(history.stopped or ""),
            paths={"model": "model", "history": "history.jsonl", **({"export": "export"} if exported else {})},
            export=checked,
            seconds=dict(self._seconds),
        )

    def _export(self) -> tuple[Any, dict[str, Any]]:
        precision = self.recipe.output.export
        if precision == "none":
            return None, {}
        import shutil

        from orthant.encoders.registry import load_encoder, load_token_encoder
        from orthant.learn.export.encoder import export_encoder

        self._say(f"exporting to {precision}")
        target = self.folder / "export"
        # A run that was killed after its export writes it anew: the check is what counts.
        shutil.rmtree(target, ignore_errors=True)
        texts = [text for each in self.data.values() for row in each.rows[:8] for text in row.values()]
        report = self._timed(
            "export",
            lambda: export_encoder(self.model, target, precision=precision, check_texts=texts, min_cosine=-1.0),
        )
        if self.recipe.model.kind == "tokens":
            return load_token_encoder(target), report.to_dict() | {"path": "export"}
        # By the folder of the run: a report may be read elsewhere.
        return load_encoder(target), report.to_dict() | {"path": "export"}

    def _refuse_a_poor_export(self, report: TrainingReport) -> None:
        most = self.recipe.output.most_lost
        for name, scores in report.scores.items():
            lost = scores["trained"] - scores.get("exported", scores["trained"])
            if lost > most:
                raise InputError(
                    message(
                        f"an export that loses {lost:.4f} {report.metric} on {name}",
                        f"at most {most} (output.most_lost)",
                        "export float32, or allow more; the trained model is kept",
                    )
                )


def _compared(arms: Mapping[str, RankingScores], metric: str, seed: int) -> list[dict[str, Any]]:
    found = compare_arms(arms, baseline="base", metric=metric, seed=seed)
    return [
        {
            "arm": c.arm,
            "difference": round(float(c.difference), 5),
            "interval": [round(float(c.low), 5), round(float(c.high), 5)],
            "p_value": float(c.p_value),
            "queries": int(c.queries),
        }
        for c in found.comparisons
    ]
