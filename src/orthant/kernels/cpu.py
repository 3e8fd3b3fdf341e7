"""What this processor can do, and which of a kernel's forms it therefore gets.

Asked once per process, through the library that generates the code, so that both always agree. Nothing is loaded when
this module is.
"""

from __future__ import annotations

import os
import platform
import sys
from functools import lru_cache
from typing import Any, Literal, cast, get_args

from orthant.errors import InputError, message

__all__ = ["SimdLevel", "describe", "features", "name", "simd_level"]

SimdLevel = Literal["avx512", "avx2", "portable"]
"""Forms of a kernel: 512-bit registers with VNNI, 256-bit registers, or whatever the compiler makes of plain loops."""

_SETTING = "ORTHANT_SIMD"
_NEEDED: dict[SimdLevel, frozenset[str]] = {
    "avx512": frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni"}),
    "avx2": frozenset({"avx2", "fma", "f16c"}),
    "portable": frozenset(),
}


@lru_cache(maxsize=1)
def features() -> frozenset[str]:
    """Return the features of the processor, as LLVM names them.

    Returns
    -------
    frozenset of str
        Such as ``"avx2"`` or ``"neon"``; empty where LLVM cannot tell.

    Notes
    -----
    Cost: loads llvmlite once, about 50 ms, and nothing afterwards.
    """
    try:
        found = _binding().get_host_cpu_features()
    except RuntimeError:
        # LLVM does not know every processor; portable kernels run on all of them.
        return frozenset()
    return frozenset(feature for feature, present in found.items() if present)


@lru_cache(maxsize=1)
def name() -> str:
    """Return the processor's name, as LLVM knows it.

    Returns
    -------
    str
        Such as ``"znver4"``; ``"generic"`` where LLVM cannot tell.
    """
    return str(_binding().get_host_cpu_name()) or "generic"


def _binding() -> Any:
    if "numba" in sys.modules:
        # Another thread may be in the middle of importing it, and with it of llvmlite: wait for the whole.
        import numba  # noqa: F401
    from llvmlite import binding

    return binding


@lru_cache(maxsize=1)
def simd_level() -> SimdLevel:
    """Return which form of the kernels this process uses.

    Returns
    -------
    {"avx512", "avx2", "portable"}
        The best that the processor has, or what ``ORTHANT_SIMD`` asks for. Fixed at the first call: compiled code
        cannot change its mind.

    Raises
    ------
    InputError
        ``ORTHANT_SIMD`` is no such level, or one that this processor does not have.

    Notes
    -----
    ``"avx512"`` means VNNI as well: without its byte products the wider registers gain little over AVX2, and early
    processors slow down for them.
    """
    levels = cast("tuple[SimdLevel, ...]", get_args(SimdLevel))
    # The names of features are x86 ones; elsewhere the compiler vectorises the plain loops.
    here = platform.machine().lower() in ("x86_64", "amd64")
    had = [level for level in levels if not _NEEDED[level] or (here and _NEEDED[level] <= features())]
    asked = os.environ.get(_SETTING, "").strip().lower()
    if not asked:
        return had[0]
    for level in had:
        if level == asked:
            return level
    raise InputError(
        message(f"{_SETTING}={asked!r}", f"one of {', '.join(had)} on this processor", f"unset {_SETTING} or change it")
    )


def describe() -> str:
    """Return one line on the processor and the form of kernels chosen for it.

    Returns
    -------
    str
        Name, level, and the features that decided it.

    Raises
    ------
    InputError
        As ``simd_level``.
    """
    level = simd_level()
    telling = sorted(features() & (_NEEDED["avx512"] | _NEEDED["avx2"] | {"neon", "sve", "avx512vpopcntdq"}))
    shown = "avx512-vnni" if level == "avx512" else level
    forced = f", forced by {_SETTING}" if os.environ.get(_SETTING, "").strip() else ""
    return f"{shown} kernels{forced}; {name()}: {' '.join(telling) or 'no vector features known'}"
