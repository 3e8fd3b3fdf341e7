"""The blocks of the guide that need a framework run where all frameworks are installed."""

from __future__ import annotations

import pytest

from contracts.pages import GUIDE, NOT_RUN, run_page


def test_the_page_runs_whole(tmp_path):
    for name in ("langchain_core", "llama_index.core", "haystack", "mteb"):
        pytest.importorskip(name, reason="needs the extras 'langchain', 'llamaindex', 'haystack' and 'mteb'")
    page = next(path for path in GUIDE if path.stem.endswith("-frameworks"))
    whole = tmp_path / page.name
    whole.write_text(page.read_text(encoding="utf-8").replace(NOT_RUN, ""), encoding="utf-8")
    (tmp_path / "run").mkdir()
    run_page(whole, tmp_path / "run")
