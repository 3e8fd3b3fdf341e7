"""Markdown pages as programs: their fenced blocks, and a runner that executes them in order."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import traceback
from dataclasses import dataclass
from pathlib import Path

from contracts.package import ROOT

GUIDE = sorted((ROOT / "docs" / "guide").glob("*.md"))
EXECUTED = [ROOT / "README.md", *GUIDE]
NOT_RUN = "<!-- not run -->"
KINDS = {"python", "console", "text", "json"}


@dataclass(frozen=True)
class Block:
    """One fenced block: its kind, its lines, the line it begins at, and whether it runs."""

    kind: str
    text: str
    line: int
    runs: bool


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page in order."""
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    begin = None
    for number, line in enumerate(lines, 1):
        if not line.startswith("```"):
            continue
        if begin is None:
            begin = number
            continue
        kind = lines[begin - 1][3:].strip()
        before = next((text for text in reversed(lines[: begin - 1]) if text.strip()), "")
        runs = kind in ("python", "console") and before.strip() != NOT_RUN
        found.append(Block(kind, "\n".join(lines[begin : number - 1]), begin, runs))
        begin = None
    if begin is not None:
        raise ValueError(f"{page.name}: the block of line {begin} is not closed")
    return found


def _python(block: Block, name: str, namespace: dict) -> None:
    # Empty lines in front keep the line numbers of the page in a traceback.
    code = compile("\n" * block.line + block.text, name, "exec")
    exec(code, namespace)


def _console(block: Block, name: str) -> None:
    from orthant.cli.main import main

    for offset, line in enumerate(block.text.splitlines(), 1):
        if not line.startswith("$ "):
            continue
        words = shlex.split(line[2:], comments=True)
        if words[0] != "orthant":
            raise ValueError(f"{name}:{block.line + offset}: only `orthant` runs here, not {words[0]!r}")
        try:
            main(words[1:])
        except SystemExit as ended:
            if ended.code not in (0, None):
                raise RuntimeError(f"{name}:{block.line + offset}: exit code {ended.code} from {line!r}") from ended


def run_page(page: Path, folder: Path) -> str:
    """Execute a page's blocks in a folder; Python blocks share one namespace. Returns what was printed."""
    printed = io.StringIO()
    namespace: dict = {"__name__": "__page__"}
    before = Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            for block in blocks(page):
                if block.runs and block.kind == "python":
                    _python(block, page.name, namespace)
                elif block.runs:
                    _console(block, page.name)
    except (Exception, SystemExit):  # noqa: BLE001
        where = traceback.format_exc(limit=-4)
        raise AssertionError(f"{page.name} does not run\n{printed.getvalue()[-2000:]}\n{where}") from None
    finally:
        os.chdir(before)
    return printed.getvalue()


def links(page: Path) -> list[str]:
    """Targets of a page's links to files, without anchors."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return [target.split("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
