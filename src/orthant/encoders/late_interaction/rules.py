"""What a late-interaction model does with the tokens of a text, whichever library saved it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from orthant.encoders.pipeline.modules import HeadModule, head_width
from orthant.encoders.transformer_folder import TransformerFolder

__all__ = ["LEVEL", "ROLES", "Expansion", "ReducerSettings", "TokenFolder", "TokenRules"]

ROLES = ("query", "document")
LEVEL = "token_embeddings"
"""What layers of such a model work on."""
_LATER = ("prefixes", "strip", "unknown_skipped")


@dataclass(frozen=True)
class Expansion:
    """How queries are filled up with mask tokens whose vectors count.

    Attributes
    ----------
    strategy : {"fixed", "min"}
        Exactly ``length`` tokens, longer queries cut; or at least as many.
    length : int
        Tokens, special ones included.
    attend : bool
        Other tokens attend to the added ones.
    token : str or None
        The token that is added; None for the mask token.
    """

    strategy: str
    length: int
    attend: bool = False
    token: str | None = None


@dataclass(frozen=True)
class ReducerSettings:
    """How the token vectors of a text become fewer.

    Attributes
    ----------
    kind : {"hierarchical", "cluster", "head", "tail", "stride"}
        Ward's clustering of sentence-transformers, k-means of ``orthant.transforms.TokenClusterer``, the last k, or
        every k-th.
    settings : dict
        Arguments of that kind.
    """

    kind: str
    settings: Mapping[str, Any]

    @property
    def normalizes(self) -> bool | None:
        """Return whether its vectors have unit length; None where they are those that entered."""
        if self.kind in ("head", "tail", "stride"):
            return None
        return bool(self.settings.get("normalize_embeddings", self.settings.get("normalize", False)))


@dataclass(frozen=True)
class TokenRules:
    """Which tokens of a text get a vector.

    Attributes
    ----------
    query_length, document_length : int or None
        Windows by role, special tokens included; None for that of the model.
    expansion : Expansion or None
        For queries.
    skiplist : tuple of str
        Tokens without a vector.
    skiplist_roles : tuple of str
        Roles that the list applies to.
    keep_only : tuple of int or None
        Ids of the only tokens of a document that keep a vector.
    reducers : dict of str to ReducerSettings
        Applied last, by role.
    prefixes : dict of str to str
        Tokens put behind the first token of a text, by role. They count towards the window and have a vector.
    strip : bool
        White space around a text is removed before the tokenizer sees it.
    unknown_skipped : bool
        A word of ``skiplist`` that is no token stands for the token of unknown words.
    """

    query_length: int | None = None
    document_length: int | None = None
    expansion: Expansion | None = None
    skiplist: tuple[str, ...] = ()
    skiplist_roles: tuple[str, ...] = ("document",)
    keep_only: tuple[int, ...] | None = None
    reducers: Mapping[str, ReducerSettings] = field(default_factory=dict)
    prefixes: Mapping[str, str] = field(default_factory=dict)
    strip: bool = False
    unknown_skipped: bool = False

    @property
    def digest(self) -> str:
        """Return ten hexadecimal digits that tell these rules from others."""
        # Rules that came later are left out where they do nothing: fingerprints of stored vectors stay what they were.
        told = {name: value for name, value in asdict(self).items() if value or name not in _LATER}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:10]


@dataclass(frozen=True)
class TokenFolder:
    """What a folder says about its encoder of tokens.

    Attributes
    ----------
    backbone : TransformerFolder
        The transformer, its tokenizer, window and prompts.
    head : tuple of HeadModule
        Layers on the token states, before the reducer.
    behind : tuple of HeadModule
        Layers behind the reducer.
    rules : TokenRules
        Which tokens count.
    """

    backbone: TransformerFolder
    head: tuple[HeadModule, ...]
    behind: tuple[HeadModule, ...]
    rules: TokenRules

    @property
    def dim(self) -> int:
        """Return the values of a token vector."""
        return head_width(self.behind, head_width(self.head, self.backbone.width))

    @property
    def normalized(self) -> bool:
        """Return whether every token vector has unit length."""
        last = (*self.head, *self.behind)[-1:]
        unit = bool(last) and last[0].kind == "Normalize"
        if self.behind:
            return unit
        # A mean of unit vectors is none, unless the reducer says so.
        found = [one.normalizes for one in self.rules.reducers.values()]
        roles = [unit] * (len(found) < len(ROLES)) + [unit if one is None else one for one in found]
        return all(roles)

    @property
    def architecture(self) -> str:
        """Return a name that does not depend on where the folder lies."""
        return replace(self.backbone, head=(*self.head, *self.behind), pooling="tokens").architecture
