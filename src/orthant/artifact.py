"""Learned things on disk: a folder with ``arrays.safetensors`` and ``config.json``.

``config.json`` names the ``kind``, the format version and the SHA-256 of the arrays. No pickle, no absolute path.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import platform
import re
import secrets
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import get_ident
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, NotFoundError, StoreCorruptedError, StoreVersionError, message

__all__ = [
    "ARTIFACT_CLASSES",
    "ARTIFACT_FORMAT",
    "aside",
    "aside_name",
    "check_new_folder",
    "load_artifact",
    "read_artifact",
    "staged_folder",
    "sync_folder",
    "write_artifact",
    "write_bytes_atomically",
    "written_aside",
]

ARTIFACT_FORMAT = 1
ARTIFACT_CLASSES = {
    "encoder.binary_paragraphs": "orthant.encoders.words.paragraphs.BinaryParagraphVectors",
    "encoder.concepts": "orthant.encoders.concepts.encoder.ConceptEncoder",
    "encoder.explicit": "orthant.encoders.concepts.association.ExplicitSemanticAnalysis",
    "encoder.folded": "orthant.encoders.glyphs.encoder.FoldedEncoder",
    "encoder.pictures": "orthant.encoders.composed.pictures.PictureTextEncoder",
    "encoder.projected": "orthant.encoders.projected.encoder.ProjectedEncoder",
    "encoder.records": "orthant.encoders.records.encoder.RecordEncoder",
    "encoder.senses": "orthant.encoders.words.senses.DisambiguatedSkipGram",
    "encoder.static": "orthant.encoders.static.StaticEncoder",
    "encoder.topics": "orthant.encoders.words.topics.TopicEncoder",
    "encoder.words": "orthant.encoders.words.vectors.WordVectors",
    "quantization.inverted": "orthant.quantization.inverted.IVFCodec",
    "quantization.itq": "orthant.quantization.binary.signs.ITQ",
    "quantization.low_rank_vq": "orthant.quantization.lowrank.LowRankVQMatrix",
    "quantization.lvq": "orthant.quantization.lvq.LVQ",
    "quantization.product": "orthant.quantization.product.ProductQuantizer",
    "quantization.rabitq": "orthant.quantization.binary.rabitq.RaBitQ",
    "quantization.recurrent_binary": "orthant.quantization.binary.recurrent.RecurrentBinary",
    "quantization.residual": "orthant.quantization.residual.ResidualQuantizer",
    "quantization.sign_codes": "orthant.quantization.binary.signs.SignCodes",
    "quantization.sq8": "orthant.quantization.scalar.SQ8",
    "transform.drift": "orthant.transforms.alignment.drift.DriftCompensator",
    "transform.fixed_dimensional": "orthant.transforms.fixed_dimensional.FixedDimensionalEncoding",
    "transform.gap_alignment": "orthant.transforms.alignment.gap.GapAlignment",
    "transform.leanvec": "orthant.transforms.leanvec.LeanVec",
    "transform.low_rank_map": "orthant.transforms.alignment.low_rank.LowRankMap",
    "transform.mean_shift": "orthant.transforms.alignment.mean_shift.MeanShift",
    "transform.network": "orthant.transforms.network.Network",
    "transform.procrustes": "orthant.transforms.alignment.procrustes.Procrustes",
    "transform.reduction": "orthant.transforms.reduction.Reduction",
    "transform.relative": "orthant.transforms.alignment.relative.RelativeRepresentation",
    "transform.residual_adapter": "orthant.transforms.adaptation.adapter.ResidualAdapter",
    "transform.subspace": "orthant.transforms.subspace.SubspaceProjection",
    "transform.worded_map": "orthant.transforms.alignment.worded.WordedMap",
}
"""Which class loads which kind. Names, so that nothing is imported before it is asked for."""

_ARRAYS = "arrays.safetensors"
_CONFIG = "config.json"

# Tells two processes apart that have one number, as every first process of a container has.
_PROCESS = secrets.token_hex(4)
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"


def write_bytes_atomically(path: str | Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    Parameters
    ----------
    path : str or Path
        Target; its folder must exist.
    data : bytes
        The content.
    """
    with written_aside(path) as handle:
        handle.write(data)


@contextmanager
def written_aside(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file that takes a name's place, durably, when the block ends without an error.

    Parameters
    ----------
    path : str or Path
        Target; its folder must exist.

    Yields
    ------
    binary file
        To be written. After an error, the target is as it was and nothing is left beside it.
    """
    path = Path(path)
    with aside(path) as temporary:
        with open(temporary, "wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)


def sync_folder(path: str | Path) -> None:
    """Make the names in a folder durable, so that a rename survives a power cut.

    Parameters
    ----------
    path : str or Path
        The folder. Only POSIX lets a folder be opened and synced; elsewhere nothing is done.
    """
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def aside_name(name: str) -> str:
    """Return a name for what is being written and becomes ``name`` at the end, which no other thread gives.

    Parameters
    ----------
    name : str
        The final name.

    Returns
    -------
    str
        Begins with a dot and ends in ``.tmp``.
    """
    # Two threads that write under one name mix their bytes, and the first one moves them away from the second.
    return f".{name}.{_HOST}-{os.getpid()}-{_PROCESS}-{get_ident():x}.tmp"


@contextmanager
def aside(target: Path) -> Iterator[Path]:
    """Give a place beside a target where it is written before it gets its name.

    Parameters
    ----------
    target : Path
        What is being made; its folder must exist.

    Yields
    ------
    Path
        Nothing is there yet. What is there when the block ends, because it was not moved to the target, is removed.

    Notes
    -----
    A killed process cannot tidy up: what those of this machine left for the same target is removed first. Processes
    of other machines, which may share the folder, are left alone, as is everything under another name.
    """
    _clear_abandoned(target)
    place = target.with_name(aside_name(target.name))
    _remove(place)
    try:
        yield place
    finally:
        _remove(place)


def _clear_abandoned(target: Path) -> None:
    ours = re.compile(re.escape(f".{target.name}.{_HOST}-") + r"(\d{1,10})-([0-9a-f]{8})-[0-9a-f]+\.tmp")
    with suppress(OSError):
        for name in os.listdir(target.parent):
            if (made := ours.fullmatch(name)) and not _is_running(int(made[1]), made[2]):
                with suppress(OSError):
                    _remove(target.parent / name)


def _is_running(number: int, process: str) -> bool:
    if number == os.getpid():
        return process == _PROCESS
    # On Windows a signal of 0 is no question but an interruption.
    if os.name == "nt":
        return True
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        # Another user's, or no number of a process at all.
        return True
    return True


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


def check_new_folder(path: str | Path) -> Path:
    """Refuse a target that holds something.

    Parameters
    ----------
    path : str or Path
        The folder to be written.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    InputError
        A file, or a folder that is not empty.
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        kind = "which is not empty" if path.is_dir() else "which is a file"
        raise InputError(message(f"{path}, {kind}", "a new or empty folder", "choose another one"))
    return path


@contextmanager
def staged_folder(path: str | Path) -> Iterator[Path]:
    """Write a folder so that it is there whole or not at all.

    Parameters
    ----------
    path : str or Path
        Target: new, or an empty folder.

    Yields
    ------
    Path
        An empty folder beside it, which becomes the target when the block ends, and is removed where it fails.

    Raises
    ------
    InputError
        A target that holds something.
    """
    target = check_new_folder(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with aside(target) as staging:
        staging.mkdir()
        yield staging
        if target.is_dir():
            target.rmdir()
        staging.rename(target)


def write_artifact(
    folder: str | Path, *, kind: str, arrays: Mapping[str, npt.NDArray[Any]], config: Mapping[str, Any]
) -> None:
    """Save arrays and settings as one artefact.

    Parameters
    ----------
    folder : str or Path
        Created if missing.
    kind : str
        What the artefact is, such as ``"transform.leanvec"``; checked on reading.
    arrays : mapping of str to ndarray
        Numeric arrays of any shape.
    config : mapping
        JSON-serialisable settings; the keys ``kind``, ``format`` and ``arrays_sha256`` are reserved.

    Raises
    ------
    InputError
        A reserved key, or settings that are not JSON.
    """
    from safetensors.numpy import save

    reserved = {"kind", "format", "arrays_sha256"} & set(config)
    if reserved:
        raise InputError(message(f"config with reserved keys {sorted(reserved)}", "other names", "rename them"))
    payload = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    record = {"kind": kind, "format": ARTIFACT_FORMAT, "arrays_sha256": hashlib.sha256(payload).hexdigest(), **config}
    try:
        text = json.dumps(record, indent=2, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            message("config that is not JSON", "JSON values", "use str, int, float, list, dict")
        ) from error
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes_atomically(folder / _ARRAYS, payload)
    write_bytes_atomically(folder / _CONFIG, text.encode())


def read_artifact(folder: str | Path, *, kind: str | None = None) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Load an artefact and verify its kind, version and checksum.

    Parameters
    ----------
    folder : str or Path
        A folder that ``write_artifact`` made.
    kind : str, optional
        Required kind.

    Returns
    -------
    arrays : dict of str to ndarray
        The arrays.
    config : dict
        The settings, with ``kind`` and ``format``.

    Raises
    ------
    NotFoundError
        The folder holds no artefact.
    StoreCorruptedError
        The files are damaged or do not belong together.
    StoreVersionError
        A newer release wrote it.
    InputError
        Another kind.
    """
    folder = Path(folder)
    try:
        record = json.loads((folder / _CONFIG).read_text())
        payload = (folder / _ARRAYS).read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(
            message(f"no artefact at {folder}", f"{_CONFIG} and {_ARRAYS}", "check the path")
        ) from error
    except ValueError as error:
        raise StoreCorruptedError(
            message(f"{folder / _CONFIG} that is not JSON", "JSON", "restore the file")
        ) from error
    if not isinstance(record, dict) or not isinstance(record.get("format"), int):
        raise StoreCorruptedError(message(f"{folder / _CONFIG} without a format", "an artefact", "restore the file"))
    if record["format"] > ARTIFACT_FORMAT:
        raise StoreVersionError(
            message(f"artefact format {record['format']}", f"at most {ARTIFACT_FORMAT}", "upgrade orthant")
        )
    if hashlib.sha256(payload).hexdigest() != record.get("arrays_sha256"):
        raise StoreCorruptedError(
            message(f"{folder / _ARRAYS} with a wrong checksum", "the bytes that were saved", "restore the file")
        )
    if kind is not None and record.get("kind") != kind:
        raise InputError(
            message(f"an artefact of kind {record.get('kind')!r}", repr(kind), "load it with its own class")
        )
    from safetensors.numpy import load

    return load(payload), record


def load_artifact(folder: str | Path) -> Any:
    """Load whatever a folder holds, by the class that wrote it.

    Parameters
    ----------
    folder : str or Path
        What ``save`` of a transform, a quantizer or a table wrote, such as what a training left.

    Returns
    -------
    object
        A fitted one, of the class that ``ARTIFACT_CLASSES`` names for its kind.

    Raises
    ------
    NotFoundError
        The folder holds no artefact.
    InputError
        A kind that is not known here; the text lists those that are.
    StoreCorruptedError
        A damaged file.
    StoreVersionError
        A newer release wrote it.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from orthant.quantization import SQ8
    >>> folder = mkdtemp()
    >>> SQ8().fit(np.eye(4, dtype=np.float32)).save(folder)
    >>> load_artifact(folder)
    SQ8(coverage=1.0)
    """
    folder = Path(folder)
    try:
        record = json.loads((folder / _CONFIG).read_text())
    except (OSError, ValueError):
        # A missing or damaged file is told best by the reader.
        record = read_artifact(folder)[1]
    kind = record.get("kind") if isinstance(record, dict) else read_artifact(folder)[1]["kind"]
    if not isinstance(kind, str) or kind not in ARTIFACT_CLASSES:
        given = f"{folder} with a config.json of kind {kind!r}"
        known = f"an artefact of kind {', '.join(sorted(ARTIFACT_CLASSES))}"
        remedy = (
            "load an encoder with load_encoder" if kind is None else "upgrade orthant, or load it with its own class"
        )
        raise InputError(message(given, known, remedy))
    module, _, name = ARTIFACT_CLASSES[kind].rpartition(".")
    return getattr(importlib.import_module(module), name).load(folder)
