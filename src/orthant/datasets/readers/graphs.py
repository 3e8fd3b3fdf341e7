"""Graphs with labels and features, and knowledge graphs with fixed splits."""

from __future__ import annotations

import os

import numpy as np

from orthant.datasets.readers.files import arrays, bad_row, find, tsv_rows
from orthant.datasets.structures import Graph, KnowledgeGraph, SparseRows
from orthant.errors import InputError, message
from orthant.validate import check_choice

__all__ = ["GRAPHS", "KNOWLEDGE_GRAPHS", "graphs", "knowledge_graphs"]

Root = str | os.PathLike[str] | None

GRAPHS = ("cora", "citeseer", "blogcatalog", "wiki", "ppi", "drugbank_ddi", "facebook_pages")
KNOWLEDGE_GRAPHS = ("wn18rr", "umls", "kinship", "nations", "countries_s1", "countries_s2", "countries_s3")
_FEATURES = ("feat_data", "feat_indices", "feat_indptr", "feat_shape")
_OPTIONAL = ("labels", "label_node", "label_id", "node_names", "train_idx", "val_idx", "test_idx", *_FEATURES)


def graphs(*, part: str = "cora", root: Root = None) -> Graph:
    """Read one undirected graph for node embedding, classification, reconstruction or link prediction.

    Parameters
    ----------
    part : {"cora", "citeseer", "blogcatalog", "wiki", "ppi", "drugbank_ddi", "facebook_pages"}, default "cora"
        From 2,191 to 22,470 nodes, from 4,552 to 333,983 edges.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    Graph
        Labels, several labels, features, names and splits where the origin has them.
    """
    part = check_choice(part, GRAPHS, name="part")
    path = find(root, "graphs", f"{part}.npz")
    z = arrays(path, ["edges", "num_nodes"], optional=_OPTIONAL)
    edges, nodes = z["edges"], int(z["num_nodes"])
    if edges.ndim != 2 or edges.shape[1] != 2 or (edges.size and not 0 <= edges.min() <= edges.max() < nodes):
        given = f"{path} with edges of shape {edges.shape} over {nodes} nodes"
        raise InputError(message(given, "edges of shape (m, 2) between known nodes", "restore it from its origin"))
    features = None
    if "feat_data" in z:
        rows, columns = (int(n) for n in z["feat_shape"])
        data = z["feat_data"].astype(np.float32, copy=False)
        features = SparseRows(data, z["feat_indices"].astype(np.int32, copy=False), z["feat_indptr"], (rows, columns))
    return Graph(
        f"graphs/{part}",
        nodes,
        edges.astype(np.int32, copy=False),
        labels=z["labels"].astype(np.int64, copy=False) if "labels" in z else None,
        label_pairs=np.stack([z["label_node"], z["label_id"]], axis=1).astype(np.int64) if "label_node" in z else None,
        features=features,
        node_names=tuple(str(n) for n in z["node_names"]) if "node_names" in z else None,
        splits={s: z[f"{s}_idx"] for s in ("train", "val", "test") if f"{s}_idx" in z},
    )


def knowledge_graphs(*, part: str = "wn18rr", root: Root = None) -> KnowledgeGraph:
    """Read one knowledge graph: triples with train, valid and test parts.

    Parameters
    ----------
    part : {"wn18rr", "umls", "kinship", "nations", "countries_s1", "countries_s2", "countries_s3"}, default "wn18rr"
        From 70 to 40,943 entities.
    root : str or path-like, optional
        The data folder; left out, ``ORTHANT_DATA``.

    Returns
    -------
    KnowledgeGraph
        Triples as positions in sorted entity and relation names; WN18RR has readable entity names.
    """
    part = check_choice(part, KNOWLEDGE_GRAPHS, name="part")
    path = find(root, "knowledge_graphs", f"{part}.tsv.gz")
    columns = ("split", "head", "relation", "tail") + (("head_name", "tail_name") if part == "wn18rr" else ())
    rows = list(tsv_rows(path, columns))
    for line, row in rows:
        if row[0] not in ("train", "valid", "test"):
            bad_row(path, line, f"split {row[0]!r}", "train, valid or test")
    entities = tuple(sorted({row[1] for _, row in rows} | {row[3] for _, row in rows}))
    relations = tuple(sorted({row[2] for _, row in rows}))
    entity = {name: i for i, name in enumerate(entities)}
    relation = {name: i for i, name in enumerate(relations)}
    triples = {}
    for split in ("train", "valid", "test"):
        listed = [(entity[r[1]], relation[r[2]], entity[r[3]]) for _, r in rows if r[0] == split]
        triples[split] = np.array(listed, dtype=np.int32).reshape(-1, 3)
    names: dict[str, str] = {}
    if part == "wn18rr":
        for _, row in rows:
            names.setdefault(row[1], row[4])
            names.setdefault(row[3], row[5])
    return KnowledgeGraph(f"knowledge_graphs/{part}", entities, relations, triples, names)
