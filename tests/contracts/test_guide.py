"""The README and the guide are programs: every block runs, every link leads somewhere."""

from __future__ import annotations

import pytest

from contracts.package import ROOT
from contracts.pages import EXECUTED, GUIDE, KINDS, NOT_RUN, blocks, links, run_page

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _id(page):
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", EXECUTED, ids=_id)
def test_w58_every_block_runs(page, tmp_path):
    run_page(page, tmp_path)


@pytest.mark.parametrize("page", EXECUTED, ids=_id)
def test_pages_have_something_to_run(page):
    assert any(block.runs for block in blocks(page))


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_blocks_have_a_known_kind(page):
    assert not [f"line {block.line}: {block.kind!r}" for block in blocks(page) if block.kind not in KINDS]


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_links_lead_somewhere(page):
    assert not [target for target in links(page) if not (page.parent / target).exists()]


def test_w58_the_index_lists_every_page():
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / target).resolve() for target in links(index)}
    assert not [_id(page) for page in sorted((ROOT / "docs").rglob("*.md")) if page != index and page not in listed]


def test_guide_pages_stay_short():
    long = {page.name: len(page.read_text(encoding="utf-8").splitlines()) for page in GUIDE}
    assert not {name: count for name, count in long.items() if count > 160}


def test_a_failing_block_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md"):
        run_page(page, tmp_path)
    page.write_text("```console\n$ orthant search nowhere text\n```\n")
    with pytest.raises(AssertionError, match="exit code 2"):
        run_page(page, tmp_path)
    page.write_text(f"{NOT_RUN}\n```python\nraise ValueError\n```\n\n```text\nnothing\n```\n")
    assert run_page(page, tmp_path) == ""
