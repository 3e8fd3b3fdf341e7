"""Write the table of measured figures into README.md, from the result files of the benchmarks.

    python scripts/render_figures.py

A result file that does not exist gives no row; a figure that misses its target is shown with the target.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from figure_row import Row, target, times
from figure_wings import (
    adapt_rows,
    binary_rows,
    compress_rows,
    ivf_rows,
    multivector_rows,
    page_rows,
    server_mixed_rows,
    server_rival_rows,
    server_rows,
    small_models_rows,
    two_tier_rows,
    upgrade_rows,
    word_rows,
)

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"


P50_TARGETS = {"lexical": 5, "dense": 3, "hybrid": 10}
# What the shipped encoder must reach and what is aimed at: a figure, or a share of its teacher's.
ENCODER_TARGETS = {
    "stsb_test_spearman": (0.72, 0.75),
    "cranfield_ndcg@10": (0.70, 0.85),
    "npl_ndcg@10": (0.70, 0.85),
    "cosqa_ndcg@10": (0.45, 0.85),
}


def _read(name: str, results: Path) -> dict[str, Any] | None:
    path = results / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def collection_rows(record: dict[str, Any]) -> Iterator[Row]:
    script = "collection_speed.py"
    count, words = record["records"], record["mean_words"]
    rates = record.get("ingest_bulk", record["ingest"])["records_per_s"]
    yield Row(
        f"Ingest of {count:,} texts of {words:.0f} words, encoded, durable and searchable",
        f"{record['ingest_records_per_s_median']:,.0f} records/s (median of {len(rates)} runs, "
        f"{min(rates):,.0f} to {max(rates):,.0f})",
        target("8,000 records/s", met=record["ingest_records_per_s_median"] >= 8000),
        script,
    )
    for way, how in (("ingest", "batch by batch"), ("ingest_bulk", "in one `bulk` block")):
        finished = sorted(record.get(way, {}).get("records_per_s_finished", ()))
        if finished:
            median = finished[len(finished) // 2]
            yield Row(
                f"The same until the graph holds all of them, {how}",
                f"{median:,.0f} records/s ({finished[0]:,.0f} to {finished[-1]:,.0f})",
                target("3,000 records/s", met=median >= 3000),
                script,
            )
    for name, spent in record["search"].items():
        yield Row(
            f"Search, {name.replace('_', ' ')}, {count:,} records, k=10",
            f"p50 {spent['p50_ms']:.2f} ms, p99 {spent['p99_ms']:.2f} ms",
            target(f"p50 {P50_TARGETS[name]} ms", met=spent["p50_ms"] <= P50_TARGETS[name])
            if name in P50_TARGETS
            else "",
            script,
        )
    seconds = sorted(record["process_start_to_first_hit_s"])
    median = seconds[len(seconds) // 2]
    yield Row("New process to first hit", f"{median:.2f} s", target("1.5 s", met=median <= 1.5), script)
    added = record["import"]["numpy_and_orthant_s"] - record["import"]["numpy_s"]
    yield Row("`import orthant` over `import numpy`", f"{added:.3f} s", target("0.15 s", met=added < 0.15), script)


def where_rows(record: dict[str, Any]) -> Iterator[Row]:
    found, budget = record["results"], record["budget_ms"]
    fastest, slowest = (choose(found, key=lambda one: one["median_ms"]) for choose in (min, max))
    yield Row(
        f"Filter to bitmap, {record['rows']:,} records, {len(found)} expressions",
        f"{fastest['median_ms']:.2f} ms ({fastest['expression']}) to {slowest['median_ms']:.2f} ms "
        f"({slowest['expression']})",
        target(f"{budget:.0f} ms each", met=slowest["median_ms"] <= budget),
        "where_bitmap.py",
    )


def _encoder_target(figure: str, arms: dict[str, Any]) -> str:
    mine = arms["static"].get(figure) if "static" in arms else None
    if mine is None or figure not in ENCODER_TARGETS:
        return ""
    share, aim = ENCODER_TARGETS[figure]
    if "spearman" in figure:
        return f"{target(f'{share}', met=mine >= share)}; {target(f'aim {aim}', met=mine >= aim)}"
    teacher = arms.get("minilm", {}).get(figure)
    if teacher is None:
        return ""
    got = mine / teacher
    return f"{target(f'{share:.0%} of minilm', met=got >= share)}; {target(f'aim {aim:.0%}', met=got >= aim)}"


def encoder_rows(record: dict[str, Any]) -> Iterator[Row]:
    script = "static_encoder.py"
    arms = record["arms"]
    names = [name for name in ("static", "minilm", "model2vec_256_int8", "model2vec_384_float32") if name in arms]
    figures = [key for key in arms[names[0]] if key.endswith(("@10", "spearman"))]
    for figure in figures:
        shown = ", ".join(f"{name} {arms[name][figure]:.3f}" for name in names if figure in arms[name])
        yield Row(f"Encoders, {figure.replace('_', ' ')}", shown, _encoder_target(figure, arms), script)
    for name in names:
        size = f"{arms[name]['bytes'] / 1e6:.1f} MB"
        speeds = arms[name].get("speed", {})
        best = speeds.get("batch_1024", {}).get("20_tokens")
        rate = f", {best['texts_per_cpu_s']:,} texts per CPU second (20 tokens)" if best else ""
        yield Row(f"Encoder {name}: size{' and speed' if best else ''}", size + rate, "", script)


def hybrid_rows(record: dict[str, Any]) -> Iterator[Row]:
    script, metric = "hybrid_weights.py", record["metric"]
    for name, one in record["sets"].items():
        yield Row(
            f"{name}, {metric}: BM25, dense ({record['encoder']}), hybrid",
            f"{one['lexical']:.3f}, {one['dense']:.3f}, {one['hybrid']:.3f} (p {one['p_value']:.3f})",
            target("hybrid above BM25", met=one["hybrid_above_lexical"]),
            script,
        )


def retrieval_rows(record: dict[str, Any]) -> Iterator[Row]:
    metric = record["metric"]
    for name, arms in record["sets"].items():
        shown = ", ".join(f"{arm} {value:.3f}" for arm, value in arms.items() if isinstance(value, (int, float)))
        yield Row(f"`orthant eval --data {name}`, {metric}, default settings", shown, "", "retrieval.py")


def ann_rows(record: dict[str, Any]) -> Iterator[Row]:
    targets = record["targets"]
    for name, found in record["sets"].items():
        data = found["context"]["data"]
        label = f"{name}, {data['vectors']:,} x {data['dim']}"
        for one in found["ratios"]:
            level = f"{one['recall']:.2f}"
            wanted = targets.get(one["queries"], {}).get(level)
            engine = one.get("engine", "orthant")
            if engine != "orthant" and one["queries"] == "in":
                continue
            entries = (e for e in found["results"] if e["engine"] == engine and e["queries"] == one["queries"])
            mine = next(entries)["qps_at"].get(level)
            speed = "not reached" if mine is None else f"{mine:,.0f} queries/s"
            spread = "" if one["ratio"] is None else f" ({one['ratio_min']:.2f} to {one['ratio_max']:.2f})"
            yield Row(
                f"{label}, {one['queries']} queries, recall@10 {level}, one thread"
                + ("" if engine == "orthant" else ", suited to other such queries"),
                f"{speed}, {times(one['ratio'])} {one['best_peer']}{spread}",
                "" if wanted is None else target(f"{wanted} x", met=(one["ratio"] or 0.0) >= wanted),
                "ann.py",
            )
        yield from _ann_costs(label, found, targets)
    yield from _ann_variants(record, targets)


def _ann_costs(label: str, found: dict[str, Any], targets: dict[str, Any]) -> Iterator[Row]:
    """Build and memory against the peer that is fastest at the first recall, and the recall that was kept."""
    if found["ratios"]:
        first = found["ratios"][0]
        build, memory = first["build_cpu_ratio"], first["memory_ratio"]
        limits = targets["build_cpu_ratio"], targets["memory_ratio"]
        yield Row(
            f"{label}, build, CPU time",
            f"{times(build)} {first['best_peer']}",
            target(f"at most {limits[0]:.0f} x", met=build <= limits[0]),
            "ann.py",
        )
        if memory is not None:
            yield Row(
                f"{label}, anonymous memory and codes",
                f"{times(memory)} {first['best_peer']}",
                target(f"at most {limits[1]} x", met=memory <= limits[1]),
                "ann.py",
            )
    if found["kept"]:
        worst = min(found["kept"], key=lambda one: one["lower_95"] - one["asked"])
        least = worst["asked"] - targets["kept_below_asked"]
        yield Row(
            f"{label}, recall kept, {len(found['kept'])} cases, the worst",
            f"asked {worst['asked']:.2f} ({worst['queries']}): {worst['measured']:.3f}, "
            f"at least {worst['lower_95']:.3f} (95 %)",
            target(f"at least {least:.2f}", met=worst["lower_95"] >= least),
            "ann.py",
        )


def _ann_variants(record: dict[str, Any], targets: dict[str, Any]) -> Iterator[Row]:
    without = record.get("without_avx512")
    if without and without["ratios"]:
        worst_ratio = min(without["ratios"], key=lambda one: one["ratio"] or 0.0)
        yield Row(
            f"{without['context']['data']['name']}, both without AVX-512, the worst of {len(without['ratios'])}",
            f"{times(worst_ratio['ratio'])} {worst_ratio['best_peer']} at {worst_ratio['recall']:.2f}",
            target(f"{targets['without_avx512']:.0f} x", met=(worst_ratio["ratio"] or 0.0) >= 1.0),
            "ann.py",
        )


def two_threads_rows(record: dict[str, Any]) -> Iterator[Row]:
    wanted = record["targets"]["ratio"]
    parts = {f"search, {name}": one for name, one in record["search"].items()} | {"build": record["build"]}
    for name, one in parts.items():
        yield Row(
            f"{record['context']['data']}, two threads against one, {name}",
            f"{one['ratio']:.2f} x ({one['ratio_low']:.2f} to {one['ratio_high']:.2f})"
            + (f"; two processes {one['two_processes']:.2f} x" if "two_processes" in one else ""),
            target(f"{wanted} x", met=one["ratio"] >= wanted),
            "two_threads.py",
        )


def filtered_rows(record: dict[str, Any]) -> Iterator[Row]:
    data, targets = record["context"]["data"], record["targets"]
    for share in dict.fromkeys(cell["selectivity"] for cell in record["cells"]):
        cells = [cell for cell in record["cells"] if cell["selectivity"] == share]
        slow = min(cells, key=lambda cell: cell["speedup"] or 0.0)
        recall = min(cell["arms"]["orthant"]["recall"] for cell in cells)
        speeds = sorted(cell["arms"]["orthant"]["p50_ms"] for cell in cells)
        met = recall >= targets["recall"] and (slow["speedup"] or 0.0) >= targets["speedup"]
        yield Row(
            f"Filtered, {data['name']}, {data['vectors']:,} rows, {share:.1%} allowed, {len(cells)} cells",
            f"recall@10 {recall:.3f} at least, p50 {speeds[0]:.2f} to {speeds[-1]:.2f} ms, "
            f"{times(slow['speedup'])} {slow['best_rival']} at least ({slow['relation']}, {slow['predicate']})",
            target(f"recall {targets['recall']} and never slower", met=met),
            "filtered.py",
        )
    worst = min(record["kept"], key=lambda one: one["lower_95"] - one["asked"])
    least = worst["asked"] - targets["kept_below_asked"]
    yield Row(
        f"Filtered, {data['name']}, recall kept, {len(record['kept'])} cases, the worst",
        f"asked {worst['asked']:.2f} ({worst['relation']}, {worst['selectivity']:.1%}): {worst['measured']:.3f}, "
        f"at least {worst['lower_95']:.3f} (95 %)",
        target(f"at least {least:.2f}", met=worst["lower_95"] >= least),
        "filtered.py",
    )
    alike = sum(one["identical"] for one in record["equivalent"])
    yield Row(
        f"Filtered, {data['name']}, equivalent predicates",
        f"identical answers in {alike} of {len(record['equivalent'])} cells",
        target("all", met=alike == len(record["equivalent"])),
        "filtered.py",
    )
    yield from _filtered_rivals(record.get("rivals"), targets["recall"])
    yield from _filtered_study(record.get("study", {}), targets["recall"])


def _filtered_rivals(record: dict[str, Any] | None, recall: float) -> Iterator[Row]:
    """One row per library that was asked for by name: how its quickest and slowest cells compare."""
    if record is None:
        return
    data = record["context"]["data"]
    for name in record["context"].get("rivals", {}):
        cells = [cell for cell in record["cells"] if name in cell["arms"]]
        if name == "numpy-table" or not cells:
            # No library, but what the harness itself costs.
            continue
        reach = [cell for cell in cells if cell["arms"][name]["recall"] >= recall]
        # A cell in which ours falls short is no win, however quick.
        ratios = sorted(
            (cell["arms"][name]["p50_ms"] / cell["arms"]["orthant"]["p50_ms"], cell["relation"], cell["selectivity"])
            for cell in reach
            if cell["arms"]["orthant"]["recall"] >= recall
        )
        shown = f"recall {recall} reached in {len(reach)} of {len(cells)} cells"
        if len(reach) < len(cells):
            shown += f" (the worst {min(cell['arms'][name]['recall'] for cell in cells):.3f})"
        if ratios:
            times = sorted(cell["arms"][name]["p50_ms"] for cell in reach)
            (least, relation, share), quicker = ratios[0], sum(one[0] < 1.0 for one in ratios)
            shown += f", there p50 {times[0]:.2f} to {times[-1]:.2f} ms; {least:.1f} ({relation}, {share:.1%}) to "
            shown += f"{ratios[-1][0]:.0f} x ours where both do ({len(ratios)} cells)"
            shown += f", quicker in {quicker}" if quicker else ""
        yield Row(
            f"Filtered, {data['name']}, {data['vectors']:,} rows, {name}",
            shown + _unasked(record, cells),
            target("never quicker at that recall", met=not ratios or ratios[0][0] >= 1.0),
            "filtered.py",
        )


def _unasked(record: dict[str, Any], asked: list[dict[str, Any]]) -> str:
    """Name the relations in which a rival was not measured."""
    there = {cell["relation"] for cell in asked}
    missing = dict.fromkeys(cell["relation"] for cell in record["cells"] if cell["relation"] not in there)
    return f"; {' and '.join(missing)} not measured" if missing else ""


def _filtered_study(record: dict[str, Any], recall: float) -> Iterator[Row]:
    """One row per relation: where the planner is the quickest of all methods that reach the recall."""
    from orthant.evaluation.filtered.study import cheapest

    for relation, found in record.items():
        data, ratios = found["context"]["data"], []
        for entry in found["kinds"]:
            for bucket, speeds in cheapest(entry, recall, by="qps").items():
                others = {arm: qps for arm, qps in speeds.items() if arm != "planner" and qps is not None}
                best = max(others, key=lambda arm: others[arm], default=None)
                if best is not None:
                    ratios.append(((speeds["planner"] or 0.0) / others[best], f"{best} ({entry['kind']}, {bucket})"))
        first = sum(ratio >= 1.0 for ratio, _ in ratios)
        least, where = min(ratios)
        yield Row(
            f"Filtered, {data['name']}, {data['vectors']:,} rows, real attributes {relation}, {len(ratios)} cells",
            f"the planner is the quickest with recall {recall} in {first}; {least:.2f} x {where} at least",
            target("never slower", met=first == len(ratios)),
            "filtered.py",
        )


def training_rows(record: dict[str, Any]) -> Iterator[Row]:
    most = record["targets"]["most_lost_by_export"]
    for name, run in record["runs"].items():
        report = run["report"]
        for data, scores in report["scores"].items():
            against = {one["arm"]: one for one in report["comparisons"][data]}
            lost = scores["trained"] - scores["exported"]
            low, high = against["trained"]["interval"]
            count = report["judged"][data]
            yield Row(
                f"{name}: {report['metric']} on {data}, {count['queries']:,} held-out queries, "
                f"{count['documents']:,} documents",
                f"base {scores['base']:.3f}, trained {scores['trained']:.3f} ({low:+.3f} to {high:+.3f}), "
                f"int8 without torch {scores['exported']:.3f}",
                target(f"int8 loses at most {most}", met=lost <= most),
                "training.py",
            )
        for data, one in run["collection"].items():
            low, high = one["interval"]
            yield Row(
                f"{name}: searched in a collection, {data}",
                f"base {one['base']:.3f}, trained {one['exported']:.3f} ({low:+.3f} to {high:+.3f}, "
                f"p {one['p_value']:.4f})",
                "",
                "training.py",
            )


def rivals_rows(record: dict[str, Any]) -> Iterator[Row]:
    """One row per column: every store, and the place of a collection among those that offer it."""
    from orthant.cli.bench.collection import store_table

    (_, *names, _), lines = store_table(record)
    label = f"Stores, {record['settings']['records']:,} records"
    for title, *figures, place in lines:
        shown = ", ".join(f"{name} {figure}" for name, figure in zip(names, figures, strict=True))
        met = bool(place) and int(place.split()[0]) <= record["targets"]["place"]
        yield Row(f"{label}: {title}", shown, target(f"first or second, is {place}", met=met), "collection_rivals.py")


SOURCES = {
    "ann": ann_rows,
    "two_threads": two_threads_rows,
    "filtered": filtered_rows,
    "collection_speed": collection_rows,
    "collection_rivals": rivals_rows,
    "where_bitmap": where_rows,
    "static_encoder": encoder_rows,
    "hybrid_weights": hybrid_rows,
    "retrieval": retrieval_rows,
    "training": training_rows,
    "multivector": multivector_rows,
    "compress": compress_rows,
    "small_models": small_models_rows,
    "binary": binary_rows,
    "ivf": ivf_rows,
    "two_tier": two_tier_rows,
    "upgrade": upgrade_rows,
    "adapt": adapt_rows,
    "word_vectors": word_rows,
    "server": server_rows,
    "server_rivals": server_rival_rows,
    "server_mixed": server_mixed_rows,
    "page": page_rows,
}


def figures(results: Path = RESULTS) -> str:
    """The table as Markdown."""
    lines = ["| what | measured | target | script |", "|---|---|---|---|"]
    for name, rows in SOURCES.items():
        record = _read(name, results)
        if record is not None:
            for row in rows(record):
                lines.append(f"| {row.what} | {row.measured} | {row.target} | `benchmarks/{row.script}` |")
    return "\n".join(lines)


def counts() -> str:
    """The sentence on the papers."""
    from orthant.papers.catalogue import counts as by_status

    found = by_status()
    return f"{sum(found.values())} papers: " + ", ".join(f"{count} {status}" for status, count in found.items()) + "."


def rendered(text: str, results: Path = RESULTS) -> str:
    """A page with the table and the sentence put between its markers."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{figures(results)}\n\n{counts()}\n{END}{after}"


def main() -> None:
    page = ROOT / "README.md"
    page.write_text(rendered(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
