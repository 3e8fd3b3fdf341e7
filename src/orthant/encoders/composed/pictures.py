"""Small pictures and texts in one space, served by NumPy."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.encoders.composed.prompt_direction import PromptDirection
from orthant.encoders.fingerprint import Fingerprint, digest_tensors
from orthant.encoders.registry import load_encoder
from orthant.errors import DimensionError, DtypeError, EncoderMismatchError, InputError, message
from orthant.types import Encoder, EncodeReport, FloatArray, Role
from orthant.validate import check_count

__all__ = ["PictureTextEncoder", "picture_values"]

_KIND = "encoder.pictures"


def picture_values(pictures: npt.ArrayLike) -> FloatArray:
    """Return pictures as four channels of numbers from 0 to 1, over white ground.

    Parameters
    ----------
    pictures : array-like of uint8, shape (n, side, side), (n, side, side, 3) or (n, side, side, 4)
        Grey values, RGB or RGBA; the first two are opaque.

    Returns
    -------
    ndarray of shape (n, 4, side, side), float32
        Red, green and blue over white, and how opaque a pixel is.

    Raises
    ------
    DtypeError
        Not uint8.
    DimensionError
        Another shape.
    """
    given = np.asarray(pictures)
    if given.dtype != np.uint8:
        raise DtypeError(message(f"pictures of dtype {given.dtype}", "uint8", "pass values from 0 to 255"))
    if given.ndim == 3:
        given = np.repeat(given[..., None], 3, axis=3)
    if given.ndim != 4 or given.shape[1] != given.shape[2] or given.shape[3] not in (3, 4):
        given_text = f"pictures of shape {np.shape(pictures)}"
        raise DimensionError(message(given_text, "(n, side, side, 3 or 4)", "cut or scale them to squares"))
    values = given.astype(np.float32) / 255.0
    alpha = values[..., 3:] if given.shape[3] == 4 else np.ones((*given.shape[:3], 1), dtype=np.float32)
    over = values[..., :3] * alpha + (1.0 - alpha)
    return np.ascontiguousarray(np.concatenate([over, alpha], axis=3).transpose(0, 3, 1, 2))


class PictureTextEncoder:
    """Encode icons, emoji or thumbnails and texts into one space, without torch.

    Make it with ``orthant.learn.multimodal.train_picture_text``. A collection takes it as the encoder of a space whose
    records are written with ``vectors=encoder.encode_pictures(...)``; queries are then texts.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        ``text`` (dim, text_dim), ``convolution_i`` (out, in, 3, 3), ``bias_i`` (out,), ``projection`` (dim, features)
        and ``projection_bias`` (dim,).
    side : int
        Pixels per side.
    text_encoder : str or Encoder, default "static"
        What encodes texts before the linear map; it must be the one of the training.

    Attributes
    ----------
    dim, side : int
        Of vectors and pictures.
    fingerprint : str
        From all arrays and the text encoder.
    max_tokens : int or None
        Of the text encoder.

    Notes
    -----
    Texts: ``unit(W e(text))``. Pictures: convolutions of 3 x 3 with stride 2 and ReLU, then ``unit(P x + b)``. Cost:
    the convolutions' multiplications, some 0.7 million per picture of 32 x 32.

    References
    ----------
    Radford et al.: Learning transferable visual models from natural language supervision. arXiv:2103.00020, section 2.
    """

    def __init__(
        self, arrays: Mapping[str, npt.NDArray[Any]], *, side: int, text_encoder: str | Encoder = "static"
    ) -> None:
        self._arrays = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()}
        self._texts = load_encoder(text_encoder)
        self._text_name = text_encoder if isinstance(text_encoder, str) else None
        self.side = check_count(side, name="side")
        if self._arrays["text"].shape[1] != self._texts.dim:
            given = f"a text encoder of {self._texts.dim} dimensions"
            wanted = f"the one of the training, of {self._arrays['text'].shape[1]}"
            raise DimensionError(message(given, wanted, "pass it as text_encoder"))
        self.dim = len(self._arrays["text"])
        self.max_tokens = self._texts.max_tokens
        digest = digest_tensors(self._arrays)
        self.fingerprint = str(
            Fingerprint(name="picture-text", revision=self._texts.fingerprint, dim=self.dim, weight_hash=digest)
        )

    def encode(
        self, items: Sequence[str], *, role: Role = "document", batch_size: int = 64, progress: bool = False
    ) -> FloatArray:
        """Return one vector per text.

        Parameters
        ----------
        items : sequence of str
            Texts.
        role : {"query", "document"}, default "document"
            Handed to the text encoder.
        batch_size : int, default 64
            The same.
        progress : bool, default False
            The same.

        Returns
        -------
        ndarray of shape (n, dim), float32, C-contiguous
            Of length 1; zeros where the text encoder gives zeros.
        """
        found = self._texts.encode(items, role=role, batch_size=batch_size, progress=progress)
        return _unit(found @ self._arrays["text"].T)

    def encode_with_report(
        self, items: Sequence[str], *, role: Role = "document", batch_size: int = 64, progress: bool = False
    ) -> tuple[FloatArray, EncodeReport]:
        """Return the vectors and a report of items and seconds.

        Parameters
        ----------
        items, role, batch_size, progress
            As for ``encode``.

        Returns
        -------
        vectors : ndarray of shape (n, dim), float32
            As from ``encode``.
        report : EncodeReport
            Items and seconds.
        """
        began = time.perf_counter()
        vectors = self.encode(items, role=role, batch_size=batch_size, progress=progress)
        return vectors, EncodeReport(items=len(vectors), seconds=time.perf_counter() - began)

    def encode_pictures(self, pictures: npt.ArrayLike, *, batch_size: int = 256) -> FloatArray:
        """Return one vector per picture.

        Parameters
        ----------
        pictures : array-like of uint8, shape (n, side, side), (n, side, side, 3) or (n, side, side, 4)
            Grey, RGB or RGBA.
        batch_size : int, default 256
            Pictures at a time; more take more memory.

        Returns
        -------
        ndarray of shape (n, dim), float32
            Of length 1.

        Raises
        ------
        DimensionError
            Pictures of another size.
        """
        given = np.asarray(pictures)
        if given.ndim < 3 or given.shape[1:3] != (self.side, self.side):
            wanted = f"(n, {self.side}, {self.side}, channels)"
            raise DimensionError(message(f"pictures of shape {given.shape}", wanted, "scale them first"))
        check_count(batch_size, name="batch_size")
        out = np.empty((len(given), self.dim), dtype=np.float32)
        for start in range(0, len(given), batch_size):
            part = picture_values(given[start : start + batch_size])
            out[start : start + len(part)] = self._forward(part)
        return out

    def _forward(self, values: FloatArray) -> FloatArray:
        layer = 0
        while f"convolution_{layer}" in self._arrays:
            weight = self._arrays[f"convolution_{layer}"]
            padded = np.pad(values, ((0, 0), (0, 0), (1, 1), (1, 1)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
            n, c, h, w = windows.shape[:4]
            rows = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * h * w, c * 9)
            out = rows @ weight.reshape(len(weight), -1).T + self._arrays[f"bias_{layer}"]
            values = np.maximum(out, 0).reshape(n, h, w, len(weight)).transpose(0, 3, 1, 2)
            layer += 1
        flat = values.reshape(len(values), -1)
        return _unit(flat @ self._arrays["projection"].T + self._arrays["projection_bias"])

    def compose(
        self,
        picture: npt.ArrayLike,
        text: str,
        changed: str,
        *,
        direction: PromptDirection | None = None,
    ) -> FloatArray:
        """Return the query "this picture, but ...".

        Parameters
        ----------
        picture : array-like of uint8, shape (side, side, channels)
            What it starts from.
        text : str
            A description of the picture.
        changed : str
            The same description with the change.
        direction : PromptDirection, optional
            How far, and how much of the picture; left out, its defaults.

        Returns
        -------
        ndarray of shape (dim,), float32
            For ``collection.search(vector=...)``.

        Examples
        --------
        >>> query = encoder.compose(picture, "waving hand", "waving hand: dark skin tone")  # doctest: +SKIP
        """
        t, p = self.encode([text, changed], role="query")
        image = self.encode_pictures(np.asarray(picture)[None])[0]
        return (direction or PromptDirection()).compose(t, p, image=image)

    def save(self, path: str | Path) -> None:
        """Write it to a folder.

        Parameters
        ----------
        path : str or Path
            Created if missing. A text encoder that was given as an object is named by its fingerprint only.
        """
        config = {"side": self.side, "text_encoder": self._text_name, "text_fingerprint": self._texts.fingerprint}
        write_artifact(path, kind=_KIND, arrays=self._arrays, config=config)

    @classmethod
    def load(cls, path: str | Path, *, text_encoder: str | Encoder | None = None) -> PictureTextEncoder:
        """Read a folder of ``save``.

        Parameters
        ----------
        path : str or Path
            The folder.
        text_encoder : str or Encoder, optional
            Needed where an object was given when it was made.

        Returns
        -------
        PictureTextEncoder
            An encoder of the same fingerprint.

        Raises
        ------
        InputError
            No text encoder is known.
        EncoderMismatchError
            A text encoder other than that of the training.
        """
        arrays, config = read_artifact(path, kind=_KIND)
        text_encoder = config["text_encoder"] if text_encoder is None else text_encoder
        if text_encoder is None:
            raise InputError(message("no text encoder", "the one of the training", "pass text_encoder=..."))
        made = cls(arrays, side=config["side"], text_encoder=text_encoder)
        if made._texts.fingerprint != config["text_fingerprint"]:
            given = f"text encoder {made._texts.fingerprint}"
            raise EncoderMismatchError(message(given, config["text_fingerprint"], "pass that one"))
        return made


def _unit(X: FloatArray) -> FloatArray:
    size = np.linalg.norm(X, axis=1, keepdims=True)
    return np.ascontiguousarray(X / np.where(size > 0, size, 1), dtype=np.float32)
