"""A whole text model fine-tuned for one aspect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orthant.errors import DimensionError, InputError, message
from orthant.learn.losses.settings import ContrastiveSettings
from orthant.learn.losses.text import TextContrastiveLoss
from orthant.learn.text.aspects.pairs import draw_pairs
from orthant.learn.training.curriculum import Curriculum
from orthant.learn.training.history import History
from orthant.learn.training.stage import Stage
from orthant.measures.aspects import label_sets
from orthant.validate import as_texts, check_count

__all__ = ["train_aspect_encoder"]


def train_aspect_encoder(
    model: Any,
    texts: Sequence[str],
    labels: Sequence[Any],
    *,
    aspect: str = "aspect",
    frequent: int | None = None,
    partners: int = 1,
    epochs: float = 1,
    batch_size: int = 32,
    learning_rate: float = 2e-5,
    temperature: float = 0.05,
    folder: str | Path | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: bool = False,
) -> History:
    """Fine-tune a text model in place, so that texts which share a label of one aspect become neighbours.

    For an aspect that frozen vectors do not hold: a head can only weigh what an encoder has seen. It costs the training
    and the encoding of a whole model per aspect; try ``train_aspect_heads`` first.

    Parameters
    ----------
    model : sentence_transformers.SentenceTransformer
        What `build_text_encoder` or `load_text_model` returned; a copy for each aspect.
    texts : sequence of str, length n
        The documents, such as title and abstract.
    labels : sequence of (collection of str, or None), length n
        Labels of each; None or empty where nothing is known.
    aspect : str, default "aspect"
        Its name, for errors and the history.
    frequent : int, optional
        Leave out labels of so many documents or more.
    partners : int, default 1
        Pairs drawn for each document.
    epochs : float, default 1
        Passes over the pairs.
    batch_size : int, default 32
        At least 8. More documents are more negatives.
    learning_rate : float, default 2e-5
        Of AdamW; 1e-3 and more for a table of tokens.
    temperature : float, default 0.05
        Of the contrast.
    folder : str or Path, optional
        Of checkpoints, from which a stopped training goes on.
    seed : int, default 0
        Of everything random.
    threads : int, optional
        Threads that torch uses.
    progress : bool, default False
        Show a bar on stderr.

    Returns
    -------
    History
        One row per step.

    Raises
    ------
    InputError
        No two documents that share a label, fewer pairs than a batch, or settings out of range.
    DimensionError
        Labels for another number of texts.

    Notes
    -----
    InfoNCE over pairs that share a drawn label, both ways. Rows that were drawn for the same label are not taken for
    negatives; those that share another one are.

    References
    ----------
    Ostendorff et al.: Specialized document embeddings for aspect-based similarity. arXiv 2203.14541, section 3.4.

    Examples
    --------
    >>> from sentence_transformers import SentenceTransformer
    >>> from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    >>> from tokenizers import Tokenizer, models, pre_tokenizers
    >>> words = Tokenizer(models.WordLevel({"?": 0, "red": 1, "blue": 2, "cup": 3, "hat": 4}, unk_token="?"))
    >>> words.pre_tokenizer = pre_tokenizers.Whitespace()
    >>> model = SentenceTransformer(modules=[StaticEmbedding(words, embedding_dim=4)], device="cpu")
    >>> texts = ["red cup", "red hat", "blue cup", "blue hat"] * 4
    >>> history = train_aspect_encoder(model, texts, [{text.split()[0]} for text in texts], batch_size=8)
    >>> len(history)
    2
    """
    given = as_texts(texts, name="texts")
    if len(labels) != len(given):
        told = f"labels of {len(labels)} documents and {len(given)} texts"
        raise DimensionError(message(told, "one set per text", "align them; None where nothing is known"))
    check_count(batch_size, name="batch_size", minimum=8)
    sets = label_sets(labels, aspect=aspect, frequent=frequent)
    left, right, shared = draw_pairs(sets, partners=partners, seed=seed)
    if len(left) < batch_size:
        told = f"{len(left)} pairs of aspect {aspect!r} for batches of {batch_size}"
        raise InputError(message(told, "a batch at least", "bring more documents, or lower batch_size"))
    settings = ContrastiveSettings(temperature=temperature, symmetric=True)
    stage = Stage(
        aspect,
        {
            "document": [given[i] for i in left.tolist()],
            "partner": [given[i] for i in right.tolist()],
            "label": shared.tolist(),
        },
        lambda module: TextContrastiveLoss(module, settings, labels="classes"),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
    )
    return Curriculum([stage], seed=seed, threads=threads).run(model, folder, progress=progress)
