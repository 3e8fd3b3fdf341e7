"""A slow, obvious evaluator of where-expressions over plain dicts, written from the documented semantics only."""

from __future__ import annotations

from typing import Any

MISSING = object()


def family(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "list" if isinstance(value, list) else "object"


def lookup(record: dict[str, Any], path: str) -> Any:
    if path in record:
        return record[path]
    for key, value in record.items():
        if isinstance(value, dict) and path.startswith(key + "."):
            found = lookup(value, path[len(key) + 1 :])
            if found is not MISSING:
                return found
    return MISSING


def equal(cell: Any, operand: Any) -> bool:
    return (
        cell is not MISSING
        and family(cell) == family(operand)
        and family(cell) not in ("list", "object")
        and cell == operand
    )


def matches(record: dict[str, Any] | None, expression: dict[str, Any]) -> bool:
    for key, operand in expression.items():
        if key == "and":
            ok = all(matches(record, part) for part in operand)
        elif key == "or":
            ok = any(matches(record, part) for part in operand)
        elif key == "not":
            ok = not matches(record, operand)
        else:
            cell = lookup(record or {}, key)
            operators = operand if isinstance(operand, dict) else {"eq": operand}
            ok = all(compare(cell, name, value) for name, value in operators.items())
        if not ok:
            return False
    return True


def compare(cell: Any, name: str, operand: Any) -> bool:
    if name == "eq":
        return equal(cell, operand)
    if name == "ne":
        return not equal(cell, operand)
    if name == "in":
        return any(equal(cell, item) for item in operand)
    if name == "nin":
        return not any(equal(cell, item) for item in operand)
    if name == "exists":
        return (cell is not MISSING and cell is not None) == operand
    if name == "not":
        return not all(compare(cell, inner, value) for inner, value in operand.items())
    if name == "contains":
        if isinstance(cell, list):
            return any(equal(item, operand) for item in cell)
        return isinstance(cell, str) and isinstance(operand, str) and operand in cell
    if cell is MISSING or family(cell) != family(operand):
        return False
    return {"gt": cell > operand, "gte": cell >= operand, "lt": cell < operand, "lte": cell <= operand}[name]


def refused(records: list[dict[str, Any]], expression: dict[str, Any]) -> bool:
    """Whether a condition of the expression fits no type that its field holds in these records."""
    for key, operand in expression.items():
        if key in ("and", "or"):
            found = any(refused(records, part) for part in operand)
        elif key == "not":
            found = refused(records, operand)
        else:
            cells = [cell for cell in (lookup(record, key) for record in records) if cell is not MISSING]
            operators = operand if isinstance(operand, dict) else {"eq": operand}
            found = any(misfit(cells, name, value) for name, value in operators.items())
        if found:
            return True
    return False


def misfit(cells: list[Any], name: str, operand: Any) -> bool:
    held = {family(cell) for cell in cells} - {"null"}
    if not held or name == "exists":
        return False
    if name == "contains":
        fitting = held & ({"list", "string"} if isinstance(operand, str) else {"list"})
        inner = {family(item) for cell in cells if isinstance(cell, list) for item in cell} - {"null"}
        wrong_elements = bool(inner) and operand is not None and family(operand) not in inner
        return not fitting or (fitting == {"list"} and wrong_elements)
    wanted = {family(item) for item in (operand if name in ("in", "nin") else [operand])}
    return bool(wanted) and "null" not in wanted and held.isdisjoint(wanted)
