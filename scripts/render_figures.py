"""Write the table of measured figures into README.md, from the result files of the benchmarks.

    python scripts/render_figures.py

A result file that does not exist gives no row; a figure that misses its target is shown with the target.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"


@dataclass(frozen=True)
class Row:
    """One figure: what was measured, what came out, what was aimed at (empty: nothing), and by which script."""

    what: str
    measured: str
    target: str
    script: str


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


def _target(text: str, *, met: bool) -> str:
    return f"{text}: {'met' if met else '**missed**'}"


def collection_rows(record: dict[str, Any]) -> Iterator[Row]:
    script = "collection_speed.py"
    count, words = record["records"], record["mean_words"]
    rates = record.get("ingest_bulk", record["ingest"])["records_per_s"]
    yield Row(
        f"Ingest of {count:,} texts of {words:.0f} words, encoded, durable and searchable",
        f"{record['ingest_records_per_s_median']:,.0f} records/s (median of {len(rates)} runs, "
        f"{min(rates):,.0f} to {max(rates):,.0f})",
        _target("8,000 records/s", met=record["ingest_records_per_s_median"] >= 8000),
        script,
    )
    for way, how in (("ingest", "batch by batch"), ("ingest_bulk", "in one `bulk` block")):
        finished = sorted(record.get(way, {}).get("records_per_s_finished", ()))
        if finished:
            median = finished[len(finished) // 2]
            yield Row(
                f"The same until the graph holds all of them, {how}",
                f"{median:,.0f} records/s ({finished[0]:,.0f} to {finished[-1]:,.0f})",
                _target("3,000 records/s", met=median >= 3000),
                script,
            )
    for name, spent in record["search"].items():
        yield Row(
            f"Search, {name.replace('_', ' ')}, {count:,} records, k=10",
            f"p50 {spent['p50_ms']:.2f} ms, p99 {spent['p99_ms']:.2f} ms",
            _target(f"p50 {P50_TARGETS[name]} ms", met=spent["p50_ms"] <= P50_TARGETS[name])
            if name in P50_TARGETS
            else "",
            script,
        )
    seconds = sorted(record["process_start_to_first_hit_s"])
    median = seconds[len(seconds) // 2]
    yield Row("New process to first hit", f"{median:.2f} s", _target("1.5 s", met=median <= 1.5), script)
    added = record["import"]["numpy_and_orthant_s"] - record["import"]["numpy_s"]
    yield Row("`import orthant` over `import numpy`", f"{added:.3f} s", _target("0.15 s", met=added < 0.15), script)


def where_rows(record: dict[str, Any]) -> Iterator[Row]:
    found, budget = record["results"], record["budget_ms"]
    fastest, slowest = (choose(found, key=lambda one: one["median_ms"]) for choose in (min, max))
    yield Row(
        f"Filter to bitmap, {record['rows']:,} records, {len(found)} expressions",
        f"{fastest['median_ms']:.2f} ms ({fastest['expression']}) to {slowest['median_ms']:.2f} ms "
        f"({slowest['expression']})",
        _target(f"{budget:.0f} ms each", met=slowest["median_ms"] <= budget),
        "where_bitmap.py",
    )


def _encoder_target(figure: str, arms: dict[str, Any]) -> str:
    mine = arms["static"].get(figure) if "static" in arms else None
    if mine is None or figure not in ENCODER_TARGETS:
        return ""
    share, aim = ENCODER_TARGETS[figure]
    if "spearman" in figure:
        return f"{_target(f'{share}', met=mine >= share)}; {_target(f'aim {aim}', met=mine >= aim)}"
    teacher = arms.get("minilm", {}).get(figure)
    if teacher is None:
        return ""
    got = mine / teacher
    return f"{_target(f'{share:.0%} of minilm', met=got >= share)}; {_target(f'aim {aim:.0%}', met=got >= aim)}"


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
            _target("hybrid above BM25", met=one["hybrid_above_lexical"]),
            script,
        )


def retrieval_rows(record: dict[str, Any]) -> Iterator[Row]:
    metric = record["metric"]
    for name, arms in record["sets"].items():
        shown = ", ".join(f"{arm} {value:.3f}" for arm, value in arms.items() if isinstance(value, (int, float)))
        yield Row(f"`orthant eval --data {name}`, {metric}, default settings", shown, "", "retrieval.py")


def _times(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.2f} x"


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
                f"{speed}, {_times(one['ratio'])} {one['best_peer']}{spread}",
                "" if wanted is None else _target(f"{wanted} x", met=(one["ratio"] or 0.0) >= wanted),
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
            f"{_times(build)} {first['best_peer']}",
            _target(f"at most {limits[0]:.0f} x", met=build <= limits[0]),
            "ann.py",
        )
        if memory is not None:
            yield Row(
                f"{label}, anonymous memory and codes",
                f"{_times(memory)} {first['best_peer']}",
                _target(f"at most {limits[1]} x", met=memory <= limits[1]),
                "ann.py",
            )
    if found["kept"]:
        worst = min(found["kept"], key=lambda one: one["lower_95"] - one["asked"])
        least = worst["asked"] - targets["kept_below_asked"]
        yield Row(
            f"{label}, recall kept, {len(found['kept'])} cases, the worst",
            f"asked {worst['asked']:.2f} ({worst['queries']}): {worst['measured']:.3f}, "
            f"at least {worst['lower_95']:.3f} (95 %)",
            _target(f"at least {least:.2f}", met=worst["lower_95"] >= least),
            "ann.py",
        )


def _ann_variants(record: dict[str, Any], targets: dict[str, Any]) -> Iterator[Row]:
    without = record.get("without_avx512")
    if without and without["ratios"]:
        worst_ratio = min(without["ratios"], key=lambda one: one["ratio"] or 0.0)
        yield Row(
            f"{without['context']['data']['name']}, both without AVX-512, the worst of {len(without['ratios'])}",
            f"{_times(worst_ratio['ratio'])} {worst_ratio['best_peer']} at {worst_ratio['recall']:.2f}",
            _target(f"{targets['without_avx512']:.0f} x", met=(worst_ratio["ratio"] or 0.0) >= 1.0),
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
            _target(f"{wanted} x", met=one["ratio"] >= wanted),
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
            f"{_times(slow['speedup'])} {slow['best_rival']} at least ({slow['relation']}, {slow['predicate']})",
            _target(f"recall {targets['recall']} and never slower", met=met),
            "filtered.py",
        )
    worst = min(record["kept"], key=lambda one: one["lower_95"] - one["asked"])
    least = worst["asked"] - targets["kept_below_asked"]
    yield Row(
        f"Filtered, {data['name']}, recall kept, {len(record['kept'])} cases, the worst",
        f"asked {worst['asked']:.2f} ({worst['relation']}, {worst['selectivity']:.1%}): {worst['measured']:.3f}, "
        f"at least {worst['lower_95']:.3f} (95 %)",
        _target(f"at least {least:.2f}", met=worst["lower_95"] >= least),
        "filtered.py",
    )
    alike = sum(one["identical"] for one in record["equivalent"])
    yield Row(
        f"Filtered, {data['name']}, equivalent predicates",
        f"identical answers in {alike} of {len(record['equivalent'])} cells",
        _target("all", met=alike == len(record["equivalent"])),
        "filtered.py",
    )
    yield from _filtered_rivals(record.get("rivals"), targets["recall"])
    yield from _filtered_study(record.get("study", {}), targets["recall"])


def _filtered_rivals(record: dict[str, Any] | None, recall: float) -> Iterator[Row]:
    """One row per library that was asked for by name: how its quickest and slowest cells compare."""
    if record is None:
        return
    data, cells = record["context"]["data"], record["cells"]
    for name in record["context"].get("rivals", {}):
        if name == "numpy-table":
            # No library, but what the harness itself costs.
            continue
        arms = [(cell["arms"]["orthant"], cell["arms"][name]) for cell in cells]
        reach = [(mine, its) for mine, its in arms if its["recall"] >= recall]
        # A cell in which ours falls short is no win, however quick.
        ratios = sorted(its["p50_ms"] / mine["p50_ms"] for mine, its in reach if mine["recall"] >= recall)
        shown = f"recall {recall} reached in {len(reach)} of {len(cells)} cells"
        if ratios:
            times = sorted(its["p50_ms"] for _, its in reach)
            shown += f", there p50 {times[0]:.2f} to {times[-1]:.2f} ms; {ratios[0]:.1f} to {ratios[-1]:.0f} x ours"
            shown += f" where both do ({len(ratios)} cells)"
        yield Row(
            f"Filtered, {data['name']}, {data['vectors']:,} rows, {name}",
            shown,
            _target("never quicker at that recall", met=not ratios or ratios[0] >= 1.0),
            "filtered.py",
        )


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
            _target("never slower", met=first == len(ratios)),
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
                _target(f"int8 loses at most {most}", met=lost <= most),
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
        yield Row(f"{label}: {title}", shown, _target(f"first or second, is {place}", met=met), "collection_rivals.py")


def multivector_rows(record: dict[str, Any]) -> Iterator[Row]:
    arms, label = record["arms"], f"Sets of tokens, {record['documents']:,} documents, recall@10 of exact MaxSim"
    exact = arms["exact"]
    # The quicker of the two that ran: learned from all sets of a sample, or from a quarter of them.
    plaid = min((arms[name] for name in arms if name.startswith("plaid")), key=lambda arm: arm["p50_ms"])
    yield Row(f"{label}: exact", f"p50 {exact['p50_ms']:.2f} ms", "", "multivector.py")
    told_by = {
        "pooled": "means at unit length",
        "fde": "fixed dimensional encodings",
        "fde, product codes": "encodings as product codes",
        "plaid": "PLAID",
        "plaid, 4096 sets": "PLAID, learned from 4,096 sets",
    }
    for name, told in told_by.items():
        if name not in arms:
            continue
        arm, times = arms[name], record["times_below_exact"][name]
        shown = f"{arm['recall']:.3f}, p50 {arm['p50_ms']:.2f} ms, {times:.1f} x below exact"
        bar = record["targets"]["times_below_exact"]
        goal = ""
        if name == "fde":
            goal = _target(f"{bar:g} x", met=times >= bar) + "; "
            quicker = arm["p50_ms"] <= plaid["p50_ms"]
            # Beating a PLAID that learned from a quarter says nothing of one that learned from all.
            goal += (
                _target("below PLAID", met=quicker) if "plaid" in arms else "below PLAID at its defaults: not measured"
            )
        yield Row(f"{label}: {told}", shown, goal, "multivector.py")


def compress_rows(record: dict[str, Any]) -> Iterator[Row]:
    bar = record["targets"]["report_s"]
    for name, found in record["reports"].items():
        report = found["report"]
        rows = {one["name"]: one for one in report["candidates"]}
        best = rows[report["recommended"]]
        graph = rows.get("graph")
        shown = (
            f"{found['report_s']:.0f} s ({found['cpu_s']:.0f} s of CPU time), {len(rows)} rows; "
            f"at {record['budget_bytes']} bytes {best['name']}, "
            f"recall@10 {best['recall']:.3f}, rescored {best['recall_rescored']:.3f}"
        )
        shown += f"; the graph, {graph['bytes_per_vector']} bytes, {graph['recall']:.3f}" if graph else ""
        goal = _target(f"{bar:g} s", met=found["report_s"] <= bar)
        yield Row(f"`orthant compress`, {record['vectors']:,} x {report['dim']}, {name}", shown, goal, "compress.py")


def small_models_rows(record: dict[str, Any]) -> Iterator[Row]:
    for name, arm in record["arms"].items():
        mean = sum(arm["ndcg@10"].values()) / len(arm["ndcg@10"])
        size = f"{arm['bytes'] / 1e6:.2f} MB, " if "bytes" in arm else ""
        shown = f"{size}nDCG@10 {mean:.3f} over {len(arm['ndcg@10'])} sets"
        goal = _target("8 MB at most", met=arm["bytes"] <= 8e6) if name == "codes" else ""
        yield Row(f"MiniLM in a tenth of its bytes: {name}", shown, goal, "small_models.py")


def binary_rows(record: dict[str, Any]) -> Iterator[Row]:
    for size, rates in record.get("rows_per_second", {}).items():
        if "faiss-binary-flat" not in rates:
            continue
        ours = max(rates[f"scan-{bits}bit-codes"] for bits in (1, 2, 4))
        hamming, fast = ours / rates["faiss-binary-flat"], ours / rates["faiss-pq-fast-scan"]
        shown = f"{ours / 1e6:,.0f} million codes/s, {hamming:.2f} x IndexBinaryFlat, {fast:.2f} x PQ fast scan"
        goal = _target("1 x and 0.8 x", met=hamming >= 1 and fast >= 0.8)
        yield Row(f"Binary codes of {size} bytes against codes, scanned by one thread", shown, goal, "binary.py")
    for place, sizes in record.get("recall", {}).items():
        for size, arms in sizes.items():
            ours = max(arms[name]["floats"] for name in arms if name.startswith("recurrent"))
            rivals = {name: arm["floats"] for name, arm in arms.items() if not name.startswith("recurrent")}
            best = max(rivals, key=lambda name: rivals[name])
            shown = f"{ours:.3f}, {best} {rivals[best]:.3f}"
            goal = _target("above all", met=ours > rivals[best])
            yield Row(f"Recurrent binary codes, {size} bytes, {place}: recall@10", shown, goal, "binary.py")


def ivf_rows(record: dict[str, Any]) -> Iterator[Row]:
    """The faster kind of codes of each library at a recall, one query at a time and all at once."""
    for kind in ("in", "out"):
        for level in ("0.9", "0.95"):
            best: dict[str, dict[str, Any]] = {}
            for name, arm in record["arms"].items():
                found, library = arm[kind]["reranked"].get(level), name.split()[0]
                if found and found["qps_single"] > best.get(library, {"qps_single": 0})["qps_single"]:
                    best[library] = found
            if len(best) < 2:
                continue
            mine, peer = best["orthant"], best["faiss"]
            single, batch = (mine[way] / peer[way] for way in ("qps_single", "qps_batch"))
            label = f"Inverted lists, {record['vectors']:,} x 384, {kind} queries"
            yield Row(
                f"{label}, recall@10 {float(level):.2f}, one thread",
                f"{mine['qps_single']:,.0f} queries/s one by one, {single:.2f} x FAISS fast scan re-ranked; "
                f"{mine['qps_batch']:,.0f} at once, {batch:.2f} x",
                _target("1 x one by one", met=single >= 1) + "; " + _target("1 x at once", met=batch >= 1),
                "ivf.py",
            )


def two_tier_rows(record: dict[str, Any]) -> Iterator[Row]:
    effort = record["indexes"]["graph"]["effort_for_recall"]
    for access in ("direct", "uncached"):
        name = f"graph, {access}, {effort} candidates"
        arm, against = record["arms"][name], record["against_memory"][name]
        yield Row(
            f"Vectors on disk, {record['vectors']:,} x 384, memory a quarter of them, {access} reads",
            f"recall@10 {arm['recall@10']:.3f}, {against['recall_ratio']:.3f} of in memory; "
            f"p50 {arm['p50_ms']:.2f} ms, {against['p50_ratio']:.2f} x in memory; {arm['reads_per_query']:.0f} reads",
            _target("0.97 of the recall", met=against["recall_ratio"] >= 0.97)
            + "; "
            + _target("5 x the time", met=against["p50_ratio"] <= 5),
            "two_tier.py",
        )


def server_rows(record: dict[str, Any]) -> Iterator[Row]:
    label, served = f"Server, {record['records']:,} records, 32 clients", record["served"]
    dense, hybrid, share = served["dense"], served["hybrid"], record["batch_share_of_in_process"]
    shown = f"{dense['requests_per_s']:,.0f} requests/s, p50 {dense['p50_ms']:.1f} ms, p99 {dense['p99_ms']:.1f} ms"
    yield Row(f"{label}, dense", shown, _target("1,000/s", met=dense["requests_per_s"] >= 1000), "server.py")
    yield Row(
        f"{label}, hybrid",
        f"{hybrid['requests_per_s']:,.0f} requests/s, p99 {hybrid['p99_ms']:.1f} ms",
        _target("p99 50 ms", met=hybrid["p99_ms"] < 50),
        "server.py",
    )
    yield Row(
        "Server, batches of 64 over those in process", f"{share:.2f}", _target("0.6", met=share >= 0.6), "server.py"
    )


def server_rival_rows(record: dict[str, Any]) -> Iterator[Row]:
    label = f"Servers, {record['records']:,} records, recall@10"
    names = {"dense": "single dense queries, 32 clients", "batch": "batches of 64", "filtered": "filtered, 32 clients"}
    for kind, what in names.items():
        for name, found in record["results"].items():
            one = found[kind]
            shown = f"{one['queries_per_s']:,.0f} queries/s, p50 {one['p50_ms']:.1f} ms, p99 {one['p99_ms']:.1f} ms"
            yield Row(f"{label} {one['recall@10']:.3f}, {what}: {name}", shown, "", "server_rivals.py")


def server_mixed_rows(record: dict[str, Any]) -> Iterator[Row]:
    before, after = record["memory_before"], record["memory_after"]
    grown = after["anonymous"] / before["anonymous"] - 1
    lost = record["errors"] + record["lost"]
    yield Row(
        f"Server, {record['mixed_s'] / 60:.0f} minutes of 90/10 read/write, {record['records']:,} records",
        f"{record['reads'] + record['writes']:,} requests, {record['errors']} errors, {record['lost']} acknowledged "
        f"writes lost; own memory {before['anonymous'] / 2**20:,.0f} to {after['anonymous'] / 2**20:,.0f} MiB "
        f"({grown:+.0%}), resident {before['resident'] / 2**20:,.0f} to {after['resident'] / 2**20:,.0f} MiB",
        _target("nothing lost, own memory within 10 %", met=not lost and grown <= 0.1),
        "server.py --mixed 600",
    )


def page_rows(record: dict[str, Any]) -> Iterator[Row]:
    plane = record["map"]
    yield Row(
        f"The page in Chromium, {record['records']:,} records, until results with facets can be used",
        f"{record['open_ms']:,} ms (slowest {record['slowest_open_ms']:,} ms; first of the server "
        f"{record['first_open_ms']:,} ms)",
        _target("1 s", met=record["open_ms"] <= 1000),
        "page.py",
    )
    gaps = plane["frame_interval_ms"]
    yield Row(
        f"Its map of {plane['points']:,} points, being dragged",
        f"{plane['script_ms_per_frame']:.1f} ms of script per frame; a frame every {gaps['p50']:.0f} ms, 95 % within "
        f"{gaps['p95']:.0f} ms, drawn without a graphics card",
        "",
        "page.py",
    )


def upgrade_rows(record: dict[str, Any]) -> Iterator[Row]:
    found = record["results"]
    for name, one in found.items():
        way = "joint-words" if f"{name.rsplit(', ', 1)[0]}, joint-words" in found else "joint"
        if not name.endswith(f", {way}"):
            continue
        real, unseen = one["migration"]["0.00"]["gain_recovered"], one["rehearsal"]["0.00"]
        low, high = unseen["interval"]
        shown = (
            f"{real:.2f}; rehearsed by maps that saw none of the records they map {unseen['gain_recovered']:.2f} "
            f"({low:.2f} to {high:.2f}), the tool says {one['action']!r}"
        )
        worth = one["gain_interval"][0] > 0
        met = min(real, unseen["gain_recovered"]) >= 0.5
        goal = _target("0.5, both", met=met) if worth else "no gain to recover"
        ends = f"nDCG@10 {one['old']:.3f} to {one['new']:.3f}"
        yield Row(
            f"Upgrade at once, {name.removesuffix(f', {way}')} ({ends}): gain recovered", shown, goal, "upgrade.py"
        )


def word_rows(record: dict[str, Any]) -> Iterator[Row]:
    points = record["points"]
    for threads in sorted({one["threads"] for one in points}):
        spent, quality = {}, {}
        for engine in ("orthant", "gensim"):
            own = [one for one in points if (one["engine"], one["threads"]) == (engine, threads)]
            if not own:
                return
            spent[engine] = sum(one["seconds"] for one in own) / len(own)
            told = [sum(one["quality"].values()) / len(one["quality"]) for one in own]
            quality[engine] = sum(told) / len(told)
        ratio = spent["gensim"] / spent["orthant"]
        met = ratio >= 0.6 and quality["orthant"] >= quality["gensim"] - 0.01
        yield Row(
            f"Skip-gram on newsgroups20, {threads} thread{'s' * (threads > 1)}, times gensim's speed",
            f"{ratio:.2f} ({spent['orthant']:.0f} s against {spent['gensim']:.0f} s); mean rank correlation with "
            f"similarity {quality['orthant']:.3f} against {quality['gensim']:.3f}",
            _target("0.6 at equal quality", met=met),
            "word_vectors.py",
        )


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
