"""SVG shapes as lists of points: paths with curves and arcs, circles, ellipses, rectangles, lines."""

from __future__ import annotations

import cmath
import itertools
import math
import re
from collections.abc import Iterator, Mapping

from orthant.errors import InputError, message

__all__ = ["outlines"]

_SHAPE = re.compile(r"<(\w+)((?:\s+[\w-]+\s*=\s*\"[^\"]*\")*)\s*/?>")
_ATTRIBUTE = re.compile(r"([\w-]+)\s*=\s*\"([^\"]*)\"")
_FLAG = re.compile("[01]")
_TOKEN = re.compile(r"[MmLlHhVvCcSsQqTtAaZz]|[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_TAKES = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7, "Z": 0}
_STEPS = 16


def outlines(shapes: str) -> list[list[complex]]:
    """Return the strokes of SVG shapes as polylines.

    Parameters
    ----------
    shapes : str
        Elements ``path``, ``circle``, ``ellipse``, ``rect``, ``line``, ``polyline`` and ``polygon``, as they stand
        inside an ``svg`` element.

    Returns
    -------
    list of list of complex
        x as the real part, y as the imaginary one; curves in 16 steps.

    Raises
    ------
    InputError
        Another element, or a path that cannot be read.

    Notes
    -----
    Arcs go from end points to a centre as the SVG standard's notes on implementation say.

    References
    ----------
    Scalable Vector Graphics 2, W3C, section 9.3 and appendix on elliptical arcs.

    Examples
    --------
    >>> outlines('<path d="M1 2h3v-1z" />')
    [[(1+2j), (4+2j), (4+1j), (1+2j)]]
    """
    out: list[list[complex]] = []
    for tag, inside in _SHAPE.findall(shapes):
        given = dict(_ATTRIBUTE.findall(inside))
        if tag == "path":
            out.extend(_path(given.get("d", "")))
        elif tag in _SIMPLE:
            out.append(_SIMPLE[tag](given))
        else:
            raise InputError(
                message(f"an SVG element {tag!r}", f"of path, {', '.join(_SIMPLE)}", "convert it to paths")
            )
    return out


def _number(given: Mapping[str, str], name: str) -> float:
    return float(given.get(name, 0))


def _oval(given: Mapping[str, str]) -> list[complex]:
    rx, ry = (_number(given, name if name in given else "r") for name in ("rx", "ry"))
    centre = complex(_number(given, "cx"), _number(given, "cy"))
    angles = (2 * math.pi * i / (2 * _STEPS) for i in range(2 * _STEPS + 1))
    return [centre + complex(rx * math.cos(a), ry * math.sin(a)) for a in angles]


def _rectangle(given: Mapping[str, str]) -> list[complex]:
    corner = complex(_number(given, "x"), _number(given, "y"))
    w, h = _number(given, "width"), _number(given, "height")
    rx = min(float(given.get("rx", given.get("ry", 0))), w / 2)
    ry = min(float(given.get("ry", given.get("rx", 0))), h / 2)
    out: list[complex] = []
    corners = ((w - rx, ry, -90), (w - rx, h - ry, 0), (rx, h - ry, 90), (rx, ry, 180))
    for x, y, begin in corners:
        for i in range(5):
            angle = math.radians(begin + 22.5 * i)
            out.append(corner + complex(x + rx * math.cos(angle), y + ry * math.sin(angle)))
    return [*out, out[0]]


def _points(given: Mapping[str, str]) -> list[complex]:
    numbers = [float(token) for token in _TOKEN.findall(given.get("points", ""))]
    return [complex(x, y) for x, y in zip(numbers[::2], numbers[1::2], strict=False)]


def _line(given: Mapping[str, str]) -> list[complex]:
    return [complex(_number(given, "x1"), _number(given, "y1")), complex(_number(given, "x2"), _number(given, "y2"))]


_SIMPLE = {
    "circle": _oval,
    "ellipse": _oval,
    "rect": _rectangle,
    "line": _line,
    "polyline": _points,
    "polygon": lambda given: [*_points(given), *_points(given)[:1]],
}


def _commands(text: str) -> Iterator[tuple[str, list[float]]]:
    """Yield the commands of a path with their numbers; flags of arcs may stand without a space."""
    place, command = 0, ""
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            if not (text[place].isspace() or text[place] == ","):
                raise InputError(message(f"{text[place : place + 10]!r} in a path", "commands and numbers", "check it"))
            place += 1
            continue
        if found.group().isalpha():
            command, place = found.group(), found.end()
            if command in "Zz":
                yield command, []
            continue
        numbers: list[float] = []
        wanted = _TAKES.get(command.upper(), 0)
        while wanted and len(numbers) < wanted:
            while place < len(text) and (text[place].isspace() or text[place] == ","):
                place += 1
            flag = command in "Aa" and len(numbers) in (3, 4)
            found = _FLAG.match(text, place) if flag else _TOKEN.match(text, place)
            if found is None or found.group().isalpha():
                raise InputError(message(f"a path {text!r}", f"{wanted} numbers behind {command}", "check it"))
            numbers.append(float(found.group()))
            place = found.end()
        if not wanted:
            raise InputError(message(f"a path {text!r}", "a command before its numbers", "check it"))
        yield command, numbers
        command = {"M": "L", "m": "l"}.get(command, command)


def _path(text: str) -> list[list[complex]]:
    out: list[list[complex]] = []
    now, control, before = 0j, 0j, ""
    for command, numbers in _commands(text):
        kind, base = command.upper(), now if command.islower() else 0j
        pairs = [complex(x, y) + base for x, y in zip(numbers[::2], numbers[1::2], strict=False)]
        if kind == "M":
            out.append([pairs[0]])
            now = control = pairs[0]
        elif kind == "Z":
            now = control = out[-1][0] if out else now
            out[-1].append(now)
        else:
            if before == "Z":
                out.append([now])
            mirrored = 2 * now - control if before in _MIRRORED.get(kind, "") else now
            points, control = _segment(kind, numbers, pairs, now, base, mirrored)
            out[-1].extend(points)
            now = points[-1]
        before = kind
    return out


_MIRRORED = {"S": "CS", "T": "QT"}


def _segment(
    kind: str, numbers: list[float], pairs: list[complex], now: complex, base: complex, mirrored: complex
) -> tuple[list[complex], complex]:
    """Return the points behind the present one, and the control point that a smooth curve goes on from."""
    if kind == "H":
        end = complex(numbers[0] + base.real, now.imag)
    elif kind == "V":
        end = complex(now.real, numbers[0] + base.imag)
    elif kind == "L":
        end = pairs[0]
    elif kind == "A":
        end = complex(numbers[5], numbers[6]) + base
        return _arc(now, end, numbers), end
    else:
        inner = {"C": pairs[:2], "S": [mirrored, pairs[0]], "Q": pairs[:1], "T": [mirrored]}[kind]
        return _bezier([now, *inner, pairs[-1]]), inner[-1]
    return [end], end


def _bezier(points: list[complex]) -> list[complex]:
    out = []
    for i in range(1, _STEPS + 1):
        t, left = i / _STEPS, points
        while len(left) > 1:
            left = [a + t * (b - a) for a, b in itertools.pairwise(left)]
        out.append(left[0])
    return out


def _arc(start: complex, end: complex, numbers: list[float]) -> list[complex]:
    rx, ry, turned, large, sweep = abs(numbers[0]), abs(numbers[1]), numbers[2], numbers[3], numbers[4]
    if start == end or not rx or not ry:
        return [end]
    turn = cmath.rect(1, math.radians(turned))

    def scaled(z: complex) -> complex:
        z = z / turn
        return complex(z.real / rx, z.imag / ry)

    # In these coordinates the ellipse is a unit circle through both points, enlarged where it is too small.
    half = scaled(end - start) / 2
    grown = max(1.0, abs(half))
    half /= grown
    up = math.sqrt(max(0.0, 1 - abs(half) ** 2)) / max(abs(half), 1e-12)
    centre = half + half * 1j * up * (1 if large != sweep else -1)
    first, last = cmath.phase(-centre), cmath.phase(2 * half - centre)
    span = (last - first) % (2 * math.pi) if sweep else -((first - last) % (2 * math.pi))
    out = []
    for i in range(1, _STEPS + 1):
        z = (centre + cmath.rect(1, first + span * i / _STEPS)) * grown
        out.append(start + complex(z.real * rx, z.imag * ry) * turn)
    return [*out[:-1], end]
