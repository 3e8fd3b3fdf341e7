"""``orthant upgrade``: rehearse, run, commit, roll back or release the replacement of an encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    from orthant.collection.upgrade.plan import UpgradePlan

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``upgrade``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command(
        "upgrade", help="Replace the encoder of a collection; without an action, show the state of the upgrade."
    )
    def upgrade(
        collection: str = typer.Argument(None, help="The collection's folder; only --decisions needs none."),
        encoder: str = typer.Argument(None, help="The new encoder; left out, the open upgrade is continued."),
        using: str = typer.Option("auto", help="Method, such as joint-words or reencode; see --decisions."),
        old: str = typer.Option(None, help="The old encoder, if the collection does not store it by name."),
        rehearse: bool = typer.Option(False, "--rehearse", help="Measure on a sample; changes nothing."),
        queries: str = typer.Option(None, help="With --rehearse: JSONL with _id and text."),
        qrels: str = typer.Option(None, help="With --rehearse: TSV of query-id, corpus-id, score, with a header."),
        decide_by: str = typer.Option(
            "unseen",
            help="With --rehearse: decide by records the map has not seen (default), or 'now': by this collection.",
        ),
        pairs: int = typer.Option(5000, min=1, help="Number of records to encode for rehearsal and map."),
        run: bool = typer.Option(False, "--run", help="Make the new vectors; resumes an interrupted run."),
        share: float = typer.Option(None, help="With --run: share of the records to re-encode."),
        pause: float = typer.Option(0.0, min=0.0, help="With --run: seconds to pause after each batch."),
        accept: bool = typer.Option(False, "--accept-failed", help="Leave records that failed without a vector."),
        commit: bool = typer.Option(False, "--commit", help="Switch searches to the new encoder."),
        rollback: bool = typer.Option(False, "--rollback", help="Go back to the old encoder."),
        release: bool = typer.Option(
            False, "--release", help="Delete the old vectors; rolling back is then impossible."
        ),
        decisions: bool = typer.Option(False, "--decisions", help="Print which method suits which situation."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import print_json
        from orthant.collection.opening import open

        if decisions:
            _show_decisions(json=json)
            return
        chosen = {"rehearse": rehearse, "run": run, "commit": commit, "rollback": rollback, "release": release}
        action = _action(collection, chosen)
        # After a cut-over the collection's encoder is the new one, and the old one is what a rollback may need.
        with open(collection, encoder=None if action == "rollback" else old) as opened:
            if encoder is None and action is None and not opened._store.refreshed().upgrade:
                _tell_none(json=json)
                return
            plan = opened.upgrade(encoder, using=using, pairs=pairs)  # type: ignore[arg-type]
            if accept and action != "rollback":
                plan.accept()
            if action == "rehearse":
                found: Any = _rehearsed(plan, queries, qrels, decide_by)
            elif action == "run":
                found = plan.run(share, pause_s=pause, progress=True)
            elif action == "rollback":
                found = plan.rollback(old, accept=accept)
            else:
                found = plan.status() if action is None else getattr(plan, action)()
        if json:
            print_json({"action": action or "status", **found.to_dict()})
        elif action == "rehearse":
            print(found)
        else:
            _tell(action, found)


def _tell_none(*, json: bool) -> None:
    from orthant.cli.output import print_json

    if json:
        print_json({"action": "status", "phase": "none"})
    else:
        print("No upgrade is open. Name the new encoder and --rehearse or --run to begin one.")


def _show_decisions(*, json: bool) -> None:
    from orthant.cli.output import print_json, print_table
    from orthant.collection.upgrade.words import DECISIONS

    if json:
        print_json({"decisions": [dict(zip(("when", "way", "what"), row, strict=True)) for row in DECISIONS]})
        return
    print_table("Which way suits whom; the first that fits", ("when", "way=", "what it does"), DECISIONS)


def _action(collection: str | None, chosen: dict[str, bool]) -> str | None:
    from orthant.cli.output import require_collection
    from orthant.errors import InputError, message

    if collection is None:
        raise InputError(message("no collection", "its folder", "write orthant upgrade COLLECTION"))
    require_collection(collection)
    wanted = [name for name, asked in chosen.items() if asked]
    if len(wanted) > 1:
        given = " and ".join(f"--{name}" for name in wanted)
        raise InputError(message(given, "one of them", "run one after another"))
    return wanted[0] if wanted else None


def _rehearsed(plan: UpgradePlan, queries: str | None, qrels: str | None, decide_by: Any) -> Any:
    from orthant.errors import InputError, message
    from orthant.evaluation.trec import read_qrels, read_queries

    if queries is None:
        raise InputError(message("--rehearse without queries", "a JSONL file with _id and text", "pass --queries FILE"))
    judgements = None if qrels is None else read_qrels(qrels)
    return plan.rehearse(read_queries(queries), judgements, decide_by=decide_by, progress=True)


def _tell(action: str | None, found: Any) -> None:
    from orthant.encoders.fingerprint import short_fingerprint

    if action == "run":
        print(
            f"Encoded {found.encoded:,} records and mapped {found.mapped:,} vectors in {found.seconds:.1f} s; "
            f"{found.remaining:,} have no vector of the new encoder ({found.share:.0%} have)."
        )
        for key, why in list(found.failed.items())[:10]:
            print(f"  failed: {key}: {why}")
        return
    old = "vectors given" if found.old is None else short_fingerprint(found.old)
    print(f"{found.space}: {old} to {short_fingerprint(found.new)} by {found.using}: {found.phase}.")
    if found.phase != "closed":
        print(f"{found.encoded:,} of {found.records:,} records encoded again, {found.mapped:,} mapped.")
    if found.newer_only:
        print(f"{found.newer_only:,} were written without the old encoder: --rollback encodes them by --old first.")
    for key, why in list(found.failed.items())[:10]:
        print(f"  failed: {key}: {why}")
