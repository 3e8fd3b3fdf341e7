"""Pictures: MNIST, CIFAR-10 and Omniglot runs (both need Pillow), Fashion-MNIST, emoji, SVG icons."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.datasets.kinds import ImageSet
from orthant.datasets.readers.files import arrays, bad_row, find, json_rows
from orthant.datasets.structures import Drawing, Drawings, OneShotRun
from orthant.errors import InputError, MissingExtraError, message
from orthant.validate import check_choice

__all__ = ["cifar10", "emoji", "fashion_mnist_900", "icons_svg", "mnist", "omniglot", "omniglot_runs"]

Root = str | os.PathLike[str] | None

_FASHION = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_OMNIGLOT_SIDE = 105


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError as error:
        given = "pictures in JPEG or PNG without Pillow installed"
        raise MissingExtraError(message(given, "the extra 'images'", "pip install 'orthant[images]'")) from error
    return Image


def _aligned(path: Path, found: Mapping[str, npt.NDArray[Any]], names: tuple[str, ...], axes: int) -> None:
    """Check that the first array is a stack of pictures and the others have one entry per picture."""
    pictures = found[names[0]]
    if pictures.ndim != axes or pictures.dtype != np.uint8 or any(len(found[n]) != len(pictures) for n in names[1:]):
        shapes = ", ".join(f"{n} {found[n].dtype} {found[n].shape}" for n in names)
        raise InputError(
            message(f"{path} with {shapes}", f"uint8 {names[0]} of {axes} axes, one entry each", "restore it")
        )


def mnist(*, split: str | None = None, root: Root = None) -> ImageSet:
    """Read MNIST: 28 x 28 handwritten digits.

    Parameters
    ----------
    split : {"train", "test"}, optional
        60,000 and 10,000 pictures; left out, both in that order.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    ImageSet
        Grey values (n, 28, 28), classes ``"0"`` to ``"9"``.
    """
    choices = ("train", "test")
    images, labels, splits = [], [], []
    for part in choices if split is None else (check_choice(split, choices, name="split"),):
        path = find(root, "mnist", f"{part}.npz")
        found = arrays(path, ["x", "y"])
        _aligned(path, found, ("x", "y"), 3)
        images.append(found["x"])
        labels.append(found["y"].astype(np.int64))
        splits.extend([part] * len(found["x"]))
    return ImageSet("mnist", np.concatenate(images), np.concatenate(labels), tuple("0123456789"), splits)


def fashion_mnist_900(*, root: Root = None) -> ImageSet:
    """Read 900 Fashion-MNIST pictures of 28 x 28, 90 of each of 10 garments: a small cross-domain check.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    ImageSet
        Grey values (900, 28, 28). Too few for nearest-neighbour benchmarks.
    """
    path = find(root, "fashion_mnist_900", "fashion_mnist_900.npz")
    found = arrays(path, ["x", "y"])
    _aligned(path, found, ("x", "y"), 3)
    return ImageSet("fashion_mnist_900", found["x"], found["y"].astype(np.int64), _FASHION)


def cifar10(*, split: str | None = None, root: Root = None) -> ImageSet:
    """Read a 20,000-picture part of CIFAR-10: 32 x 32 RGB, 10 classes; decodes JPEG with Pillow.

    Parameters
    ----------
    split : {"train", "test"}, optional
        16,000 and 4,000 pictures; left out, all. Only what is asked for is decoded.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    ImageSet
        (n, 32, 32, 3). Metadata ``number``: the file number in the export.

    Raises
    ------
    MissingExtraError
        Pillow is not installed.
    """
    image = _pillow()
    path = find(root, "cifar10", "cifar10_20k.npz")
    z = arrays(path, ["jpeg", "offset", "label", "is_test", "number", "class_names"])
    is_test = z["is_test"].astype(bool)
    rows = np.arange(len(is_test))
    if split is not None:
        rows = np.flatnonzero(is_test == (check_choice(split, ("train", "test"), name="split") == "test"))
    payload, offset = z["jpeg"].tobytes(), z["offset"].tolist()
    pictures = np.empty((len(rows), 32, 32, 3), dtype=np.uint8)
    for place, row in enumerate(rows.tolist()):
        try:
            with image.open(io.BytesIO(payload[offset[row] : offset[row + 1]])) as picture:
                pictures[place] = np.asarray(picture.convert("RGB"))
        except (OSError, ValueError) as error:
            raise InputError(message(f"picture {row} of {path} ({error})", "a 32 x 32 JPEG", "restore it")) from error
    metadata: list[Mapping[str, Any]] = [{"number": int(n)} for n in z["number"][rows]]
    names = tuple(str(n) for n in z["class_names"])
    splits = ["test" if is_test[row] else "train" for row in rows]
    return ImageSet("cifar10", pictures, z["label"][rows].astype(np.int64), names, splits, metadata)


def emoji(*, root: Root = None) -> ImageSet:
    """Read 3,224 emoji as 32 x 32 RGBA pictures with names, keywords and skin tones.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    ImageSet
        (3224, 32, 32, 4); the 9 groups as classes; the other fields as metadata. Keep all pictures of one ``base``
        on the same side of a split.
    """
    path = find(root, "emoji", "emoji.jsonl.gz")
    types = {"emoji": str, "codepoints": str, "name": str, "slug": str, "group": str, "keywords": list}
    metadata: list[Mapping[str, Any]] = [row for _, row in json_rows(path, types)]
    pixels = find(root, "emoji", "noto32.npz")
    images = arrays(pixels, ["x"])["x"]
    if len(images) != len(metadata):
        bad_row(path, len(metadata), f"{len(metadata)} rows", f"{len(images)}, one per picture of {pixels.name}")
    names = tuple(sorted({row["group"] for row in metadata}))
    position = {name: i for i, name in enumerate(names)}
    labels = np.array([position[row["group"]] for row in metadata], dtype=np.int64)
    return ImageSet("emoji", images, labels, names, metadata=metadata)


def icons_svg(*, root: Root = None) -> Drawings:
    """Read 1,776 SVG icons with tags and categories.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    Drawings
        24 x 24 stroke drawings.
    """
    types = {"name": str, "svg": str, "shapes": str, "tags": list, "categories": list}
    rows = json_rows(find(root, "icons_svg", "lucide.jsonl.gz"), types)
    return Drawings(
        "icons_svg",
        [Drawing(r["name"], r["svg"], r["shapes"], tuple(r["tags"]), tuple(r["categories"])) for _, r in rows],
    )


def omniglot(*, root: Root = None) -> ImageSet:
    """Read 2,720 Omniglot drawings: 136 characters of 5 alphabets by 20 drawers each.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    ImageSet
        Ink 0 / 1 of shape (2720, 105, 105); characters as classes; metadata ``alphabet`` and ``drawer``.
    """
    path = find(root, "omniglot", "background_small1.npz")
    z = arrays(path, ["x", "alphabet", "character", "drawer", "alphabet_names", "character_names"])
    _aligned(path, z, ("x", "alphabet", "character", "drawer"), 2)
    pixels = _OMNIGLOT_SIDE * _OMNIGLOT_SIDE
    images = np.unpackbits(z["x"], axis=1)[:, :pixels].reshape(-1, _OMNIGLOT_SIDE, _OMNIGLOT_SIDE)
    alphabets = [str(name) for name in z["alphabet_names"]]
    metadata: list[Mapping[str, Any]] = [
        {"alphabet": alphabets[a], "drawer": int(d)} for a, d in zip(z["alphabet"], z["drawer"], strict=True)
    ]
    names = tuple(str(name) for name in z["character_names"])
    return ImageSet("omniglot", images, z["character"].astype(np.int64), names, metadata=metadata)


def omniglot_runs(*, root: Root = None) -> list[OneShotRun]:
    """Read the 20 official one-shot classification runs of Omniglot; decodes PNG with Pillow.

    Parameters
    ----------
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    list of OneShotRun
        20 training and 20 test drawings each.

    Raises
    ------
    MissingExtraError
        Pillow is not installed.
    """
    image = _pillow()
    path = find(root, "omniglot", "one_shot_runs.zip")

    def ink(archive: zipfile.ZipFile, names: list[str]) -> npt.NDArray[np.uint8]:
        # The pictures are black on white; ink is 1 elsewhere in this set.
        return np.stack(
            [1 - np.asarray(image.open(io.BytesIO(archive.read(n))).convert("1"), dtype=np.uint8) for n in names]
        )

    runs: list[OneShotRun] = []
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted({n.split("/")[0] for n in archive.namelist()}):
                pairs = [row.split() for row in archive.read(f"{name}/class_labels.txt").decode().splitlines() if row]
                training = sorted({answer for _, answer in pairs})
                answers = np.array([training.index(answer) for _, answer in pairs], dtype=np.int64)
                runs.append(OneShotRun(name, ink(archive, training), ink(archive, [t for t, _ in pairs]), answers))
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        given = f"{path} ({error})"
        raise InputError(message(given, "runs of 20 + 20 PNG files with class_labels.txt", "restore it")) from error
    return runs
