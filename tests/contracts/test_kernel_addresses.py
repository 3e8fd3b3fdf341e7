"""Arrays made by a kernel live as long as their name is used: an address kept behind it points to freed memory."""

from __future__ import annotations

import ast
from pathlib import Path

import orthant

_MAKERS = {"np.empty", "np.zeros", "np.full", "np.ones", "key_buffer"}


def _kernels():
    for path in sorted(Path(orthant.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and any("kernel" in ast.unparse(d) for d in node.decorator_list):
                yield f"{path.stem}.{node.name}", node


def _pairs(node):
    target, value = node.targets[0], node.value
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return list(zip(target.elts, value.elts, strict=True))
    return [(target, value)]


def lost_addresses(function):
    """Return the arrays whose address was put aside and which are not named afterwards."""
    nodes = list(ast.walk(function))
    pairs = [pair for node in nodes if isinstance(node, ast.Assign) for pair in _pairs(node)]
    made = {ast.unparse(a) for a, b in pairs if isinstance(b, ast.Call) and ast.unparse(b.func) in _MAKERS}
    lost = []
    for _, value in pairs:
        text = ast.unparse(value)
        if text.endswith(".ctypes.data") and text[: -len(".ctypes.data")] in made:
            name = text[: -len(".ctypes.data")]
            later = [n for n in nodes if isinstance(n, ast.Name) and n.id == name and n.lineno > value.lineno]
            if not later:
                lost.append(name)
    return lost


def test_no_kernel_keeps_the_address_of_an_array_that_it_lets_go():
    found = {name: lost for name, function in _kernels() if (lost := lost_addresses(function))}
    assert not found, f"name these arrays again, or ask for .ctypes.data where it is used: {found}"


def test_a_lost_address_is_found():
    source = "def f(n):\n    room = np.empty(n)\n    at = room.ctypes.data\n    return g(at)\n"
    assert lost_addresses(ast.parse(source).body[0]) == ["room"]
    kept = source.replace("return g(at)", "out = g(at)\n    room[0] = out\n    return out")
    assert lost_addresses(ast.parse(kept).body[0]) == []
