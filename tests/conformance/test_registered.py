"""A public class that speaks a protocol must be in the registry, so that nothing escapes the suites."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import types

import pytest

from conformance import registry
from orthant.index import Flat

WINGS = {
    "orthant.index": (("add", "remove", "search", "stats", "save"), registry.INDEXES),
    "orthant.encoders": (("encode", "encode_with_report"), registry.ENCODERS),
    "orthant.transforms": (("fit", "transform"), registry.TRANSFORMS),
    "orthant.quantization": (("fit", "encode", "decode", "score"), registry.QUANTIZERS),
}


def modules_of(package: str) -> list[types.ModuleType]:
    root = importlib.import_module(package)
    out = [root]
    for info in pkgutil.walk_packages(root.__path__, prefix=f"{package}."):
        try:
            out.append(importlib.import_module(info.name))
        except ImportError as error:
            # An extra that is not installed hides the module; a fault of our own must not.
            if (error.name or "orthant").startswith("orthant"):
                raise
    return out


def speakers(modules: list[types.ModuleType], methods: tuple[str, ...]) -> set[type]:
    found = set()
    for module in modules:
        for name, value in vars(module).items():
            if (
                inspect.isclass(value)
                and not name.startswith("_")
                and value.__module__ == module.__name__
                and not inspect.isabstract(value)
                and not getattr(value, "_is_protocol", False)
                and all(callable(getattr(value, method, None)) for method in methods)
            ):
                found.add(value)
    return found


def made_by(cases: dict) -> set[type]:
    out = set()
    for case in cases.values():
        if isinstance(case, registry.IndexCase):
            out.add(type(case.make(4, case.metrics[0])))
        elif isinstance(case, registry.EncoderCase):
            out.add(type(case.make()))
        else:
            out.add(type(case.make(16)))
    return out


@pytest.mark.parametrize("package", WINGS)
def test_every_public_class_is_registered(package):
    methods, cases = WINGS[package]
    missing = speakers(modules_of(package), methods) - made_by(cases)
    missing = {cls.__name__ for cls in missing} - set(registry.EXEMPT)
    assert not missing, f"register in tests/conformance/registry.py: {sorted(missing)}"


def test_the_walk_finds_what_there_is():
    methods, cases = WINGS["orthant.index"]
    assert Flat in speakers(modules_of("orthant.index"), methods) and Flat in made_by(cases)


def test_an_unregistered_class_would_be_found():
    module = types.ModuleType("orthant.index.invented")
    newcomer = type("Newcomer", (Flat,), {"__module__": module.__name__})
    module.Newcomer = newcomer
    assert speakers([module], WINGS["orthant.index"][0]) - made_by(registry.INDEXES) == {newcomer}


def test_exemptions_have_reasons():
    assert all(len(reason) > 20 for reason in registry.EXEMPT.values())
