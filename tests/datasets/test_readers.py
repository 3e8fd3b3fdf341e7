"""Every reader against the data folder: row counts, ids, ranges and the facts that the sets' own pages state."""

from __future__ import annotations

import re

import numpy as np
import pytest

from orthant import datasets
from orthant.datasets.readers import graphs, labelled, retrieval, sentences, words
from orthant.errors import InputError

pytestmark = pytest.mark.data

RETRIEVAL = [
    ("cranfield", {}, 1400, 225, 1837),
    ("npl", {}, 11429, 93, 2083),
    ("cisi", {}, 1460, 112, 3114),
    ("cosqa", {}, 6267, 1000, 1000),
    ("cosqa", {"split": "dev"}, 6267, 500, 500),
    ("xquad", {}, 240, 1190, 1190),
    ("xquad", {"lang_query": "zh", "lang_corpus": "all"}, 2880, 1190, 12 * 1190),
    ("limit", {"part": "small"}, 46, 1000, 2000),
    ("limit", {"part": "full"}, 50000, 1000, 2000),
    ("trecqa", {}, 7052, 269, 7382),
    ("qmsum", {}, 232, 1576, 1576),
    ("qmsum", {"queries": "general"}, 232, 234, 234),
    ("nl2code", {"part": "mbpp"}, 974, 970, 974),
    ("nl2code", {"part": "humaneval"}, 164, 164, 164),
    ("teleqna", {}, 10000, 1000, 1000),
]


@pytest.mark.parametrize(("name", "options", "corpus", "queries", "judgements"), RETRIEVAL)
def test_retrieval_sets_have_the_published_sizes_and_known_ids(data_root, name, options, corpus, queries, judgements):
    found = datasets.load_retrieval(name, root=data_root, **options)
    assert isinstance(found, datasets.RetrievalSet)
    assert (len(found.corpus), len(found)) == (corpus, queries)
    assert sum(map(len, found.qrels.values())) == judgements
    ids = {d.id for d in found.corpus}
    assert len(ids) == corpus
    assert all(set(grades) <= ids for grades in found.qrels.values())
    assert set(found.qrels) <= set(found.queries)


def test_judged_queries_of_cisi_and_unjudged_ones_are_told_apart(data_root):
    cisi = datasets.load("cisi", root=data_root)
    assert len(cisi.judged) == 76
    cranfield = datasets.load("cranfield", root=data_root)
    grades = [g for row in cranfield.qrels.values() for g in row.values()]
    assert (grades.count(1), grades.count(0)) == (1612, 225)
    assert [d.id for d in cranfield.corpus if not d.text] == ["471", "995"]
    assert cranfield.corpus[0].metadata["year"] == 1958


def test_medquad_counts_every_answer_of_a_question(data_root):
    every = datasets.load("medquad", root=data_root)
    assert (len(every.corpus), len(every)) == (16407, 1873)
    assert max(map(len, every.qrels.values())) > 1
    assert "question" not in every.corpus[0].metadata


def test_papers_hide_the_title_from_retrieval_and_keep_it_in_documents(data_root):
    found = datasets.load("papers", root=data_root)
    assert len(found) == 2032
    by_id = {d.id: d for d in found.corpus}
    for query, text in list(found.queries.items())[:200]:
        document = by_id[query]
        assert document.title == ""
        assert text not in document.metadata.values()
        assert document.text
    documents = datasets.load("papers", view="documents", root=data_root)
    assert len(documents) == 10175
    assert all(d.title for d in documents.documents)
    assert {d.metadata["venue"] for d in documents.documents} == {"ACL", "NAACL", "COLING", "ICML", "UAI"}


def test_pydocs_intents_share_snippets(data_root):
    found = datasets.load("nl2code", root=data_root)
    assert len(found.corpus) == 12743
    assert 1200 < len(found) <= 1296
    assert max(map(len, found.qrels.values())) > 1
    program = datasets.load("nl2code", part="smcalflow", every=50, root=data_root)
    assert len(program.corpus) == 7953


def test_qmsum_answers_and_turns(data_root):
    meetings = datasets.load("qmsum", view="documents", root=data_root)
    assert len(meetings) == 232
    words_ = [len(d.text.split()) for d in meetings.documents]
    assert np.median(words_) > 8000
    assert len(datasets.load("qmsum", view="documents", split="test", root=data_root)) == 35
    asked = datasets.load("qmsum", split="val", root=data_root)
    answered = datasets.load("qmsum", queries="answer", split="val", root=data_root)
    assert list(asked.queries) == list(answered.queries)
    assert asked.queries != answered.queries
    assert len(asked.corpus) == 232


@pytest.mark.parametrize("lang", sentences.STSB_LANGUAGES)
def test_stsb_has_three_aligned_splits_in_every_language(data_root, lang):
    found = sentences.stsb(lang=lang, root=data_root)
    assert [found.splits.count(s) for s in ("train", "dev", "test")] == [5749, 1500, 1379]
    assert found.scores.dtype == np.float32
    assert (found.scores.min(), found.scores.max()) == (0.0, 5.0)
    assert all(found.first)
    assert all(found.second)


def test_stsb_across_languages_and_quotes_are_not_eaten(data_root):
    crossed = sentences.stsb(lang="en", lang_second="de", split="test", root=data_root)
    english = sentences.stsb(lang="en", split="test", root=data_root)
    german = sentences.stsb(lang="de", split="test", root=data_root)
    assert crossed.first == english.first
    assert crossed.second == german.second
    assert any(text.startswith('"') for text in english.first + english.second)


def test_pairs_with_labels(data_root):
    sick = datasets.load("sick", root=data_root)
    assert [sick.splits.count(s) for s in ("train", "trial", "test")] == [4500, 500, 4927]
    assert set(sick.labels) == {"ENTAILMENT", "NEUTRAL", "CONTRADICTION"}
    assert (sick.scores.min(), sick.scores.max()) == (1.0, 5.0)
    rte = datasets.load("rte", root=data_root)
    assert len(rte) == 4167
    assert set(np.unique(rte.scores)) == {0.0, 1.0}
    assert len(datasets.load("rte", split="rte1_dev", root=data_root)) == 567
    cosqa = datasets.load("cosqa", view="pairs", root=data_root)
    assert (len(cosqa), int(cosqa.scores.sum())) == (604, 313)
    trecqa = datasets.load("trecqa", view="pairs", root=data_root)
    assert [trecqa.splits.count(s) for s in ("train", "dev", "test")] == [4718, 1148, 1517]


LABELLED = [
    ("ag_news", {}, 7600, 4),
    ("banking77", {}, 13083, 77),
    ("banking77", {"split": "test"}, 3080, 77),
    ("clinc150", {}, 23700, 151),
    ("clinc150", {"split": "oos_test"}, 1000, 151),
    ("stackoverflow_titles", {}, 20000, 20),
    ("sentence_classes", {"part": "mr"}, 10662, 2),
    ("sentence_classes", {"part": "subj"}, 10000, 2),
    ("sentence_classes", {"part": "cr"}, 3775, 2),
    ("sentence_classes", {"part": "mpqa"}, 10606, 2),
    ("sentence_classes", {"part": "sst2"}, 9613, 2),
    ("sentence_classes", {"part": "trec"}, 5952, 6),
]


@pytest.mark.parametrize(("name", "options", "rows", "classes"), LABELLED)
def test_labelled_texts_have_the_published_sizes(data_root, name, options, rows, classes):
    found = datasets.load(name, root=data_root, **options)
    assert len(found.label_names) == classes
    assert rows is None or len(found) == rows
    assert len(found.labels) == len(found.texts)
    assert found.labels.dtype == np.int64
    assert found.labels.min() >= 0
    assert found.labels.max() < classes
    assert found.splits is None or len(found.splits) == len(found)
    assert found.metadata is None or len(found.metadata) == len(found)


def test_labels_mean_what_the_origin_says(data_root):
    news = datasets.load("ag_news", root=data_root)
    assert news.label_names == ("World", "Sports", "Business", "Sci/Tech")
    assert np.bincount(news.labels).tolist() == [1900] * 4
    titles = labelled.stackoverflow_titles(root=data_root)
    linq = [t for t, label in zip(titles.texts, titles.labels, strict=True) if titles.label_names[label] == "linq"]
    assert len(linq) == 1000
    assert sum("linq" in t.lower() for t in linq) > 500
    groups = datasets.load("newsgroups20", root=data_root)
    assert sum(m["duplicate"] for m in groups.metadata) == 686
    test = datasets.load("newsgroups20", split="test", duplicates="drop", root=data_root)
    kept = [m["duplicate"] for m, s in zip(groups.metadata, groups.splits, strict=True) if s == "test"].count(False)
    assert (len(test), set(test.splits)) == (kept, {"test"})
    assert (groups.splits.count("train"), groups.splits.count("test")) == (13939, 6058)
    assert len({m["domain"] for m in datasets.load("clinc150", root=data_root).metadata}) == 11
    with pytest.raises(InputError, match="no split"):
        labelled.sentence_classes(part="mr", split="train", root=data_root)


WORDLESS = {
    ("word-categorization", "ap"): 21,
    ("word-categorization", "bless"): 17,
    ("word-similarity", "wordsim353-rel"): 1,
    ("word-similarity", "wordsim353-sim"): 1,
}


def test_every_word_benchmark_of_the_folder_loads_with_its_published_row_count(data_root):
    page = (data_root / "word_benchmarks" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w-]+)/[\w-]+/([\w-]+)/([\w-]+)\.csv \| (\d+) \|", page, flags=re.MULTILINE)
    assert len(rows) == 44
    tasks = {folder: task for task, (folder, _, _) in words.WORD_TASKS.items()}
    for folder, lang, part, count in rows:
        found = words.word_benchmarks(task=tasks[folder], part=part, lang=lang, root=data_root)
        assert len(found) == int(count) - WORDLESS.get((folder, part), 0), (folder, lang, part)


def test_word_benchmark_contents(data_root):
    simlex = words.word_benchmarks(root=data_root)
    assert simlex.name == "word_benchmarks/similarity/en/simlex999"
    assert (simlex.first[0], simlex.second[0], simlex.scores[0]) == ("old", "new", 0.0)
    verbs = words.word_benchmarks(part="simverb-3500", root=data_root)
    assert (verbs.first[0], verbs.second[0], verbs.labels[0]) == ("take", "remove", "synonyms")
    assert verbs.scores[0] == pytest.approx(6.81)
    google = words.word_benchmarks(task="analogy", root=data_root)
    assert google.items[0] == ("capital-common-countries", "Athens", "Greece", "Baghdad", "Iraq")
    outliers = words.word_benchmarks(task="outliers", root=data_root).groups[0]
    assert len(outliers.words) == 8
    assert "" not in outliers.outliers
    assert len(words.word_benchmarks(lang="en-de", root=data_root)) == 914
    with pytest.raises(InputError, match="en/men"):
        words.word_benchmarks(part="simlex", root=data_root)


def test_wordnet_definitions_and_relations(data_root):
    found = datasets.load("wordnet", root=data_root)
    assert (len(found), len(found.edges)) == (107525, 131105)
    counts = dict(zip(found.relations, np.bincount(found.edges[:, 1]).tolist(), strict=True))
    assert (counts["hypernym"], counts["similar"]) == (88090, 23148)
    pairs = list(found.definitions())
    assert len(pairs) == 185152
    assert len({s.lexfile for s in found.synsets}) == 45
    assert found.synsets[0].members == ("able",)
    assert len(found.synsets[0].examples) > 1


DOCUMENTS = [
    ("longtexts", {"part": "inaugural"}, 59),
    ("longtexts", {"part": "state_union"}, 65),
    ("longtexts", {"part": "shakespeare"}, 8),
    ("longtexts", {"part": "udhr"}, 380),
    ("catalogue", {}, 61),
    ("scirex", {}, 306),
]


@pytest.mark.parametrize(("name", "options", "rows"), DOCUMENTS)
def test_document_sets_have_the_published_sizes_and_unique_ids(data_root, name, options, rows):
    found = datasets.load(name, root=data_root, **options)
    assert len({d.id for d in found.documents}) == len(found) == rows


def test_document_fields(data_root):
    movies = datasets.load("movies", root=data_root).documents
    assert len({d.id for d in movies}) == 36273
    assert sum(bool(d.text) for d in movies) == 34532
    assert (min(d.metadata["year"] for d in movies), max(d.metadata["year"] for d in movies)) == (1900, 2023)
    scirex = datasets.load("scirex", root=data_root).documents
    assert all(d.text.startswith(d.metadata["abstract"]) for d in scirex)
    questions = datasets.load("teleqna", root=data_root)
    assert len(questions) == 10000
    assert sum(q.category == "Lexicon" for q in questions.questions) == 500
    speeches = datasets.load("longtexts", root=data_root).documents
    assert (speeches[0].metadata["year"], speeches[0].metadata["speaker"]) == (1789, "Washington")


def test_sentence_vectors_are_unit_float32_with_their_texts(data_root):
    found = datasets.load("minilm_short_texts", root=data_root)
    assert found.base.shape == (70000, 384)
    assert {name: q.shape for name, q in found.queries.items()} == {"in": (2000, 384), "out": (3000, 384)}
    assert found.base.dtype == np.float32
    assert found.base.flags.c_contiguous
    assert np.abs(np.linalg.norm(found.queries["out"], axis=1) - 1).max() < 1e-3
    assert len(found.base_records) == 70000
    assert {r["source"] for r in found.query_records["out"]} == {"stackoverflow", "banking77"}
    bare = datasets.load("minilm_short_texts", texts="drop", limit=10, root=data_root)
    assert bare.base_records is None
    assert bare.base.shape == (10, 384)
    assert np.array_equal(bare.base, found.base[:10])


def test_small_vectors(data_root):
    histograms = datasets.load("vectors_small", root=data_root)
    assert (histograms.base.shape, histograms.queries["test"].shape) == ((10000, 8), (1000, 8))
    assert np.allclose(histograms.base.sum(axis=1), 1, atol=1e-3)
    assert datasets.load("vectors_small", part="histograms128", root=data_root).base.shape == (1000, 128)
    glove = datasets.load("vectors_small", part="glove", root=data_root)
    assert (glove.words[0], glove.vectors.shape) == ("the", (100, 100))
    assert datasets.load("vectors_small", part="words", root=data_root).vectors.shape == (1000, 48)


def test_digits_as_pictures_and_as_vectors(data_root):
    digits = datasets.load("mnist", root=data_root)
    assert digits.images.shape == (70000, 28, 28)
    assert (digits.splits.count("train"), digits.splits.count("test")) == (60000, 10000)
    vectors = datasets.load("mnist", view="vectors", root=data_root)
    assert (vectors.base.shape, vectors.queries["test"].shape) == ((60000, 784), (10000, 784))
    assert np.array_equal(vectors.queries["test"][5], digits.images[60005].ravel())
    assert vectors.base_records[7]["label"] == digits.labels[7]


def test_other_pictures(data_root):
    fashion = datasets.load("fashion_mnist_900", root=data_root)
    assert np.bincount(fashion.labels).tolist() == [90] * 10
    emoji = datasets.load("emoji", root=data_root)
    assert emoji.images.shape == (3224, 32, 32, 4)
    assert len(emoji.label_names) == 9
    assert sum(m["skin_tone"] is not None for m in emoji.metadata) == 1580
    omniglot = datasets.load("omniglot", root=data_root)
    assert omniglot.images.shape == (2720, 105, 105)
    assert 0.01 < omniglot.images.mean() < 0.2
    assert np.bincount(omniglot.labels).tolist() == [20] * 136
    assert len({m["alphabet"] for m in omniglot.metadata}) == 5
    icons = datasets.load("icons_svg", root=data_root)
    assert len(icons) == 1776
    assert len({c for d in icons.drawings for c in d.categories}) == 42


def test_jpeg_and_png_pictures_need_pillow_only_when_asked_for(data_root):
    pytest.importorskip("PIL")
    cifar = datasets.load("cifar10", split="test", root=data_root)
    assert cifar.images.shape == (4000, 32, 32, 3)
    assert np.bincount(cifar.labels).tolist() == [400] * 10
    assert set(cifar.splits) == {"test"}
    runs = datasets.load("omniglot", view="one_shot", root=data_root)
    assert len(runs) == 20
    assert runs[0].training.shape == runs[0].test.shape == (20, 105, 105)
    assert sorted(runs[0].answers.tolist()) == list(range(20))
    assert 0.01 < runs[0].training.mean() < 0.2


def test_interactions_and_tables(data_root):
    films = datasets.load("movielens_latest_small", root=data_root)
    assert (len(films), len(films.item_fields), len(films.tags)) == (100836, 9742, 3683)
    assert len(np.unique(films.users)) == 610
    assert (films.ratings.min(), films.ratings.max()) == (0.5, 5.0)
    assert films.item_fields[1]["genres"][0] == "Adventure"
    bought = datasets.load("amazon_hin", root=data_root)
    assert (len(bought), len(np.unique(bought.users)), len(bought.item_fields)) == (195791, 6170, 2753)
    assert sum(len(f["category"]) for f in bought.item_fields.values()) == 5508
    adult = datasets.load("adult", root=data_root)
    assert [(adult.splits == s).sum() for s in ("train", "test")] == [32561, 16281]
    assert (len(adult.categorical), len(adult.numeric)) == (8, 6)
    assert "?" not in adult.categorical["workclass"]
    assert "" in adult.categorical["workclass"]
    clicks = datasets.load("criteo_sample", root=data_root)
    assert (len(clicks), int(clicks.target.sum()), len(clicks.numeric)) == (1599, 334, 13)
    assert np.isnan(clicks.numeric["I2"]).sum() == 0 or np.isnan(clicks.numeric["I1"]).any()


GRAPHS = {
    "blogcatalog": (10312, 333983, None, 39),
    "wiki": (2405, 11596, 17, None),
    "cora": (2708, 5278, 7, None),
    "citeseer": (3327, 4552, None, None),
    "ppi": (3890, 37845, None, 50),
    "drugbank_ddi": (2191, 242027, None, None),
    "facebook_pages": (22470, 170823, 4, None),
}


@pytest.mark.parametrize("part", graphs.GRAPHS)
def test_graphs_have_the_published_sizes(data_root, part):
    nodes, edges, classes, several = GRAPHS[part]
    found = graphs.graphs(part=part, root=data_root)
    assert (len(found), len(found.edges)) == (nodes, edges)
    if classes is not None:
        assert len(set(found.labels[found.labels >= 0].tolist())) == classes
    if several is not None:
        assert len(np.unique(found.label_pairs[:, 1])) == several
    if part == "cora":
        assert found.features.shape == (2708, 1433)
        assert len(found.features.indptr) == 2709
        assert [len(found.splits[s]) for s in ("train", "val", "test")] == [140, 500, 1000]


TRIPLES = {
    "wn18rr": ([86835, 3034, 3134], 40943, 11),
    "umls": ([5216, 652, 661], 135, 46),
    "kinship": ([8548, 1069, 1069], None, None),
    "nations": ([1619, 202, 203], None, None),
    "countries_s1": ([1111, 24, 24], 271, 2),
    "countries_s2": ([1063, 24, 24], 271, 2),
    "countries_s3": ([985, 24, 24], 271, 2),
}


@pytest.mark.parametrize("part", graphs.KNOWLEDGE_GRAPHS)
def test_knowledge_graphs_have_the_published_sizes(data_root, part):
    counts, entities, relations = TRIPLES[part]
    found = graphs.knowledge_graphs(part=part, root=data_root)
    assert [len(found.triples[s]) for s in ("train", "valid", "test")] == counts
    assert entities is None or len(found.entities) == entities
    assert relations is None or len(found.relations) == relations
    assert len(found) == sum(counts)
    if part == "wn18rr":
        assert found.entity_names["00260881"] == "land_reform.n.01"


def test_every_view_of_every_set_is_a_reader_that_names_its_options(data_root):
    assert retrieval.XQUAD_LANGUAGES[0] == "en"
    for name in datasets.names():
        info = datasets.describe(name)
        assert set(info.options) == set(info.views)
        assert all("split" in options for options in info.options.values()) or not info.splits or len(info.views) > 1
