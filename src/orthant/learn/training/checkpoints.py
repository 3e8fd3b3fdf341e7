"""The state of a training on disk: written aside and renamed, verified when read, free of pickle."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from orthant.artifact import read_artifact, sync_folder, write_artifact
from orthant.errors import InputError, NotFoundError, OrthantError, StoreCorruptedError, message, warn

__all__ = [
    "KIND",
    "Checkpoint",
    "capture_random",
    "check_same_plan",
    "latest_checkpoint",
    "list_checkpoints",
    "mean_weights",
    "random_states",
    "random_tensors",
    "read_checkpoint",
    "restore_random_states",
    "seed_everything",
    "tidy_checkpoints",
    "write_checkpoint",
]

KIND = "training.checkpoint"
_PREFIX = "checkpoint-"
# NumPy has no bfloat16: the bits travel as int16 and the true dtype stands in the settings.
_AS_BITS = {"torch.bfloat16": (torch.bfloat16, torch.int16)}

Tensors = dict[str, torch.Tensor]


@dataclass
class Checkpoint:
    """The whole state of a training between two steps.

    Parameters
    ----------
    stage : int
        Number of the stage that goes on.
    step : int
        Steps of it that are done.
    tensors : dict of str to torch.Tensor
        Any shapes; names begin with ``model.``, ``loss.``, ``optimizer.``, ``callbacks.``, ``random.`` or ``history.``.
    state : dict
        JSON values.
    path : Path, optional
        Where it was read from.
    """

    stage: int
    step: int
    tensors: Tensors = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    def part(self, name: str) -> Tensors:
        """Return the tensors of one part without its prefix.

        Parameters
        ----------
        name : str
            Such as ``"model"``.

        Returns
        -------
        dict of str to torch.Tensor
            Empty when there are none.
        """
        return {key[len(name) + 1 :]: value for key, value in self.tensors.items() if key.startswith(f"{name}.")}


def write_checkpoint(folder: str | Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint so that it is there as a whole or not at all.

    Parameters
    ----------
    folder : str or Path
        The folder of the run; created if missing.
    checkpoint : Checkpoint
        The state.

    Returns
    -------
    Path
        The folder ``checkpoint-SSS-NNNNNNNN`` in it, for stage and step.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{_PREFIX}{checkpoint.stage:03d}-{checkpoint.step:08d}"
    aside = folder / f".{target.name}.{os.getpid()}.partial"
    shutil.rmtree(aside, ignore_errors=True)
    arrays, dtypes = _to_arrays(checkpoint.tensors)
    # An artefact keeps arrays of at least one axis: step counts and scales are told apart by name.
    scalars = sorted(name for name, tensor in checkpoint.tensors.items() if tensor.ndim == 0)
    config = {"stage": checkpoint.stage, "step": checkpoint.step, "state": checkpoint.state}
    config |= {"dtypes": dtypes, "scalars": scalars}
    write_artifact(aside, kind=KIND, arrays=arrays, config={**config, "state_sha256": _digest(config)})
    if target.exists():
        shutil.rmtree(target)
    os.replace(aside, target)
    sync_folder(folder)
    return target


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read one checkpoint and verify it.

    Parameters
    ----------
    path : str or Path
        A folder that ``write_checkpoint`` made.

    Returns
    -------
    Checkpoint
        With tensors on the CPU.

    Raises
    ------
    NotFoundError
        Nothing there.
    StoreCorruptedError
        The files are not as they were written.
    InputError
        An artefact of another kind.
    """
    arrays, config = read_artifact(path, kind=KIND)
    content = {key: config.get(key) for key in ("stage", "step", "dtypes", "scalars", "state")}
    if _digest(content) != config.get("state_sha256"):
        raise StoreCorruptedError(
            message(f"{path} with settings of a wrong checksum", "the text that was saved", "use an earlier checkpoint")
        )
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    for name, dtype in config["dtypes"].items():
        tensors[name] = tensors[name].view(_AS_BITS[dtype][0])
    for name in config["scalars"]:
        tensors[name] = tensors[name].reshape(())
    return Checkpoint(int(config["stage"]), int(config["step"]), tensors, config["state"], Path(path))


def list_checkpoints(folder: str | Path, *, stage: int | None = None) -> list[Path]:
    """Return the checkpoints of a run, oldest first, unread.

    Parameters
    ----------
    folder : str or Path
        The folder of the run; may be missing.
    stage : int, optional
        Of this stage only.

    Returns
    -------
    list of Path
        In order of stage and step.
    """
    pattern = f"{_PREFIX}*" if stage is None else f"{_PREFIX}{stage:03d}-*"
    return sorted(path for path in Path(folder).glob(pattern) if path.is_dir())


def latest_checkpoint(folder: str | Path) -> Checkpoint | None:
    """Return the newest checkpoint that can be read, passing over damaged ones with a warning.

    Parameters
    ----------
    folder : str or Path
        The folder of the run; may be missing.

    Returns
    -------
    Checkpoint or None
        None when there is none.
    """
    for path in reversed(list_checkpoints(folder)):
        try:
            return read_checkpoint(path)
        except (OrthantError, OSError) as error:
            warn(f"{path.name} is passed over: {error}")
    return None


def tidy_checkpoints(folder: str | Path, *, keep: int) -> None:
    """Remove all but the newest checkpoints, and what killed writers left aside.

    Parameters
    ----------
    folder : str or Path
        The folder of the run.
    keep : int
        How many stay, at least 1.
    """
    for aside in Path(folder).glob(f".{_PREFIX}*.partial"):
        shutil.rmtree(aside, ignore_errors=True)
    for path in list_checkpoints(folder)[:-keep]:
        shutil.rmtree(path, ignore_errors=True)


def mean_weights(paths: list[Path]) -> Tensors:
    """Return the mean of the weights of several checkpoints, tensor by tensor.

    Parameters
    ----------
    paths : list of Path
        Checkpoints of one stage; a damaged one is passed over with a warning.

    Returns
    -------
    dict of str to torch.Tensor
        By name of the model's state; of the dtype and shape that they have. Whole numbers are the last checkpoint's.

    Raises
    ------
    NotFoundError
        None could be read.

    Notes
    -----
    ``w = (1 / n) sum_i w_i``, added up in float64.

    References
    ----------
    Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, arXiv 1803.05407, section 3.1.
    """
    total: Tensors = {}
    last: Tensors = {}
    count = 0
    for path in paths:
        try:
            last = read_checkpoint(path).part("model")
        except (OrthantError, OSError) as error:
            warn(f"{path.name} is left out of the average: {error}")
            continue
        count += 1
        for name, tensor in last.items():
            if tensor.is_floating_point():
                total[name] = total[name].add_(tensor.double()) if name in total else tensor.double()
    if not count:
        raise NotFoundError(message("no readable checkpoint", "at least one to average", "train again"))
    return {name: (total[name] / count).to(tensor.dtype) if name in total else tensor for name, tensor in last.items()}


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, NumPy and torch.

    Parameters
    ----------
    seed : int
        From 0 to 2**32 - 1.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def capture_random(device: torch.device) -> tuple[Any, ...]:
    """Return the states of the generators of Python, NumPy, torch and the device, as they come.

    Parameters
    ----------
    device : torch.device
        Where the model is.

    Returns
    -------
    tuple
        For ``random_tensors``; taken in every step, so nothing is converted yet.
    """
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return random.getstate(), np.random.get_state(legacy=True), torch.get_rng_state(), cuda


def random_tensors(captured: tuple[Any, ...]) -> Tensors:
    """Return captured states as tensors.

    Parameters
    ----------
    captured : tuple
        What ``capture_random`` returned.

    Returns
    -------
    dict of str to torch.Tensor
        Of fixed shapes, so that processes can exchange them.
    """
    (_, words, gauss), (_, key, position, has_gauss, cached), plain, cuda = captured
    states = {
        "torch": plain,
        "numpy": torch.from_numpy(np.asarray(key, dtype=np.int64)),
        "numpy_rest": torch.tensor([float(position), float(has_gauss), float(cached)], dtype=torch.float64),
        "python": torch.tensor(words, dtype=torch.int64),
        "python_rest": torch.tensor([float(gauss is not None), gauss or 0.0], dtype=torch.float64),
    }
    return states if cuda is None else {**states, "cuda": cuda}


def random_states(device: torch.device) -> Tensors:
    """Return the states of the generators of Python, NumPy, torch and the device.

    Parameters
    ----------
    device : torch.device
        Where the model is.

    Returns
    -------
    dict of str to torch.Tensor
        Of fixed shapes, so that processes can exchange them.
    """
    return random_tensors(capture_random(device))


def restore_random_states(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Set the generators to what ``random_states`` returned.

    Parameters
    ----------
    states : mapping of str to torch.Tensor
        The states, of the shapes they came in.
    device : torch.device
        Where the model is.
    """
    torch.set_rng_state(states["torch"])
    position, has_gauss, cached = states["numpy_rest"].tolist()
    key = states["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", key, int(position), int(has_gauss), cached))
    has, gauss = states["python_rest"].tolist()
    random.setstate((3, tuple(states["python"].tolist()), gauss if has else None))
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


def check_same_plan(checkpoint: Checkpoint, plan: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that another plan has written.

    Parameters
    ----------
    checkpoint : Checkpoint
        What is to be resumed.
    plan : mapping
        Seed, processes and settings of the stages, as JSON values.

    Raises
    ------
    InputError
        They differ; the error says where.
    """
    before, now = _flat(checkpoint.state.get("plan", {})), _flat(json.loads(json.dumps(plan)))
    differing = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    if differing:
        shown = ", ".join(f"{key} ({before.get(key)!r} then, {now.get(key)!r} now)" for key in differing[:4])
        raise InputError(
            message(
                f"checkpoints of another plan: {shown}",
                "the plan that wrote them",
                "choose another folder, or pass resume=False to start again",
            )
        )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {
            k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}.{key}" if prefix else key).items()
        }
    if isinstance(value, list):
        return {k: v for i, item in enumerate(value) for k, v in _flat(item, f"{prefix}[{i}]").items()}
    return {prefix: value}


def _to_arrays(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    arrays, dtypes = {}, {}
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu()
        if str(plain.dtype) in _AS_BITS:
            dtypes[name] = str(plain.dtype)
            plain = plain.contiguous().view(_AS_BITS[dtypes[name]][1])
        arrays[name] = plain.numpy()
    return arrays, dtypes


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
