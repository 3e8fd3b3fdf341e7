"""Who may import whom: arrows, cycles, and nothing heavy at import."""

from __future__ import annotations

import graphlib
import json
import os
import subprocess
import sys

import pytest

from contracts.package import ROOT, imports, modules, wing

FOUNDATION = {"errors", "types", "validate", "estimator", "artifact", "threads", "http_json", "urls"}
LOW = FOUNDATION | {"kernels", "measures", "transforms", "quantization"}
ALLOWED = {
    **dict.fromkeys(FOUNDATION, FOUNDATION),
    "kernels": FOUNDATION | {"kernels"},
    "measures": FOUNDATION | {"kernels", "measures"},
    "transforms": FOUNDATION | {"kernels", "measures", "transforms"},
    "quantization": FOUNDATION | {"kernels", "measures", "transforms", "quantization"},
    "datasets": FOUNDATION | {"datasets"},
    "nn": LOW | {"nn"},
    "encoders": LOW | {"nn", "encoders"},
    "index": LOW | {"index"},
    "learn": LOW | {"nn", "encoders", "datasets", "learn"},
    "evaluation": LOW | {"nn", "encoders", "index", "datasets", "learn", "evaluation"},
    # Reading records and exports of users is the business of `datasets`; a collection builds on it.
    "collection": LOW | {"encoders", "index", "datasets", "collection"},
    "feed": LOW | {"encoders", "index", "datasets", "collection", "feed"},
    # Whoever only asks a server needs neither NumPy nor anything else beside the standard library.
    "client": {"client", "errors", "urls"},
}
ANYTHING = {"papers", "server", "cli", "integrations", "__main__", "orthant"}
NEVER_IMPORTED = {"papers", "server", "cli", "client", "integrations"}
HEAVY = {"numba", "scipy", "sklearn", "torch", "transformers", "sentence_transformers", "pandas", "pyarrow"}
HEAVY |= {
    "llvmlite",
    "h5py",
    "onnx",
    "onnxruntime",
    "tokenizers",
    "safetensors",
    "rich",
    "typer",
    "matplotlib",
    "faiss",
}
HEAVY |= {"fastapi", "starlette", "pydantic", "uvicorn", "httpx", "opentelemetry", "mcp", "openai"}
HEAVY_AT_HOME = {
    "nn": {"torch"},
    "learn": {"torch", "transformers", "sentence_transformers"},
    "server": {"fastapi", "starlette", "pydantic", "uvicorn"},
}


@pytest.mark.parametrize("name", sorted(modules()))
def test_arrows_point_downward(name):
    home = wing(name)
    assert home in ALLOWED or home in ANYTHING, f"{name}: add the wing {home!r} to the contract"
    for entry in imports(name):
        if not entry.module.startswith("orthant") or entry.module == "orthant":
            continue
        target = wing(entry.module)
        if home in ALLOWED:
            assert target in ALLOWED[home], f"{name}:{entry.line} imports {entry.module}"
        if target in NEVER_IMPORTED:
            assert home == target or home in ANYTHING, f"{name}:{entry.line} imports {entry.module}"


def test_no_cycles_at_load():
    graph = {
        name: {e.module for e in imports(name) if e.at_load and e.module in modules() and e.module != name}
        for name in modules()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail("import cycle: " + " -> ".join(error.args[1]))


@pytest.mark.parametrize("name", sorted(modules()))
def test_w44_heavy_imports_wait_until_used(name):
    allowed = HEAVY_AT_HOME.get(wing(name), set())
    heavy = [f"{e.module}:{e.line}" for e in imports(name) if e.at_load and e.module.split(".")[0] in HEAVY - allowed]
    assert not heavy, f"{name} imports {heavy} when it is loaded; move the import to where it is used"


def _run(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, env=environment
    ).stdout.decode()


@pytest.mark.parametrize(
    "statement",
    ["import orthant", "import orthant; orthant.open", "import orthant.cli.main", "import orthant.encoders.registry"],
)
def test_w44_import_is_light(statement):
    loaded = set(json.loads(_run(f"import json, sys; {statement}; print(json.dumps(list(sys.modules)))")))
    assert not {name.split(".")[0] for name in loaded} & HEAVY


def test_w44_nothing_compiles_when_kernels_are_imported():
    names = [name for name in modules() if wing(name) == "kernels"]
    code = f"import importlib, json, sys; [importlib.import_module(name) for name in {names!r}]"
    loaded = set(json.loads(_run(f"{code}; print(json.dumps(list(sys.modules)))")))
    assert not {name.split(".")[0] for name in loaded} & HEAVY


def test_w44_import_adds_little_to_numpy():
    # CPU seconds of the import itself, best of five fresh processes: a busy machine must not fail this.
    code = "import numpy, time; t = time.process_time(); import orthant; print(time.process_time() - t)"
    assert min(float(_run(code)) for _ in range(5)) < 0.15
