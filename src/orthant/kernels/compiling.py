"""Turning functions into compiled kernels, at their first call and not earlier.

``@kernel`` replaces ``numba.njit``: the module that holds a kernel loads without Numba, compiled code is kept on disk
under a key that notices every edit, and kernels call each other as if they were plain Numba functions.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, overload

from orthant.errors import message
from orthant.kernels.compile_cache import numba_cache

__all__ = ["Kernel", "intrinsic", "kernel", "kernels_of", "known_groups"]

Examples = Callable[[], Iterable[tuple[Any, ...]]]

_groups: dict[str, list[Kernel]] = {}


class _Lazy(ABC):
    """A Python function that becomes something of Numba's when it is first needed."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)  # type: ignore[arg-type]
        self._function = function
        self._compiled: Any = None

    @property
    def compiled(self) -> Any:
        """What Numba makes of the function: made on first use, under a lock, and the same ever after."""
        if self._compiled is None:
            # The whole first: threads that import parts of a package with cycles can see each other's half-made ones.
            import numba  # noqa: F401
            from numba.core.compiler_lock import global_compiler_lock

            # Numba's lock and no other: a compilation that meets this wrapper already holds it.
            with global_compiler_lock:
                if self._compiled is None:
                    _teach_numba()
                    self._compiled = self._make()
        return self._compiled

    @abstractmethod
    def _make(self) -> Any:
        """Let Numba wrap the function."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._function.__module__}.{self._function.__qualname__}>"


class Kernel(_Lazy):
    """A function that Numba compiles when it is first called; made by the decorator ``kernel``.

    Parameters
    ----------
    function : function
        Arrays and numbers in; arrays changed in place or numbers out.
    options : dict
        Arguments of ``numba.njit``.
    group : str, optional
        Kernels that are needed together; see ``orthant.kernels.warmup``.
    examples : callable, optional
        Returns one tuple of arguments per signature to compile ahead. Only their types matter: nothing is executed.

    Attributes
    ----------
    compiled : numba dispatcher
        Numba's own object, to be inspected; calling it directly gains nothing.

    Notes
    -----
    Threads that call at once wait for one compilation. Within compiled code a kernel is an ordinary Numba function.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        options: dict[str, Any],
        *,
        group: str | None = None,
        examples: Examples | None = None,
    ) -> None:
        super().__init__(function)
        self._options = options
        self._group = group
        self._examples = examples

    def __call__(self, *args: Any) -> Any:
        """Run the kernel, compiled for the types of its arguments.

        Parameters
        ----------
        *args : ndarray, number or tuple
            The function's arguments, all of them and in order.

        Returns
        -------
        object
            What the function returns.
        """
        return self.compiled(*args)

    def _make(self) -> Any:
        import numba

        names = self._function.__code__.co_names
        # By identity: arrays among the globals would answer a comparison with an array.
        if any(self is value for value in map(self._function.__globals__.get, names)):
            # Numba's cache hands back code in which such a call was never resolved: it ends the process.
            raise TypeError(message(f"{self!r}, which calls itself", "a kernel without recursion", "use a loop"))
        made = numba.njit(nogil=True, **self._options)(self._function)
        # Under NUMBA_DISABLE_JIT, for debuggers and coverage, the function comes back as it is.
        if hasattr(made, "overloads"):
            cache = numba_cache(self._function)
            if cache is not None:
                made._cache = cache
        # Looked up on a class of its own, the call goes straight to Numba: no Python frame in between.
        self.__class__ = type("Kernel", (Kernel,), {"__call__": staticmethod(made)})
        return made

    def ready(self) -> bool:
        """Return whether at least one signature is compiled.

        Returns
        -------
        bool
            False until the first call or ``prepare``.
        """
        return bool(getattr(self._compiled, "overloads", ()))

    def prepare(self, stop: Callable[[], bool] | None = None) -> bool:
        """Compile every signature of the examples, or load it from the cache on disk, without executing anything.

        Parameters
        ----------
        stop : callable, optional
            Asked before each signature; True ends the work.

        Returns
        -------
        bool
            True when all are compiled.

        Notes
        -----
        Cost: from milliseconds for what is cached to seconds for a large function.
        """
        made = self.compiled
        if self._examples is None or not hasattr(made, "overloads"):
            return True
        for args in self._examples():
            if stop is not None and stop():
                return False
            made.compile(tuple(made.typeof_pyval(value) for value in args))
        return True


class Intrinsic(_Lazy):
    """An instruction for compiled code, defined by the LLVM code that it generates; made by ``intrinsic``."""

    def _make(self) -> Any:
        from numba import extending

        return extending.intrinsic(self._function)

    def __call__(self, *args: Any) -> Any:
        """Refuse: there is no code outside of kernels.

        Parameters
        ----------
        *args : number
            Ignored.

        Returns
        -------
        Any
            Never.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError(message(f"a call of {self!r} from Python", "a call inside a kernel", "wrap it in a kernel"))


@overload
def kernel(function: Callable[..., Any], /) -> Kernel: ...


@overload
def kernel(
    *,
    fastmath: bool | set[str] = ...,
    error_model: str = ...,
    group: str | None = ...,
    examples: Examples | None = ...,
    **options: Any,
) -> Callable[[Callable[..., Any]], Kernel]: ...


def kernel(
    function: Callable[..., Any] | None = None,
    /,
    *,
    fastmath: bool | set[str] = False,
    error_model: str = "numpy",
    group: str | None = None,
    examples: Examples | None = None,
    **options: Any,
) -> Kernel | Callable[[Callable[..., Any]], Kernel]:
    """Make a kernel of a function: compiled by Numba at its first call, without the interpreter lock, kept on disk.

    Parameters
    ----------
    function : function
        The function, where the decorator is used without arguments.
    fastmath : bool or set of str, default False
        What LLVM may do to floating-point sums, such as ``{"reassoc", "contract"}``; True allows all, and with it
        wrong answers for NaN and infinity.
    error_model : {"numpy", "python"}, default "numpy"
        ``"python"`` checks every division for zero, which also keeps loops from being vectorised.
    group : str, optional
        Name under which ``orthant.kernels.warmup`` compiles it ahead.
    examples : callable, optional
        Returns one tuple of arguments per signature; only their types matter.
    **options : object
        Further arguments of ``numba.njit``, such as ``forceinline=True``. There is no ``parallel``: threads come from
        ``orthant.threads``.

    Returns
    -------
    Kernel
        Called like the function, from Python and from other kernels of any module.

    Notes
    -----
    Decorating costs nothing and does not load Numba. Global names are constants at the time of compiling, as always in
    Numba. A kernel must not call itself. From its second call on it costs what a plain Numba function costs.

    Examples
    --------
    >>> import numpy as np
    >>> @kernel
    ... def largest_gap(values):
    ...     gap = 0.0
    ...     for i in range(1, len(values)):
    ...         gap = max(gap, values[i] - values[i - 1])
    ...     return gap
    >>> largest_gap(np.array([1.0, 2.0, 4.5]))
    2.5
    """
    settings = {"fastmath": fastmath, "error_model": error_model, **options}

    def decorate(target: Callable[..., Any]) -> Kernel:
        made = Kernel(target, settings, group=group, examples=examples)
        if group is not None:
            _groups.setdefault(group, []).append(made)
        return made

    return decorate if function is None else decorate(function)


def intrinsic(function: Callable[..., Any]) -> Intrinsic:
    """Make an instruction for kernels of a function, as ``numba.extending.intrinsic`` does, without loading Numba.

    Parameters
    ----------
    function : function
        Takes the typing context and the types of the arguments; returns a signature and the function that generates
        code. It runs while a kernel is compiled, so it may ask ``orthant.kernels.cpu`` what the processor can do; names
        from Numba and llvmlite are imported inside.

    Returns
    -------
    Intrinsic
        To be called from kernels only.
    """
    return Intrinsic(function)


def known_groups() -> list[str]:
    """Return the names of all groups that the modules imported so far have defined.

    Returns
    -------
    list of str
        In the order of definition.
    """
    return list(_groups)


def kernels_of(group: str) -> list[Kernel]:
    """Return the kernels of a group, in the order in which they were defined.

    Parameters
    ----------
    group : str
        Its name.

    Returns
    -------
    list of Kernel
        Empty when no module that defines such kernels has been imported.
    """
    return list(_groups.get(group, ()))


@functools.lru_cache(maxsize=1)
def _teach_numba() -> None:
    """Let compiled code see through our wrappers, wherever it meets one: a global, a closure, a module's attribute."""
    from numba import types
    from numba.core.registry import cpu_target
    from numba.extending import typeof_impl

    @typeof_impl.register(Kernel)
    def _kernel_type(value: Kernel, context: Any) -> Any:
        return types.Dispatcher(value.compiled)

    @typeof_impl.register(Intrinsic)
    def _intrinsic_type(value: Intrinsic, context: Any) -> Any:
        made = value.compiled
        typing = cpu_target.typing_context
        # An intrinsic made in the middle of a compilation is not known to it before this.
        typing.refresh()
        return typing.resolve_value_type(made)
