"""Training of word readings: a mistyped word is to be found among all others, letters coming from a frozen table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from orthant.datasets.perturbations import perturb
from orthant.encoders.glyphs.reading import Unit, WordReading, letters_of, pad_words
from orthant.encoders.glyphs.table import GlyphTable
from orthant.encoders.words.corpus import words_of
from orthant.errors import InputError, message
from orthant.learn.training.loop import TorchLoop
from orthant.learn.training.stage import Stage
from orthant.types import FloatArray
from orthant.validate import as_texts, check_choice, check_count, check_fraction

__all__ = ["GlyphWords", "train_word_reading"]

_FORMS = 4
_TEMPERATURE = 0.1


class GlyphWords(nn.Module):
    """Words from rows of letters: three-letter filters, their strongest answers, one matrix.

    The torch side of `WordReading`; use it inside a model of your own.

    Parameters
    ----------
    rows : array-like of shape (V, d), float32
        One row per letter.
    dim : int
        Width of a word's vector.
    filters : int, default 256
        Of three letters each. More remember more words, and cost as much more.
    frozen : bool, default True
        Keep the rows as they are: a buffer without gradient. Off, they are trained from there.

    Attributes
    ----------
    rows : Tensor of shape (V, d)
        Buffer or parameter.

    Raises
    ------
    InputError
        Numbers below 1.

    Notes
    -----
    Rows pass through the filters once per letter and not per place, since a filter over three letters is a sum of three
    products: a step costs 3 V d F, and F per letter of the batch.

    References
    ----------
    A. Bochkov: Emergent Semantics Beyond Token Embeddings. arXiv 2507.04886, section 3.

    Examples
    --------
    >>> model = GlyphWords(np.eye(5, 8, dtype=np.float32), 4, filters=6)
    >>> model(torch.tensor([[-1, 0, 3, -1]])).shape, "rows" in dict(model.named_parameters())
    (torch.Size([1, 4]), False)
    """

    rows: Tensor

    def __init__(self, rows: npt.ArrayLike, dim: int, *, filters: int = 256, frozen: bool = True) -> None:
        super().__init__()
        given = torch.from_numpy(np.array(rows, dtype=np.float32))
        check_count(dim, name="dim")
        width = check_count(filters, name="filters")
        if frozen:
            self.register_buffer("rows", given)
        else:
            self.rows = nn.Parameter(given)
        self.filters = nn.Parameter(torch.randn(3, given.shape[1], width) / 3**0.5)
        self.bias = nn.Parameter(torch.zeros(width))
        self.output = nn.Parameter(torch.randn(width, dim) / width**0.5)

    def forward(self, ids: Tensor) -> Tensor:
        """Return one vector per word.

        Parameters
        ----------
        ids : Tensor of shape (n, L + 2), int64
            Places in the rows; -1 before, behind and where there is no letter.

        Returns
        -------
        Tensor of shape (n, dim)
            Not of unit length.
        """
        padded = nn.functional.pad(self.rows, (0, 0, 0, 1))
        left, middle, right = torch.einsum("vd,tdf->tvf", padded, self.filters)
        places = torch.where(ids < 0, len(self.rows), ids)
        look = nn.functional.embedding
        seen = look(places[:, :-2], left) + look(places[:, 1:-1], middle) + look(places[:, 2:], right)
        outside = (ids[:, 1:-1] < 0).clone()
        outside[:, 0] = False
        strongest = seen.masked_fill(outside[:, :, None], float("-inf")).amax(dim=1)
        return torch.relu(strongest + self.bias) @ self.output


class _Recognition(nn.Module):
    """The loss: which of the batch's words was mistyped into this."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        asked, known = (self._centred(batch[name]) for name in ("asked", "known"))
        scores = asked @ known.T / _TEMPERATURE
        # A word drawn twice is no wrong answer to itself.
        word = batch["word"]
        twice = (word[:, None] == word[None, :]) & ~torch.eye(len(word), dtype=torch.bool)
        return nn.functional.cross_entropy(scores.masked_fill(twice, float("-inf")), torch.arange(len(word)))

    def _centred(self, ids: Tensor) -> Tensor:
        longest = int((ids >= 0).sum(dim=1).max())
        made = self.model(ids[:, : longest + 2])
        return nn.functional.normalize(made - made.mean(dim=0), dim=1)


def train_word_reading(
    texts: Sequence[str],
    *,
    table: GlyphTable | None = None,
    frozen: bool = True,
    unit: Unit = "character",
    dim: int = 128,
    filters: int = 256,
    typos: float = 0.7,
    words: int = 30_000,
    threshold: float = 0.7,
    steps: int = 200,
    batch_size: int = 256,
    learning_rate: float = 3e-3,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = False,
) -> WordReading:
    """Train a corrector of typing errors and disguised letters, for queries to your texts.

    It learns which letters in a row tell words apart, from mistyped words of your texts, and knows letters by their
    look alone: so a letter of another script, which no text had, is read as the one it looks like. Put it before an
    encoder by ``FoldedEncoder``. For lookalikes alone ``LookalikeFolding`` needs no training.

    Parameters
    ----------
    texts : sequence of str
        What will be searched; gives the words that are known.
    table : GlyphTable, optional
        Of the letters; with 64 dimensions when left out.
    frozen : bool, default True
        Leave the table as it is. Off, the rows of letters in ``texts`` are trained from random ones, as models usually
        do, and those of other letters stay random: what the frozen table is compared with.
    unit : {"character", "byte"}, default "character"
        What words are read by. Bytes have no look: use them with ``frozen=False``.
    dim : int, default 128
        Width of a word's vector.
    filters : int, default 256
        Of three letters each. More tell more words apart.
    typos : float, default 0.7, range 0 to 1
        Share of training words that are mistyped. 0 learns to tell words apart and nothing about errors.
    words : int, default 30,000
        Most frequent words that are known.
    threshold : float, default 0.7
        Of the reading: least cosine at which a word is replaced.
    steps : int, default 200
        Updates.
    batch_size : int, default 256
        Words of an update, from which each is to be found.
    learning_rate : float, default 3e-3
        Of AdamW.
    seed : int, default 0
        Of everything random.
    threads : int, optional
        Threads that torch uses.
    progress : bool, default False
        Show a bar on stderr.

    Returns
    -------
    WordReading
        Reads without torch.

    Raises
    ------
    InputError
        Fewer than two words, bytes with a frozen table, or settings out of range.

    Notes
    -----
    InfoNCE over a batch of words w and forms w' of them, mistyped or not, at temperature 0.1:
    ``-log softmax_w(cos(v(w'), v(w)) / 0.1)``, vectors less their mean. Letters that look alike are never trained on.
    Cost: O(steps batch_size letters F); some seconds on one core at the defaults.

    References
    ----------
    A. Bochkov: Emergent Semantics Beyond Token Embeddings. arXiv 2507.04886, section 3. The paper trains language
    models on its table; this is a small network for words.
    A. van den Oord, Y. Li, O. Vinyals: Representation Learning with Contrastive Predictive Coding. arXiv 1807.03748.

    Examples
    --------
    >>> reading = train_word_reading(["a lighthouse keeper", "the harbour at night"], filters=32, steps=20)
    >>> reading.fold("lightouse")
    'lighthouse'
    """
    check_choice(unit, get_args(Unit), name="unit")
    if unit == "byte" and frozen:
        given = "unit='byte' with a frozen table"
        raise InputError(message(given, "characters, which have a look", "pass frozen=False"))
    share = check_fraction(typos, name="typos")
    counts = Counter(word for text in as_texts(texts, name="texts") for word in words_of(text))
    chosen = [word for word, _ in counts.most_common(check_count(words, name="words"))]
    if len(chosen) < 2:
        raise InputError(message(f"texts of {len(chosen)} words", "words to tell apart", "pass more texts"))
    glyphs = GlyphTable(dim=64) if table is None else table
    data, points = _examples(chosen, share, unit, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        start = glyphs.rows(points) if frozen else _random_rows(len(points), glyphs.dim, seed)
        model = GlyphWords(start, dim, filters=filters, frozen=frozen)
    stage = Stage(
        "words",
        data,
        _Recognition,
        steps=steps,
        batch_size=min(check_count(batch_size, name="batch_size", minimum=2), len(chosen)),
        learning_rate=learning_rate,
        schedule="cosine",
    )
    TorchLoop(model, stage, seed=seed, threads=threads).run(progress=progress)
    weights = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    with torch.no_grad():
        centre = torch.cat([model(part) for part in torch.from_numpy(data["known"][: len(chosen)]).split(512)]).mean(0)
    # What was never trained must look up random rows, not pictures: its table is all identity and no look.
    kept = glyphs if frozen else GlyphTable(dim=glyphs.dim, identity=1.0, blur=glyphs.blur, font=glyphs.font)
    return WordReading(
        kept,
        chosen,
        weights["filters"],
        weights["bias"],
        weights["output"],
        centre=centre.numpy(),
        letters=None if frozen else (points, weights["rows"]),
        unit=unit,
        threshold=threshold,
    )


def _examples(
    words: list[str], typos: float, unit: Unit, seed: int
) -> tuple[dict[str, npt.NDArray[np.int64]], npt.NDArray[np.int64]]:
    """Each word four times beside a form of it, as places in the code points that occur."""
    forms = [*words] * _FORMS
    generator = np.random.default_rng(seed)
    for turn in range(_FORMS):
        made = perturb(words, "typos", rate=1.0, seed=seed * _FORMS + turn)
        for i in np.flatnonzero(generator.random(len(words)) < typos).tolist():
            forms[turn * len(words) + i] = made[i]
    asked = pad_words([letters_of(form, unit) for form in forms])
    known = np.tile(pad_words([letters_of(word, unit) for word in words]), (_FORMS, 1))
    points = np.unique(np.concatenate([asked[asked >= 0], known[known >= 0]]))
    for ids in (asked, known):
        ids[ids >= 0] = np.searchsorted(points, ids[ids >= 0])
    return {"asked": asked, "known": known, "word": np.tile(np.arange(len(words)), _FORMS)}, points


def _random_rows(count: int, dim: int, seed: int) -> FloatArray:
    rows = np.random.default_rng(seed).standard_normal((count, dim))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
