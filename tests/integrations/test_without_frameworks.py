"""Without the framework a module loads, and making an object names the extra."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
CASES = [
    ("langchain_core", "langchain", "OrthantVectorStore", "langchain"),
    ("langchain_core", "langchain", "OrthantEmbeddings", "langchain"),
    ("llama_index.core", "llamaindex", "OrthantVectorStore", "llamaindex"),
    ("llama_index.core", "llamaindex", "OrthantEmbedding", "llamaindex"),
    ("haystack", "haystack", "OrthantDocumentStore", "haystack"),
    ("mteb.models", "mteb", "OrthantModel", "mteb"),
    ("haystack", "haystack_retrievers", "OrthantHybridRetriever", "haystack"),
]


@pytest.mark.parametrize(("package", "module", "name", "extra"), CASES, ids=[f"{c[1]}-{c[2]}" for c in CASES])
def test_w41_the_message_names_the_extra(package, module, name, extra):
    code = f"""
import sys
sys.modules[{package!r}] = None
from orthant.errors import MissingExtraError
import orthant.integrations.{module} as home
try:
    home.{name}("static")
except MissingExtraError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert f"orthant[{extra}]" in done.stdout
