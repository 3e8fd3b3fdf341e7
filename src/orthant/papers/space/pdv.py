"""The `pdv` row of the catalogue: arXiv 2502.07215."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from orthant.papers.record import Claim, Figures, Paper, Trial

Array = npt.NDArray[Any]

_SUFFIXES = ("off", "plus", "minus", "x", "check")
_EPOCHS = 12
_SHARES = tuple(i / 60 for i in range(61))


class _Items(NamedTuple):
    """Emoji and icons as pictures with texts, groups for the split, families that differ by wishes, and the wishes."""

    pictures: Array
    names: list[str]
    texts: list[list[str]]
    groups: Array
    families: list[str]
    wishes: list[str]
    icon: Array


class _Queries(NamedTuple):
    """Vectors of the pairs of one part of the groups, beside the gallery that they are asked of."""

    plain: Array
    changed: Array
    wish: Array
    former: Array
    image: Array
    gallery: Array
    answers: Array
    own: Array
    icon: Array


@lru_cache(maxsize=1)
def _items() -> _Items:
    from orthant.datasets import load
    from orthant.datasets.drawings.rendering import render

    emoji, drawings = load("emoji"), load("icons_svg").drawings
    names, texts, groups, wishes = [], [], [], []
    for row in emoji.metadata:
        wish = f"{row['skin_tone']} skin tone" if row["skin_tone"] else ""
        words = ", ".join(word.replace("_", " ") for word in row["keywords"][:6])
        names.append(row["name"])
        texts.append([row["name"], f"{words}: {wish}" if wish else words, f"{row['name']}, {words}"])
        groups.append(row["base"] or row["emoji"])
        wishes.append(wish)
    families = list(groups)
    stems = {one.name for one in drawings}
    for one in drawings:
        words, tags = one.name.replace("-", " "), ", ".join(one.tags[:6])
        stem, _, suffix = one.name.rpartition("-")
        varies = suffix in _SUFFIXES and stem in stems
        names.append(words)
        texts.append([words, f"{words}, {tags}"])
        groups.append("icon " + one.name.split("-")[0])
        wishes.append(suffix if varies else "")
        families.append("icon " + (stem if varies else one.name))
    pictures = np.concatenate([emoji.images, render([one.shapes for one in drawings])])
    icon = np.arange(len(names)) >= len(emoji.images)
    numbers = np.unique(groups, return_inverse=True)[1]
    return _Items(pictures, names, texts, numbers, families, wishes, icon)


def _pairs(items: _Items, swap: bool) -> Array:
    """Rows of pictures without and with a wish; or with one wish and, in its place, another."""
    members = defaultdict(list)
    for i, family in enumerate(items.families):
        members[family].append(i)
    out = []
    for rows in members.values():
        varied = [i for i in rows if items.wishes[i]]
        if swap:
            turned = varied[2 % len(varied) :] + varied[: 2 % len(varied)] if varied else []
            out += [(a, b) for a, b in zip(varied, turned, strict=True) if a != b]
        else:
            out += [(a, b) for a in rows if not items.wishes[a] for b in varied]
    return np.array(out)


def _parts(items: _Items, seed: int) -> tuple[Array, Array, Array]:
    """Rows of three fifths of the groups to learn from, a fifth to tune on and a fifth to judge on."""
    order = np.random.default_rng(seed).permutation(items.groups.max() + 1)
    first, second = int(0.6 * len(order)), int(0.8 * len(order))
    train, tuned, judged = (np.isin(items.groups, one) for one in (order[:first], order[first:second], order[second:]))
    return np.flatnonzero(train), np.flatnonzero(tuned), np.flatnonzero(judged)


@lru_cache(maxsize=4)
def _encoder(seed: int) -> Any:
    from orthant.learn.multimodal import train_picture_text

    items = _items()
    train = _parts(items, seed)[0]
    texts = [items.texts[i] for i in train]
    return train_picture_text(items.pictures[train], texts, epochs=_EPOCHS, seed=seed, threads=1)


def _queries(items: _Items, encoder: Any, part: Array, swap: bool) -> _Queries:
    pairs = _pairs(items, swap)
    before, after = pairs[np.isin(pairs, part).all(axis=1)].T
    gallery = encoder.encode_pictures(items.pictures[part])
    position = np.full(len(items.names), -1)
    position[part] = np.arange(len(part))

    def texts(which: Array) -> Array:
        found: Array = encoder.encode([items.names[i] for i in which], role="query")
        return found

    wish, former = (
        encoder.encode([items.wishes[i] or "plain" for i in which], role="query") for which in (after, before)
    )
    return _Queries(
        plain=texts(before),
        changed=texts(after),
        wish=wish,
        former=former,
        image=gallery[position[before]],
        gallery=gallery,
        answers=position[after],
        own=position[before],
        icon=items.icon[before],
    )


def _figures(asked: Array, queries: _Queries) -> Figures:
    """Mean reciprocal rank of the answer among all pictures but the query's own; ties rank behind."""
    scores = asked @ queries.gallery.T
    index = np.arange(len(scores))
    scores[index, queries.own] = -np.inf
    ranks = (scores >= scores[index, queries.answers][:, None]).sum(axis=1)
    kinds = {"mrr_emoji": ~queries.icon, "mrr_icons": queries.icon}
    out = {name: float((1 / ranks[chosen]).mean()) for name, chosen in kinds.items() if chosen.any()}
    return {"mrr": float((1 / ranks).mean()), "first": float((ranks == 1).mean()), **out}


def _sum(first: Array, second: Array, share: float) -> Array:
    out = (1 - share) * first + share * second
    return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True))


def _best(ask: Callable[[_Queries, float], Array], tune: _Queries, judge: _Queries) -> Figures:
    """Figures of queries made by a share that is chosen where the directions' numbers are."""
    share = max(_SHARES, key=lambda one: _figures(ask(tune, one), tune)["mrr"])
    return _figures(ask(judge, share), judge)


def _added(seed: int) -> Trial:
    return _composed(seed, swap=False)


def _swapped(seed: int) -> Trial:
    return _composed(seed, swap=True)


def _composed(seed: int, swap: bool) -> Trial:
    # A few names differ by words that the text encoder does not know.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the change moves")
        return _trial(seed, swap)


def _trial(seed: int, swap: bool) -> Trial:
    from orthant.encoders.composed.prompt_direction import PromptDirection

    items, encoder = _items(), _encoder(seed)
    tune, judge = (_queries(items, encoder, part, swap) for part in _parts(items, seed)[1:])
    made = PromptDirection().tuned(
        tune.plain, tune.changed, tune.gallery, tune.answers, image=tune.image, leave_out=tune.own
    )

    def asked(one: PromptDirection, image: Array | None) -> Figures:
        return _figures(one.compose(judge.plain, judge.changed, image=image), judge)

    def still(queries: _Queries, share: float) -> Array:
        one = PromptDirection(alpha_text=1.0, alpha_image=0.0, beta=share)
        return one.compose(queries.plain, queries.changed, image=queries.image)

    def wishes(queries: _Queries, share: float) -> Array:
        one = PromptDirection(alpha_image=3 * share, beta=0.0)
        return one.compose(queries.former, queries.wish, image=queries.image)

    return Trial(
        measured={
            **asked(made, judge.image),
            "alpha_text": made.alpha_text,
            "alpha_image": made.alpha_image,
            "beta": made.beta,
            "mrr_untuned": asked(PromptDirection(), judge.image)["mrr"],
            "mrr_between_wishes": _best(wishes, tune, judge)["mrr"],
        },
        baseline=_figures(judge.changed, judge),
        ablated=_best(still, tune, judge),
        alternatives={
            "picture alone": _figures(judge.image, judge),
            "picture and changed text, weighted": _best(lambda q, share: _sum(q.image, q.changed, share), tune, judge),
            "picture and the wish alone, weighted": _best(lambda q, share: _sum(q.image, q.wish, share), tune, judge),
            "text moved along the direction": asked(
                PromptDirection().tuned(tune.plain, tune.changed, tune.gallery, tune.answers, leave_out=tune.own), None
            ),
        },
    )


PAPER = Paper(
    key="pdv",
    title="PDV: Prompt Directional Vectors for Zero-shot Composed Image Retrieval",
    arxiv="2502.07215",
    year=2025,
    wing="space",
    lives_in=(
        "orthant.encoders.composed.prompt_direction",
        "orthant.encoders.composed.pictures",
        "orthant.collection.stages.steering",
    ),
    summary=(
        'Serves requests like "this picture, but in red" without training: the difference between the encoded '
        "description with and without the change is a direction, which is scaled and added to the text vector, the "
        "image vector or a blend of the two. Needs an encoder with a joint space for both kinds; the scale and the "
        "blend are sliders to tune on examples. Its place in Orthant: composed queries for image collections, and "
        "for any joint space."
    ),
    keywords=("composed image retrieval", "training-free", "query editing", "direction vector", "fusion", "CLIP"),
    status="works",
    claims=(
        Claim(
            name="one-wish-for-another",
            sentence=(
                "Mean reciprocal rank of the picture with another wish fulfilled than the query's (an emoji in another "
                "skin tone, an icon with another suffix of -off, -plus, -minus, -x and -check) among all held-out "
                "pictures but the query's own, with a small encoder of pictures and names trained on other emoji and "
                "icons: picture and text moved along the prompt's direction, beside the changed text, the picture, and "
                "weighted sums of the picture with the changed text or with the wish alone, tuned alike on others."
            ),
            data="real",
            run=_swapped,
            metric="mrr",
            margin=0.05,
            ablation="alpha_image=0, alpha_text=1: the picture is not moved",
            needs=("emoji", "icons_svg"),
        ),
        Claim(
            name="a-wish-added",
            sentence=(
                "The same where the query's picture has no wish fulfilled yet, so that there is nothing to take out."
            ),
            data="real",
            run=_added,
            metric="mrr",
            needs=("emoji", "icons_svg"),
        ),
    ),
)
