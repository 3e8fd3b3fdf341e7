"""Requests made from the OpenAPI document: no error of the server, and no answer that the document does not promise."""

from __future__ import annotations

import contextlib
import json

import pytest

pytest.importorskip("schemathesis", reason="schemathesis is not installed: pip install schemathesis")

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from orthant.server import background
from orthant.server.keys import KeyFile
from server.serving import make

# Bodies may be refused although they fit the document: it cannot say which spaces, ids and fields there are.
_UNPROMISED = {"positive_data_acceptance"}


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    """Records, one per line."""
    return b"\n".join(json.dumps(one).encode() for one in (value if isinstance(value, list) else [value]))


@pytest.mark.parametrize(
    ("mode", "keyed"), [(GenerationMode.POSITIVE, True), (GenerationMode.NEGATIVE, False)], ids=["fitting", "wrong"]
)
def test_answers_keep_to_the_document(tmp_path, mode, keyed):
    load_all_checks()
    headers, keys = {}, None
    if keyed:
        keys = KeyFile(tmp_path / "keys.json")
        headers["Authorization"] = f"Bearer {keys.add('all', {'*': 'admin'})}"
    excluded = [check for check in CHECKS.get_all() if check.__name__ in _UNPROMISED]
    assert len(excluded) == len(_UNPROMISED)
    books = make(tmp_path / "books", count=60)
    asked = 0
    with background({"books": books}, keys=keys, models={"static": "static"}, mcp_write=True) as url:
        document = schemathesis.openapi.from_url(f"{url}/openapi.json")
        for operation in (found.ok() for found in document.get_all_operations()):

            @settings(
                max_examples=2,
                derandomize=True,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case):
                nonlocal asked
                asked += 1
                for name, value in (("name", "books"), ("model", "static")):
                    if name in case.path_parameters:
                        case.path_parameters[name] = value
                    named = isinstance(case.body, dict) and isinstance(case.body.get(name), str)
                    # A wrong one must stay what it is.
                    if name == "model" and named and mode is GenerationMode.POSITIVE:
                        case.body[name] = value
                case.call_and_validate(headers=headers, excluded_checks=excluded)

            # What takes no arguments has no wrong ones.
            with contextlib.suppress(Unsatisfiable):
                ask()
    assert asked > 40
