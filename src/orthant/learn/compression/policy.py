"""Which weights of a network become codes, and of which size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from orthant.errors import InputError, message
from orthant.validate import check_count

__all__ = ["LowRankVQ", "Policy", "chosen_layers"]

_LARGEST_BOOK = 256
_KINDS = (nn.Linear, nn.Conv2d, nn.Embedding)


@dataclass(frozen=True)
class LowRankVQ:
    """How one layer's weight is coded.

    Parameters
    ----------
    k : int, default 256
        Codewords, from 2 to 256. Up to 16 take 4 bits a code, more take 8.
    block : int, default 16
        m: neighbouring weights of one output that share a code; must divide the weights of an output. It alone decides
        the size: 8 / m bits for each weight. The larger it is, the more is left to training.
    rank : int, optional
        d: width of the codewords, from 1 to m; m where left out, which is plain vector quantization. Smaller makes
        clustering exact and the map to m weights coarse, which training has to make up for.
    scaled : bool, default False
        Keep the size of each output (or row of a table) apart, in 2 bytes.

    Raises
    ------
    InputError
        A number out of range.

    Examples
    --------
    >>> LowRankVQ(block=8, rank=6).bits
    1.0
    """

    k: int = 256
    block: int = 16
    rank: int | None = None
    scaled: bool = False

    def __post_init__(self) -> None:
        check_count(self.k, name="k", minimum=2, maximum=_LARGEST_BOOK)
        check_count(self.block, name="block")
        if self.rank is not None:
            check_count(self.rank, name="rank", maximum=self.block)

    @property
    def width(self) -> int:
        """Return the rank that is meant, d."""
        return self.block if self.rank is None else self.rank

    @property
    def bits(self) -> float:
        """Return the bits of codes for each weight."""
        return (4 if self.k <= 16 else 8) / self.block


Policy = LowRankVQ | Mapping[str, LowRankVQ | None]


def chosen_layers(model: nn.Module, policy: Policy) -> dict[str, tuple[nn.Module, LowRankVQ]]:
    """Find the layers that a policy speaks of.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    policy : LowRankVQ or mapping of str to LowRankVQ or None
        One setting for all Linear, Conv2d and Embedding layers, or settings by patterns (``*``, ``?``) of names: the
        first that fits counts, None leaves a layer alone, and so does no fit.

    Returns
    -------
    dict of str to tuple of Module and LowRankVQ
        By name.

    Raises
    ------
    InputError
        No layer at all, a pattern that fits none, a weight that two layers share, or one that is coded already.
    """
    rules = {"*": policy} if isinstance(policy, LowRankVQ) else dict(policy)
    used: set[str] = set()
    out: dict[str, tuple[nn.Module, LowRankVQ]] = {}
    owners: dict[int, str] = {}
    for name, module in model.named_modules():
        if not isinstance(module, _KINDS):
            continue
        pattern = next((one for one in rules if fnmatchcase(name, one)), None)
        if pattern is None:
            continue
        used.add(pattern)
        setting = rules[pattern]
        if setting is None:
            continue
        if "weight" in getattr(module, "parametrizations", {}):
            given = f"the layer {name!r}, whose weight is parametrised already"
            raise InputError(message(given, "a plain weight", "compress a network once"))
        first = owners.setdefault(id(module.weight), name)
        if first != name:
            given = f"a weight that {first!r} and {name!r} share"
            raise InputError(message(given, "a weight of one layer", f"leave one out: policy={{{name!r}: None, ...}}"))
        out[name] = (module, setting)
    unused = [one for one in rules if one not in used]
    if unused or not out:
        given = f"patterns {unused} that no layer has" if unused else "a policy that chooses no layer"
        raise InputError(message(given, "names of Linear, Conv2d or Embedding layers", "see model.named_modules()"))
    return out
