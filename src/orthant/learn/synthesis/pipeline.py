"""From records to generated training pairs: ask, read, filter, choose, keep, and continue after a kill."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orthant.errors import InputError, message
from orthant.learn.conversion.records import fields_of
from orthant.learn.conversion.tables import PairTable
from orthant.learn.conversion.texts import text_key
from orthant.learn.synthesis.filters import Candidate, SynthesisFilter
from orthant.learn.synthesis.generator import Generated, GenerationError, TextGenerator, check_request
from orthant.learn.synthesis.prompts import SynthesisTemplate
from orthant.learn.synthesis.run_file import RunFile
from orthant.validate import check_count

__all__ = ["Synthesis", "SynthesisInterrupted", "synthesize"]

Row = dict[str, Any]
Choose = Callable[[str, Sequence[str]], int]


@dataclass(frozen=True)
class Synthesis:
    """What a generator contributed.

    Attributes
    ----------
    table : PairTable
        Rows with ``anchor``, ``positive`` (and ``negative``), ``id`` of the record; ``dropped`` counts rejected texts
        by reason.
    rejected : list of dict
        ``id``, ``text`` and ``reason`` of every text that was not kept.
    records : int
        Records that are finished.
    reused : int
        Records among them that an earlier run had finished.
    """

    table: PairTable
    rejected: list[Row] = field(default_factory=list)
    records: int = 0
    reused: int = 0


class SynthesisInterrupted(GenerationError):
    """The generator gave up half-way; ``result`` holds the finished records.

    Parameters
    ----------
    text : str
        What happened and what to do.
    result : Synthesis
        What was finished.
    """

    def __init__(self, text: str, result: Synthesis) -> None:
        super().__init__(text)
        self.result = result


@dataclass(frozen=True)
class _Request:
    template: SynthesisTemplate
    filters: Sequence[SynthesisFilter]
    choose: Choose | None
    candidates: int
    options: Mapping[str, Any]


def synthesize(
    records: Iterable[Any],
    generator: TextGenerator,
    template: SynthesisTemplate,
    *,
    filters: Sequence[SynthesisFilter] = (),
    candidates: int = 1,
    choose: Choose | None = None,
    path: str | Path | None = None,
    id_field: str = "id",
    max_tokens: int = 128,
    temperature: float = 0.0,
    seed: int = 0,
    stop: Sequence[str] = (),
    batch_size: int = 32,
    name: str = "synthesis",
) -> Synthesis:
    """Let a generator write queries, paraphrases, negatives or thoughts for records, and keep the good ones.

    Split the records before: a paraphrase of a test document in the training data is a leak.

    Parameters
    ----------
    records : iterable
        Mappings, ``Document`` s, or records of a collection, with the fields that the template names.
    generator : TextGenerator
        ``RuleBased``, ``OpenAICompatible``, ``HuggingFaceLocal`` or your own.
    template : SynthesisTemplate
        What is asked, and what the answer becomes.
    filters : sequence of SynthesisFilter, default ()
        Applied in order; the first reason counts.
    candidates : int, default 1
        Answers per record, with seeds ``seed``, ``seed + 1`` and so on. More than one needs a ``temperature`` above 0.
    choose : callable, optional
        Takes a record's source and the texts that passed, returns the place of the one to keep: a
        ``RetrievalCommittee``. Left out, all are kept.
    path : str or Path, optional
        JSON lines of the run. A run that was killed, or whose endpoint went down, continues when it is called again
        with the same arguments.
    id_field : str, default "id"
        Field with the record's id, unique.
    max_tokens : int, default 128
        Longest answer.
    temperature : float, default 0.0
        Passed to the generator.
    seed : int, default 0
        Passed to the generator.
    stop : sequence of str, default ()
        Passed to the generator.
    batch_size : int, default 32
        Records per call of the generator and per write; what a kill can lose.
    name : str, default "synthesis"
        Name of the table.

    Returns
    -------
    Synthesis
        Rows, and a reason for every rejected text. Texts that repeat an earlier one, or their source, are rejected
        always.

    Raises
    ------
    InputError
        A field of the template that a record lacks, blank or repeated ids, several candidates without a temperature, or
        a ``path`` begun with other settings or records.
    SynthesisInterrupted
        The generator gave up; finished records are in its ``result`` and in ``path``.

    References
    ----------
    QZhou-Embedding Technical Report, arXiv:2508.21632, section on data synthesis; O1 Embedder, arXiv:2502.07555,
    section on data production.

    Examples
    --------
    >>> from orthant.learn.synthesis.prompts import QUERIES
    >>> from orthant.learn.synthesis.rule_based import RuleBased
    >>> found = synthesize([{"id": "1", "text": "Gout is a form of arthritis."}], RuleBased("keywords"), QUERIES)
    >>> found.table.rows
    [{'anchor': 'gout form arthritis', 'positive': 'Gout is a form of arthritis.', 'id': '1'}]
    """
    batch_size = check_count(batch_size, name="batch_size")
    candidates = check_count(candidates, name="candidates")
    check_request([], max_tokens=max_tokens, temperature=temperature, seed=seed, stop=stop)
    if candidates > 1 and temperature == 0:
        raise InputError(
            message(f"candidates={candidates} at temperature 0", "answers that differ", "raise temperature")
        )
    listed = _listed(records, template, id_field)
    options = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed, "stop": list(stop)}
    request = _Request(template, filters, choose, candidates, options)
    run = None if path is None else RunFile(path, _settings(generator, request))
    done = _reusable(run, listed, template)
    seen = {text_key(row[template.column]) for entry in done.values() for row in entry["rows"]}
    reused = len(done)
    waiting = [key for key in listed if key not in done]
    for start in range(0, len(waiting), batch_size):
        batch = {key: listed[key] for key in waiting[start : start + batch_size]}
        answers, failure = _ask(generator, [template.fill(record) for record in batch.values()], request)
        entries = _judge(batch, answers, request, seen)
        if run is not None:
            run.add(entries)
        done.update({entry["id"]: entry for entry in entries})
        if failure is not None:
            where = "their rows are in result" if path is None else f"they are in {path}: call again to continue"
            text = f"{failure} {len(done)} of {len(listed)} records are finished; {where}."
            raise SynthesisInterrupted(text, _collected(name, listed, done, reused)) from failure
    return _collected(name, listed, done, reused)


def _listed(records: Iterable[Any], template: SynthesisTemplate, id_field: str) -> dict[str, Row]:
    """Return records by id, each with every field that the template needs."""
    out: dict[str, Row] = {}
    for i, record in enumerate(records):
        fields = fields_of(record)
        key = fields.get(id_field)
        if key is None or not str(key).strip():
            raise InputError(
                message(f"record {i} without {id_field!r}", f"one of {', '.join(fields)}", "pass id_field=")
            )
        if str(key) in out:
            raise InputError(message(f"a second record with id {str(key)!r}", "unique ids", "drop one"))
        for needed in template.needed:
            value = fields.get(needed)
            if not isinstance(value, str) or not value.strip():
                raise InputError(
                    message(
                        f"record {str(key)!r} without text in {needed!r}, which the template needs",
                        f"fields {', '.join(template.needed)}; the record has {', '.join(fields)}",
                        "correct the template or drop the record",
                    )
                )
        out[str(key)] = fields
    return out


def _settings(generator: TextGenerator, request: _Request) -> Row:
    template = json.dumps({**vars(request.template), "keep": request.template.kept}, sort_keys=True)
    return {
        "generator": generator.fingerprint,
        "template": hashlib.sha256(template.encode()).hexdigest(),
        "filters": [f.name for f in request.filters],
        "choose": None if request.choose is None else type(request.choose).__name__,
        "candidates": request.candidates,
        **request.options,
    }


def _hash_of(record: Row, template: SynthesisTemplate) -> str:
    text = json.dumps([record[name] for name in template.needed])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _reusable(run: RunFile | None, listed: Mapping[str, Row], template: SynthesisTemplate) -> dict[str, Row]:
    """Return what an earlier run finished; records that changed since make its texts wrong."""
    done = {} if run is None else {key: entry for key, entry in run.finished.items() if key in listed}
    for key, entry in done.items():
        if entry["source"] != _hash_of(listed[key], template):
            raise InputError(
                message(f"record {key!r}, changed since the run began", "the same records", "choose another path")
            )
    return done


def _ask(
    generator: TextGenerator, prompts: list[str], request: _Request
) -> tuple[list[list[Generated] | None], GenerationError | None]:
    """Return the answers of each record, None where one is missing, and the error that ended it."""
    rounds: list[list[Generated | None]] = []
    failure: GenerationError | None = None
    for attempt in range(request.candidates):
        options = {**request.options, "seed": request.options["seed"] + attempt}
        try:
            rounds.append(list(generator.generate(prompts, **options)))
        except GenerationError as error:
            failure = error
            rounds.append([*error.partial, *[None] * (len(prompts) - len(error.partial))])
            break
        if len(rounds[-1]) != len(prompts):
            raise InputError(
                message(
                    f"{len(rounds[-1])} answers for {len(prompts)} prompts", "one per prompt", "correct the generator"
                )
            )
    answers: list[list[Generated] | None] = []
    for column in zip(*rounds, strict=True):
        whole = [answer for answer in column if answer is not None]
        answers.append(whole if len(whole) == request.candidates else None)
    return answers, failure


def _read(
    record_id: str, record: Row, answers: list[Generated], template: SynthesisTemplate
) -> tuple[list[Candidate], list[Row]]:
    found: list[Candidate] = []
    rejected: list[Row] = []
    for answer in answers:
        if answer.finish == "length" and not template.allow_cut:
            rejected.append({"id": record_id, "text": answer.text, "reason": "cut at max_tokens"})
            continue
        try:
            texts = template.read(answer.text)
        except InputError:
            rejected.append({"id": record_id, "text": answer.text, "reason": "not the JSON asked for"})
            continue
        if not texts:
            rejected.append({"id": record_id, "text": answer.text, "reason": "empty"})
        found.extend(Candidate(record_id, record[template.source], text, record) for text in texts)
    return found, rejected


def _judge(
    batch: Mapping[str, Row], answers: list[list[Generated] | None], request: _Request, seen: set[str]
) -> list[Row]:
    """Filter a batch's texts and choose among those of each record; ``seen`` grows by what is kept."""
    read = {
        key: _read(key, record, found, request.template)
        for (key, record), found in zip(batch.items(), answers, strict=True)
        if found is not None
    }
    everything = [candidate for found, _ in read.values() for candidate in found]
    reasons: list[str | None] = [None] * len(everything)
    for each in request.filters:
        open_places = [i for i, reason in enumerate(reasons) if reason is None]
        for i, reason in zip(open_places, each.reject([everything[i] for i in open_places]), strict=True):
            reasons[i] = reason
    of_text = iter(reasons)
    entries = []
    for key, (found, rejected) in read.items():
        kept: dict[str, Candidate] = {}
        own = text_key(found[0].source) if found else ""
        for candidate in found:
            reason, form = next(of_text), text_key(candidate.text)
            if reason is None:
                reason = (
                    "equals its source"
                    if form == own
                    else "repeats an earlier text"
                    if form in seen | set(kept)
                    else None
                )
            if reason is None:
                kept[form] = candidate
            else:
                rejected.append({"id": key, "text": candidate.text, "reason": reason})
        chosen = _choose(kept, request.choose)
        rejected += [
            {"id": key, "text": c.text, "reason": "not chosen"} for form, c in kept.items() if form not in chosen
        ]
        seen.update(chosen)
        rows = [_row(c, request.template) for c in chosen.values()]
        entries.append(
            {"id": key, "source": _hash_of(batch[key], request.template), "rows": rows, "rejected": rejected}
        )
    return entries


def _choose(kept: dict[str, Candidate], choose: Choose | None) -> dict[str, Candidate]:
    if choose is None or len(kept) < 2:
        return kept
    forms, texts = list(kept), [candidate.text for candidate in kept.values()]
    form = forms[choose(kept[forms[0]].source, texts)]
    return {form: kept[form]}


def _row(candidate: Candidate, template: SynthesisTemplate) -> Row:
    columns = {name: candidate.record[source] for name, source in template.kept.items()}
    columns[template.column] = candidate.text
    return {
        **{c: columns[c] for c in ("anchor", "positive", "negative", "thought") if c in columns},
        "id": candidate.id,
    }


def _collected(name: str, listed: Mapping[str, Row], done: Mapping[str, Row], reused: int) -> Synthesis:
    entries = [done[key] for key in listed if key in done]
    rejected = [row for entry in entries for row in entry["rejected"]]
    table = PairTable(
        name, [row for entry in entries for row in entry["rows"]], dict(Counter(r["reason"] for r in rejected))
    )
    return Synthesis(table, rejected, len(entries), reused)
