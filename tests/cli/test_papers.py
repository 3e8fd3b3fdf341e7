"""The verbs `papers` and `reproduce`: exit codes, one JSON object on stdout, errors that propagate."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

import orthant.papers.catalogue
from orthant.cli import papers, reproduce
from orthant.errors import InputError, NotFoundError
from papers.synthetic import claim, row, trial


@pytest.fixture
def app():
    out = typer.Typer()
    papers.register(out)
    reproduce.register(out)
    return out


@pytest.fixture
def synthetic(monkeypatch):
    def use(made):
        monkeypatch.setattr(orthant.papers.catalogue, "paper", lambda key: made)

    return use


def test_papers_prints_one_json_object(capsys):
    assert papers.papers_command(json=True) == 0
    assert len(json.loads(capsys.readouterr().out)["papers"]) == 61


def test_papers_prints_every_key_and_the_four_counts(capsys):
    assert papers.papers_command() == 0
    out = capsys.readouterr().out
    assert all(row.key in out for row in orthant.papers.catalogue.papers())
    assert all(status in out for status in ("shown", "shown-generated", "works", "planned"))


def test_papers_by_wing_and_status(capsys):
    papers.papers_command(json=True, wing="recommend")
    assert len(json.loads(capsys.readouterr().out)["papers"]) == 7
    for options in ({"wing": "audio"}, {"status": "done"}):
        with pytest.raises(InputError, match="one of"):
            papers.papers_command(**options)
    assert capsys.readouterr().out == ""


def test_reproduce_prints_one_json_object_and_returns_the_code(capsys, synthetic):
    for made, code, outcome in (
        (row(claim()), 0, "holds"),
        (row(claim(lambda seed: trial(0.51))), 1, "fails"),
        (row(status="planned"), 3, "reported"),
        (row(claim(needs=("no-such-data-set",))), 4, "missing"),
    ):
        synthetic(made)
        assert reproduce.reproduce_command("muvera", json=True) == code
        captured = capsys.readouterr()
        assert json.loads(captured.out)["outcome"] == outcome
        assert ("seed 101" in captured.err) == (outcome in ("holds", "fails"))


def test_reproduce_tells_a_person_what_it_came_to(capsys, synthetic):
    for made, words in (
        (
            row(claim()),
            (
                "muvera: holds",
                "beats-rival: holds",
                "The method finds more.",
                "rival",
                "mechanism off (fails)",
                "margin 0.1",
            ),
        ),
        (row(status="planned"), ("reported (status planned)", "No claim")),
        (row(claim(needs=("no-such-data-set",))), ("missing", "ORTHANT_DATA", "no-such-data-set")),
    ):
        synthetic(made)
        reproduce.reproduce_command("muvera")
        out = capsys.readouterr().out
        assert all(word in out for word in words)


def test_an_unknown_key_propagates_and_stdout_stays_empty(capsys):
    with pytest.raises(NotFoundError, match="'muvera'"):
        reproduce.reproduce_command("muvra", json=True)
    assert capsys.readouterr().out == ""


def test_the_registered_verbs_pass_options_and_codes(app, synthetic):
    runner = CliRunner()
    listed = runner.invoke(app, ["papers", "--json", "--wing", "text"])
    assert listed.exit_code == 0 and len(json.loads(listed.stdout)["papers"]) == 15
    synthetic(row(claim()))
    ran = runner.invoke(app, ["reproduce", "muvera", "--seed", "500", "--json"])
    assert ran.exit_code == 0 and json.loads(ran.stdout)["claims"][0]["seeds"] == [500, 501, 502]
    synthetic(row(claim(lambda seed: trial(0.51))))
    assert runner.invoke(app, ["reproduce", "muvera"]).exit_code == 1
    assert "Exit code" in runner.invoke(app, ["reproduce", "--help"]).stdout
    assert isinstance(runner.invoke(app, ["reproduce", "muvera", "--quick"]).exception, NotFoundError)
