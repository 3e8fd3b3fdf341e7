"""An inverted file on disk: its lists, its codec and its vectors behind one header, each file checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from orthant.errors import InputError
from orthant.index.array_files import damaged, map_array, read_header, settled, verify_file, write_arrays
from orthant.index.flat import Flat
from orthant.index.ivf.lists import Lists
from orthant.kernels.clustering.list_blocks import BLOCK
from orthant.kernels.distances import row_chunks
from orthant.quantization.inverted import IVFCodec
from orthant.types import Metric
from orthant.validate import check_metric

__all__ = ["Saved", "read_ivf", "write_ivf"]

FORMAT = 1
_KIND = "index.ivf"
_HEADER = "ivf.json"

Saved = tuple[dict[str, Any], Flat | None, IVFCodec | None, Lists | None]
"""Settings, vectors, codec and lists; what an index does not have is None."""


def write_ivf(
    path: str | Path,
    *,
    dim: int,
    metric: Metric,
    settings: dict[str, Any],
    flat: Flat | None,
    codec: IVFCodec | None,
    lists: Lists | None,
) -> None:
    """Write an index to a folder, replacing what it held in one step.

    Parameters
    ----------
    path : str or Path
        Folder; created if missing.
    dim : int
        Dimension.
    metric : {"dot", "cosine", "l2"}
        Score.
    settings : dict
        JSON values.
    flat : Flat or None
        Full vectors.
    codec : IVFCodec or None
        What codes mean.
    lists : Lists or None
        Codes; laid out anew without room to grow.

    Raises
    ------
    InputError
        The path is a file.
    """
    arrays: dict[str, Any] = {}
    body: dict[str, Any] = {"dim": dim, "metric": metric, "settings": settings, "codec": None, "shapes": {}}
    if flat is not None:
        ids = flat.ids()
        body["rows"] = len(ids)
        chunks = row_chunks(len(ids), dim * 4)
        arrays["vectors"] = (flat.reconstruct(ids[a:b]).astype("<f4", copy=False) for a, b in chunks)
        arrays["ids"] = [ids.astype("<i8")]
    if codec is not None and lists is not None:
        dense = Lists(codec, *lists.entries())
        parts, body["codec"] = codec.parts()
        held: dict[str, np.ndarray[Any, Any]] = {
            "begins": dense.begins,
            "filled": dense.filled,
            "codes": dense.codes,
            "list_ids": dense.ids,
        }
        if dense.bias is not None:
            held["bias"] = dense.bias
        held |= {f"codec_{name}": array for name, array in parts.items()}
        for name, array in held.items():
            little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
            body["shapes"][name] = [list(array.shape), array.dtype.newbyteorder("<").str]
            arrays[name] = [little]
    write_arrays(path, header=_HEADER, kind=_KIND, version=FORMAT, body=body, arrays=arrays)


@settled(_HEADER)
def read_ivf(path: str | Path, *, mmap: bool) -> tuple[int, Metric, Saved]:
    """Read an index from a folder and verify every byte of it.

    Parameters
    ----------
    path : str or Path
        A folder that ``write_ivf`` made.
    mmap : bool
        Map vectors and codes instead of copying them into memory.

    Returns
    -------
    dim : int
        Dimension.
    metric : str
        Score.
    saved : tuple
        Settings, vectors, codec and lists.

    Raises
    ------
    NotFoundError
        No index there.
    StoreCorruptedError
        A file is missing, cut or changed, or they do not belong together.
    StoreVersionError
        A newer release wrote it.
    """
    folder = Path(path)
    body = read_header(folder / _HEADER, kind=_KIND, version=FORMAT)
    try:
        files = {name: (folder / Path(str(e["name"])).name, e) for name, e in body["files"].items()}
        for file, entry in files.values():
            verify_file(file, entry)
        dim, metric, settings = int(body["dim"]), check_metric(body["metric"]), dict(body["settings"])
        arrays = {
            name: map_array(files[name][0], str(dtype), tuple(int(i) for i in shape), mmap=mmap)
            for name, (shape, dtype) in body["shapes"].items()
        }
        flat = None
        if "rows" in body:
            shape = (int(body["rows"]), dim)
            matrix = map_array(files["vectors"][0], "<f4", shape, mmap=mmap)
            ids = np.fromfile(files["ids"][0], dtype="<i8").astype(np.int64, copy=False)
            if len(ids) != len(matrix):
                raise ValueError("ids that do not fit the vectors")
            flat = Flat._holding(matrix, ids, dim=dim, metric=metric, next_id=int(settings["next_id"]))
        if body["codec"] is None:
            return dim, metric, (settings, flat, None, None)
        named = {name[6:]: np.array(array) for name, array in arrays.items() if name.startswith("codec_")}
        codec = IVFCodec.from_parts(named, dict(body["codec"]))
        begins, filled = np.array(arrays["begins"]), np.array(arrays["filled"])
        lists = Lists.around(begins, filled, arrays["codes"], arrays["list_ids"], arrays.get("bias"))
        blocks = len(lists.codes)
        sizes = (len(begins) == codec.lists + 1, int(begins[-1]) == blocks, len(lists.ids) == blocks * BLOCK)
        if not all(sizes) or int(begins[0]) or (np.diff(begins) < 0).any():
            raise ValueError("lists that do not follow each other")
        if (filled < 0).any() or (filled > lists.sizes).any() or (flat is not None and len(flat) != lists.live):
            raise ValueError("sizes disagree")
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise damaged(folder / _HEADER, "fields that do not fit together") from error
    return dim, metric, (settings, flat, codec, lists)
