"""What the page of a paper shows beside its text: its code, its claims, and the button that reproduces them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from orthant.errors import NotFoundError, message
from orthant.feed.entries import Entry
from orthant.feed.markup import Markup, document, element, joined
from orthant.papers import results
from orthant.papers.catalogue import paper
from orthant.papers.record import Claim, ClaimResult, Paper
from orthant.server.feed.jobs import Job

__all__ = ["paper_of", "paper_panel", "source_page"]

_ARMS = (
    ("measured", "the method"),
    ("strongest_alternative", "strongest alternative"),
    ("baseline", "baseline"),
    ("ablated", "mechanism off"),
)


def paper_of(entry: Entry) -> Paper | None:
    """Return the row of the catalogue that an entry shows.

    Parameters
    ----------
    entry : Entry
        An entry.

    Returns
    -------
    Paper or None
        None for any other record, also one whose id happens to be a key.
    """
    try:
        row = paper(entry.id)
    except NotFoundError:
        return None
    return row if entry.metadata.get("arxiv") == row.arxiv and entry.id == row.key else None


def paper_panel(row: Paper, name: str, job: Job | None, *, may_run: bool) -> Markup:
    """Return code, claims and the way to reproduce them.

    Parameters
    ----------
    row : Paper
        The row.
    name : str
        The collection, for links.
    job : Job or None
        The last run that this server made.
    may_run : bool
        Whether the reader may start one.

    Returns
    -------
    Markup
        HTML.
    """
    found = results.read(row.key)
    measured = {} if found is None else {claim.name: claim for claim in found.claims}
    old = found is not None and results.stale(row)
    return element(
        "section",
        element("h2", "Code"),
        element("ul", *(element("li", _module(row, module, name)) for module in row.lives_in)),
        element("h2", "Claims"),
        element("p", "Status: ", element("b", row.status, class_="badge"), "."),
        None if row.claims else element("p", "No claim has been recorded for this paper yet."),
        *(_claim(claim, measured.get(claim.name)) for claim in row.claims),
        None if found is None else element("p", element("small", _measured_on(found.measured_on, old))),
        element("h2", "Reproduce"),
        element("p", "In a shell: ", element("code", f"orthant reproduce {row.key}")),
        _button(row, name, job) if may_run else None,
        None if job is None else _outcome(job),
        id="claims",
    )


def _measured_on(date: str, old: bool) -> str:
    return f"Measured on {date}" + (", with code that has changed since." if old else ".")


def _module(row: Paper, module: str, name: str) -> Markup:
    if not results.module_sources(module):
        return joined(element("code", module), " (not built yet)")
    address = f"/feed/{quote(name, safe='')}/code?{urlencode({'id': row.key, 'module': module})}"
    return element("a", element("code", module), href=address)


def _claim(claim: Claim, result: ClaimResult | None) -> Markup:
    outcome = "not measured" if result is None else result.outcome
    return element(
        "article",
        element("h3", claim.name, " ", element("span", outcome, class_=f"badge {outcome.partition(' ')[0]}")),
        element("p", claim.sentence),
        None if result is None else _figures(result.as_json()),
        None if result is None or not result.note else element("p", element("small", result.note)),
    )


def _figures(result: Mapping[str, Any]) -> Markup:
    metrics = list(result["measured"])
    rows = []
    for arm, label in _ARMS:
        figures = result.get(arm) or {}
        if figures:
            name = f"{label}: {result['alternative']}" if arm == "strongest_alternative" else label
            cells = (f"{figures[metric]:.4g}" if metric in figures else "" for metric in metrics)
            rows.append(element("tr", element("th", name, scope="row"), *(element("td", cell) for cell in cells)))
    margin = result["margin"]
    told = "no margin, so nothing is claimed" if margin is None else f"margin {margin:g}"
    head = element("tr", element("th", "arm", scope="col"), *(element("th", m, scope="col") for m in metrics))
    return joined(
        element("div", element("table", element("thead", head), element("tbody", *rows)), class_="wide"),
        element(
            "p",
            element(
                "small",
                f"{result['metric']}, {result['direction']} is better; {told}; {result['data']} data; "
                f"seeds {', '.join(str(seed) for seed in result['seeds'])}.",
            ),
        ),
    )


def _button(row: Paper, name: str, job: Job | None) -> Markup:
    running = job is not None and job.running
    label = "Running…" if running else "Reproduce now, with one fresh seed"
    return element(
        "form",
        element("input", type="hidden", name="id", value=row.key),
        element("button", label if row.claims else "Nothing to reproduce yet", disabled=running or not row.claims),
        method="post",
        action=f"/feed/{quote(name, safe='')}/reproduce",
    )


def _outcome(job: Job) -> Markup:
    if job.running:
        return element("p", "A run is going on; this page looks again by itself.", role="status")
    claims = job.report.get("claims")
    shown = [one for one in claims if isinstance(one, dict)] if isinstance(claims, list) else []
    return joined(
        element("p", "This server's run: ", element("b", job.state, class_="badge"), role="status"),
        *(joined(element("h3", f"{one['name']}: {one['outcome']}"), _figures(one)) for one in shown),
    )


def source_page(row: Paper, module: str, name: str, *, style: str) -> Markup:
    """Return the code of a paper as a page.

    Parameters
    ----------
    row : Paper
        The row.
    module : str
        One of the modules that the row names.
    name : str
        The collection, for the way back.
    style : str
        Address of the style sheet.

    Returns
    -------
    Markup
        HTML.

    Raises
    ------
    NotFoundError
        The row does not name the module, or it is not built.
    """
    files = results.module_sources(module) if module in row.lives_in else []
    if not files:
        raise NotFoundError(message("a module that is not this paper's", "one of its page", "follow a link there"))
    back = f"/feed/{quote(name, safe='')}/item?{urlencode({'id': row.key})}"
    return document(
        module,
        element(
            "main",
            element("p", element("a", f"← {row.title}", href=back)),
            element("h1", module),
            *_listings(files, module),
        ),
        style=style,
    )


def _listings(files: list[Path], module: str) -> Iterator[Markup]:
    root = files[0].parent if len(files) > 1 else None
    for path in files:
        label = path.name if root is None else f"{module.rpartition('.')[2]}/{path.relative_to(root).as_posix()}"
        code = element("pre", element("code", path.read_text(encoding="utf-8")), tabindex=0)
        yield code if root is None else element("details", element("summary", label), code)
