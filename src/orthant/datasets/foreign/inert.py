"""The values in a pickle, read as data: strings, numbers, lists and dicts, and no code is ever run."""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any

from orthant.errors import InputError, message

__all__ = ["read_inert"]

_LITERALS = {
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
    "UNICODE",
    "BININT",
    "BININT1",
    "BININT2",
    "INT",
    "LONG",
    "LONG1",
    "LONG4",
    "BINFLOAT",
    "FLOAT",
    "SHORT_BINBYTES",
    "BINBYTES",
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


class _Reader:
    """The stack and the memo of one pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def _to_mark(self) -> list[Any]:
        at = len(self.stack) - 1 - self.stack[::-1].index(_MARK)
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def step(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name in ("SETITEM", "SETITEMS", "APPEND", "APPENDS"):
            self._fill(name)
        elif name in _TUPLES or name == "TUPLE":
            self._tuple(name)
        else:
            self._object(name, argument)

    def _fill(self, name: str) -> None:
        count = {"SETITEM": 2, "APPEND": 1}.get(name)
        values = self._to_mark() if count is None else [self.stack.pop() for _ in range(count)][::-1]
        target = self.stack[-1]
        if name.startswith("SET"):
            target.update(zip(values[::2], values[1::2], strict=True))
        else:
            target.extend(values)

    def _tuple(self, name: str) -> None:
        count = _TUPLES.get(name)
        values = self._to_mark() if count is None else [self.stack.pop() for _ in range(count)][::-1]
        self.stack.append(tuple(values))

    def _object(self, name: str, argument: Any) -> None:
        """Keep an object's attributes as a dict; its class stays a name that nobody looks up."""
        if name == "GLOBAL":
            self.stack.append(str(argument))
        elif name == "STACK_GLOBAL":
            attribute, module = self.stack.pop(), self.stack.pop()
            self.stack.append(f"{module} {attribute}")
        elif name == "NEWOBJ":
            del self.stack[-2:]
            self.stack.append({})
        elif name == "BUILD":
            state = self.stack.pop()
            self.stack[-1].update(state)
        else:
            raise ValueError(f"the instruction {name}")


def read_inert(data: bytes, *, name: str) -> Any:
    r"""Return the values that a pickle holds, without running anything that it asks for.

    Instructions are read one by one. Those that build plain values are followed; an object becomes a dict of its
    attributes; whatever would call a function is refused.

    Parameters
    ----------
    data : bytes
        The pickle, of protocol 2 or newer.
    name : str
        How the file is called in an error.

    Returns
    -------
    object
        Strings, numbers, None, lists, tuples and dicts.

    Raises
    ------
    InputError
        It holds something else, or ends early.

    Examples
    --------
    >>> read_inert(b"\x80\x03}X\x01\x00\x00\x00aK\x01s.", name="an example")
    {'a': 1}
    """
    reader = _Reader()
    try:
        for code, argument, _ in pickletools.genops(data):
            if code.name == "STOP":
                return reader.stack.pop()
            if code.name not in ("PROTO", "FRAME"):
                reader.step(code.name, argument)
        raise ValueError("no end")
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            message(
                f"{name} with {error or 'instructions out of order'}",
                "a file of plain strings, numbers, lists and dicts",
                "export the data with the program that wrote it; nothing from this file was run",
            )
        ) from error
