"""``orthant eval``: retrieval quality of an encoder and a search mode on judged data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    from orthant.collection.collection import Collection
    from orthant.datasets.kinds import RetrievalSet
    from orthant.evaluation.retrieval import RetrievalReport

__all__ = ["CollectionSearcher", "eval_command", "register"]

_BATCH = 4096
_QUERIES = 256
_GENERATED = "generated-"
_GENERATED_DOCUMENTS = 2_000


@dataclass
class CollectionSearcher:
    """A collection under one search mode, as the evaluation harness wants it.

    Attributes
    ----------
    collection : Collection
        Opened.
    mode : str
        ``"dense"``, ``"lexical"`` or ``"hybrid"``.
    settings : mapping
        Further arguments of ``search_many``.
    advance : callable of int, optional
        Told how many further queries are done.
    fusion : dict
        How the legs were fused, as the last search planned it; empty outside hybrid search.
    """

    collection: Collection
    mode: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    advance: Callable[[int], None] | None = None
    fusion: dict[str, Any] = field(default_factory=dict)

    def search_texts(self, queries: Sequence[str], *, k: int) -> list[list[tuple[str, float]]]:
        """Return up to k (id, score) pairs per query.

        Parameters
        ----------
        queries : sequence of str
            Texts; their punctuation is taken as it is.
        k : int
            Pairs wanted.

        Returns
        -------
        list of list of (str, float)
            Best first.
        """
        settings: dict[str, Any] = dict(self.settings)
        if self.mode != "dense":
            settings["syntax"] = "plain"
        found = []
        for begin in range(0, len(queries), _QUERIES):
            part = list(queries[begin : begin + _QUERIES])
            results = self.collection.search_many(part, k=k, mode=self.mode, include_text=False, **settings)  # type: ignore[arg-type]
            self.fusion = dict(results[-1].plan.fusion or {})
            found += [[(hit.id, hit.score) for hit in result] for result in results]
            if self.advance is not None:
                self.advance(len(part))
        return found

    def describe(self) -> dict[str, Any]:
        """Return what identifies this target in a report.

        Returns
        -------
        dict
            Mode, fusion, weights and encoder fingerprint; None for what does not apply.
        """
        space = self.collection.spaces.get("default")
        return {
            "kind": "collection",
            "mode": self.mode,
            "settings": dict(self.settings),
            "fusion": self.fusion.get("method"),
            "weights": self.fusion.get("weights"),
            "candidates": self.fusion.get("depth"),
            "fingerprint": None if space is None else space.fingerprint,
            "metric": None if space is None else space.metric,
            "dtype": None if space is None else space.dtype,
            "prompts": None,
            "max_tokens": None,
        }


def eval_command(
    judged: RetrievalSet,
    *,
    encoder: str | None,
    mode: str,
    metrics: Sequence[str],
    depth: int = 100,
    settings: Mapping[str, Any] | None = None,
) -> RetrievalReport:
    """Index a corpus in a temporary collection and measure a search mode on it.

    Parameters
    ----------
    judged : RetrievalSet
        Corpus, queries and judgements.
    encoder : str or None
        Encoder of the collection; None is enough for ``mode="lexical"``.
    mode : str
        ``"dense"``, ``"lexical"``, ``"hybrid"``, or ``"multi-vector"``: the best match of every vector of the query,
        exactly, without a collection.
    metrics : sequence of str
        Such as ``"ndcg@10"``.
    depth : int, default 100
        Hits per query.
    settings : mapping, optional
        Further arguments of ``search_many``.

    Returns
    -------
    RetrievalReport
        Means, missing queries and context.
    """
    from tempfile import TemporaryDirectory

    from orthant.cli.output import progress_bar
    from orthant.collection.opening import open
    from orthant.collection.querying import DEFAULT_DEPTH
    from orthant.errors import InputError, message
    from orthant.evaluation.retrieval import evaluate
    from orthant.validate import check_choice, check_count

    check_choice(mode, ("dense", "lexical", "hybrid", "multi-vector"), name="--mode")
    check_count(depth, name="--depth")
    if mode != "lexical" and encoder is None:
        raise InputError(
            message(f"--mode {mode} without an encoder", "--encoder", "add --encoder static, or use --mode lexical")
        )
    if mode == "multi-vector":
        return _multi_vector(judged, str(encoder), metrics, depth)
    chosen = dict(settings or {})
    if mode == "hybrid":
        chosen.setdefault("depth", max(DEFAULT_DEPTH, depth))
    # Words alone need no vectors: encoding them would only cost time.
    used = None if mode == "lexical" else encoder
    with TemporaryDirectory() as folder, open(f"{folder}/judged", encoder=used) as collection:
        with progress_bar("indexing", len(judged.corpus)) as advance:
            for begin in range(0, len(judged.corpus), _BATCH):
                part = judged.corpus[begin : begin + _BATCH]
                collection.upsert([d.id for d in part], texts=[d.content for d in part])
                advance(len(part))
        with progress_bar("searching", len(judged.qrels)) as advance:
            return evaluate(
                CollectionSearcher(collection, mode, chosen, advance),
                queries=judged.queries,
                qrels=judged.qrels,
                corpus={d.id: d.content for d in judged.corpus},
                metrics=list(metrics),
                depth=depth,
            )


def _multi_vector(judged: RetrievalSet, encoder: str, metrics: Sequence[str], depth: int) -> RetrievalReport:
    """Search by the tokens of a model that has them, or by the words of any other encoder, each encoded alone."""
    from orthant.encoders.registry import load_encoder
    from orthant.evaluation.limit import MultiVectorSearcher, WordVectors
    from orthant.evaluation.retrieval import evaluate

    loaded: Any = load_encoder(encoder)
    corpus = {d.id: d.content for d in judged.corpus}
    target = MultiVectorSearcher(loaded if hasattr(loaded, "encode_tokens") else WordVectors(loaded), corpus)
    return evaluate(
        target, queries=judged.queries, qrels=judged.qrels, corpus=corpus, metrics=list(metrics), depth=depth
    )


def _read(
    data: str | None, corpus: str | None, queries: str | None, qrels: str | None, part: str | None = None
) -> RetrievalSet:
    from orthant.datasets.kinds import Document, RetrievalSet
    from orthant.datasets.registry import load_retrieval
    from orthant.errors import InputError, message
    from orthant.evaluation.trec import read_corpus, read_qrels, read_queries

    files = (corpus, queries, qrels)
    if data is not None and not any(files):
        if data == "limit" and (part or "").startswith(_GENERATED):
            from orthant.evaluation.limit import generate

            return generate(pattern=str(part).removeprefix(_GENERATED), n_docs=_GENERATED_DOCUMENTS)  # type: ignore[arg-type]
        if data == "limit" and part is not None:
            from orthant.validate import check_choice

            patterns = [f"{_GENERATED}{name}" for name in ("dense", "random", "cycle", "disjoint")]
            check_choice(part, ("small", "full", *patterns), name="--part")
        return load_retrieval(data, part=part)
    if part is not None:
        raise InputError(message("--part without --data", "a named data set that has parts", "leave --part out"))
    if data is not None or corpus is None or queries is None or qrels is None:
        raise InputError(
            message(
                "neither a data set nor all three files, or both",
                "--data NAME, or --corpus, --queries and --qrels",
                "choose one of the two",
            )
        )
    documents = [Document(key, "", text) for key, text in read_corpus(corpus).items()]
    return RetrievalSet("files", documents, read_queries(queries), read_qrels(qrels))


def register(app: typer.Typer) -> None:
    """Add the verb ``eval``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("eval", help="Measure retrieval quality on judged data, without network.")
    def eval_(
        data: str = typer.Option(None, help="A named data set under ORTHANT_DATA, such as cranfield."),
        part: str = typer.Option(
            None, help="Part of the data set; for limit: small, full, generated-dense, -random, -cycle or -disjoint."
        ),
        corpus: str = typer.Option(None, help="corpus.jsonl (_id, title, text), plain or gzipped."),
        queries: str = typer.Option(None, help="queries.jsonl (_id, text), plain or gzipped."),
        qrels: str = typer.Option(None, help="qrels.tsv (query-id, corpus-id, score), plain or gzipped."),
        encoder: str = typer.Option(
            None, help="static, minilm, minilm-int8 or a folder; needed unless --mode lexical."
        ),
        mode: str = typer.Option("hybrid", help="dense, lexical, hybrid or multi-vector (MaxSim)."),
        dense_weight: float = typer.Option(None, help="Weight of the dense leg in hybrid search; default 0.4."),
        fusion: str = typer.Option(None, help="minmax (default) or rrf."),
        metric: list[str] = typer.Option(
            ["ndcg@10", "recall@100", "mrr@10", "map", "precision@10"], help="May be given more than once."
        ),
        depth: int = typer.Option(100, help="Hits per query."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import fusion_settings, print_json
        from orthant.datasets.registry import data_hash

        settings = fusion_settings(dense_weight, fusion)
        judged = _read(data, corpus, queries, qrels, part)
        report = eval_command(judged, encoder=encoder, mode=mode, metrics=metric, depth=depth, settings=settings)
        result = report.to_dict()
        generated = data is None or judged.name.startswith(f"limit/{_GENERATED}")
        result["context"]["data"] |= {"name": data, "part": part}
        result["context"]["data"]["files_sha256"] = None if generated else data_hash(str(data))
        if json:
            print_json(result)
        else:
            _show(data or corpus or "", result)


def _show(name: str, result: Mapping[str, Any]) -> None:
    from orthant.cli.output import print_table

    data, target = result["context"]["data"], result["context"]["target"]
    mode = target.get("mode", "multi-vector")
    title = f"{name}: {data['documents']:,} documents, {data['queries']:,} judged queries, {mode} search"
    caption = [f"encoder: {target['fingerprint']}"] if target["fingerprint"] else []
    if target.get("fusion"):
        weights = ", ".join(f"{leg} {weight:.2f}" for leg, weight in target["weights"].items())
        caption.append(f"fusion: {target['fusion']} ({weights}), {target['candidates']:,} candidates per leg")
    if result["missing"]:
        caption.append(f"{len(result['missing'])} queries found nothing and count as zero")
    if data["judged_without_text"]:
        caption.append(f"{data['judged_without_text']} judged queries have no text and were left out")
    caption.append(
        f"{result['context']['seconds']:.2f} s for the searches; data {result['context']['data_sha256'][:12]}"
    )
    rows = [(key, f"{value:.4f}") for key, value in result["metrics"].items()]
    print_table(title, ("metric", "value#"), rows, caption="\n".join(caption))
