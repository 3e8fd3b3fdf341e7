"""Lines of the table of figures: search and compression, the server and the page, vectors of spaces and words."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean, stdev
from typing import Any

from figure_row import Row, target


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
            goal = target(f"{bar:g} x", met=times >= bar) + "; "
            quicker = arm["p50_ms"] <= plaid["p50_ms"]
            # Beating a PLAID that learned from a quarter says nothing of one that learned from all.
            goal += (
                target("below PLAID", met=quicker) if "plaid" in arms else "below PLAID at its defaults: not measured"
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
        goal = target(f"{bar:g} s", met=found["report_s"] <= bar)
        yield Row(f"`orthant compress`, {record['vectors']:,} x {report['dim']}, {name}", shown, goal, "compress.py")


def small_models_rows(record: dict[str, Any]) -> Iterator[Row]:
    for name, arm in record["arms"].items():
        mean = sum(arm["ndcg@10"].values()) / len(arm["ndcg@10"])
        size = f"{arm['bytes'] / 1e6:.2f} MB, " if "bytes" in arm else ""
        spread = f" ± {arm['spread']:.3f} ({len(arm['seeds'])} seeds)" if "spread" in arm else ""
        shown = f"{size}nDCG@10 {mean:.3f}{spread} over {len(arm['ndcg@10'])} sets"
        goal = target("8 MB at most", met=arm["bytes"] <= 8e6) if name == "codes" else ""
        yield Row(f"MiniLM in a tenth of its bytes: {name}", shown, goal, "small_models.py")


def binary_rows(record: dict[str, Any]) -> Iterator[Row]:
    for size, rates in record.get("rows_per_second", {}).items():
        if "faiss-binary-flat" not in rates:
            continue
        ours = max(rates[f"scan-{bits}bit-codes"] for bits in (1, 2, 4))
        hamming, fast = ours / rates["faiss-binary-flat"], ours / rates["faiss-pq-fast-scan"]
        shown = f"{ours / 1e6:,.0f} million codes/s, {hamming:.2f} x IndexBinaryFlat, {fast:.2f} x PQ fast scan"
        goal = target("1 x and 0.8 x", met=hamming >= 1 and fast >= 0.8)
        yield Row(f"Binary codes of {size} bytes against codes, scanned by one thread", shown, goal, "binary.py")
    for place, sizes in record.get("recall", {}).items():
        for size, arms in sizes.items():
            ours = max(arms[name]["floats"] for name in arms if name.startswith("recurrent"))
            rivals = {name: arm["floats"] for name, arm in arms.items() if not name.startswith("recurrent")}
            best = max(rivals, key=lambda name: rivals[name])
            shown = f"{ours:.3f}, {best} {rivals[best]:.3f}"
            goal = target("above all", met=ours > rivals[best])
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
                target("1 x one by one", met=single >= 1) + "; " + target("1 x at once", met=batch >= 1),
                "ivf.py",
            )
    yield from _ivf_count_rows(record)


def _ivf_count_rows(record: dict[str, Any]) -> Iterator[Row]:
    """What both libraries read for a query at each recall, where both were counted with the same codes."""
    for codes, kinds in record.get("against", {}).items():
        parts, bits = codes.split("x")
        for kind, ratios in kinds.items():
            shown = ", ".join(f"{ratio:.2f} x" for ratio in ratios.values())
            levels = ", ".join(f"{float(level):.2f}" for level in ratios)
            yield Row(
                f"Inverted lists, {parts} codes of {bits} bits, {kind} queries: read for a query",
                f"{shown} the bytes of FAISS at recall@10 {levels}",
                target("as few bytes", met=all(ratio <= 1 for ratio in ratios.values())),
                "ivf.py --counts",
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
            target("0.97 of the recall", met=against["recall_ratio"] >= 0.97)
            + "; "
            + target("5 x the time", met=against["p50_ratio"] <= 5),
            "two_tier.py",
        )


def server_rows(record: dict[str, Any]) -> Iterator[Row]:
    label, served = f"Server, {record['records']:,} records, 32 clients", record["served"]
    dense, hybrid, share = served["dense"], served["hybrid"], record["batch_share_of_in_process"]
    shown = f"{dense['requests_per_s']:,.0f} requests/s, p50 {dense['p50_ms']:.1f} ms, p99 {dense['p99_ms']:.1f} ms"
    yield Row(f"{label}, dense", shown, target("1,000/s", met=dense["requests_per_s"] >= 1000), "server.py")
    yield Row(
        f"{label}, hybrid",
        f"{hybrid['requests_per_s']:,.0f} requests/s, p99 {hybrid['p99_ms']:.1f} ms",
        target("p99 50 ms", met=hybrid["p99_ms"] < 50),
        "server.py",
    )
    yield Row(
        "Server, batches of 64 over those in process", f"{share:.2f}", target("0.6", met=share >= 0.6), "server.py"
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
        target("nothing lost, own memory within 10 %", met=not lost and grown <= 0.1),
        "server.py --mixed 600",
    )


def page_rows(record: dict[str, Any]) -> Iterator[Row]:
    plane = record["map"]
    yield Row(
        f"The page in Chromium, {record['records']:,} records, until results with facets can be used",
        f"{record['open_ms']:,} ms (slowest {record['slowest_open_ms']:,} ms; first of the server "
        f"{record['first_open_ms']:,} ms)",
        target("1 s", met=record["open_ms"] <= 1000),
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
        real = one["migration"]["0.00"]["gain_recovered"]
        now, unseen = (_rehearsed(one[key]["0.00"]) for key in ("rehearsal_now", "rehearsal"))
        shown = (
            f"{real:.2f}; rehearsed {now} of this collection, {one['seen']:.0%} of which taught the map, and {unseen} "
            f"of records that it has not seen; the tool says {one['action']!r}"
        )
        worth = one["gain_interval"][0] > 0
        met = min(real, one["rehearsal"]["0.00"]["gain_recovered"]) >= 0.5
        inside = one["migration_within_rehearsed_interval"]["0.00"]
        goal = target("0.5 in all, within the interval", met=met and inside) if worth else "no gain to recover"
        ends = f"nDCG@10 {one['old']:.3f} to {one['new']:.3f}"
        yield Row(
            f"Upgrade at once, {name.removesuffix(f', {way}')} ({ends}): gain recovered", shown, goal, "upgrade.py"
        )


def adapt_rows(record: dict[str, Any]) -> Iterator[Row]:
    found = record["results"]
    for by in ("record", "kind"):
        shown, significant = [], 0
        for name, one in found.items():
            arm = one["gains"].get(f"by {by}, auto")
            if arm is None:
                continue
            significant += arm["significant"]
            moved = arm["sides"].count("both")
            shown.append(
                f"{name} {fmean(arm['before']):.3f} to {fmean(arm['after']):.3f} (records too in {moved} of 3, p at "
                f"most {max(arm['p_values']):.2g})"
            )
        yield Row(
            f"Adapters from at most 5,000 pairs, whole {by}s held out, sides chosen by pairs set aside: nDCG@10 of "
            "the dense leg, three splits",
            "; ".join(shown),
            target("significant on two sets", met=significant >= 2),
            "adapt.py",
        )


def _rehearsed(one: dict[str, Any]) -> str:
    low, high = one["interval"]
    return f"{one['gain_recovered']:.2f} ({low:.2f} to {high:.2f})"


def word_rows(record: dict[str, Any]) -> Iterator[Row]:
    if record["missing"]:
        return
    told, engines = {}, ("orthant", "gensim")
    for engine in engines:
        seeds = [fmean(one["quality"].values()) for one in record["quality"] if one["engine"] == engine]
        told[engine] = (fmean(seeds), stdev(seeds), len(seeds))
    (ours, spread, count), (peers, peers_spread, _) = told["orthant"], told["gensim"]
    yield Row(
        f"Skip-gram on newsgroups20: mean rank correlation with similarity, {count} seeds",
        f"{ours:.3f} (standard deviation {spread:.3f}); gensim {peers:.3f} ({peers_spread:.3f})",
        target("gensim's less 0.01", met=ours >= peers - 0.01),
        "word_vectors.py",
    )
    for threads in sorted({one["threads"] for one in record["speed"]}):
        spent = {}
        for engine in engines:
            own = [one["seconds"] for one in record["speed"] if (one["engine"], one["threads"]) == (engine, threads)]
            if not own:
                return
            spent[engine] = fmean(own)
        ratio = spent["gensim"] / spent["orthant"]
        yield Row(
            f"Skip-gram on newsgroups20, {threads} thread{'s' * (threads > 1)}, times gensim's speed",
            f"{ratio:.2f} ({spent['orthant']:.0f} s against {spent['gensim']:.0f} s)",
            target("0.6", met=ratio >= 0.6),
            "word_vectors.py",
        )
