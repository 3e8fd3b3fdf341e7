"""The data sets that readers exist for: what each is, who made it, what may be done with it.

One entry per folder under ``ORTHANT_DATA``; the first view of an entry is the one ``load`` takes when none is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["INVENTORY", "DatasetInfo"]


@dataclass(frozen=True)
class DatasetInfo:
    """What a data set is and how to load it.

    Attributes
    ----------
    name : str
        The folder's name and the argument of ``load``.
    kind : str
        retrieval, pairs, labelled, words, documents, questions, vectors, images, interactions, table or graph.
    what : str
        One line.
    licence : {"open", "tests"}
        ``"open"`` may be redistributed with attribution; ``"tests"`` is for measuring only.
    attribution : str
        Who made it, and under which terms.
    views : mapping of str to str
        View name to ``module:function`` below ``orthant.datasets.readers``; the first is the default.
    splits : tuple of str
        Values of ``split=``, or empty.
    parts : tuple of str
        Values of ``part=``, or empty.
    columns : tuple of str
        Fields of a record beyond id and text.
    options : mapping of str to tuple of str
        Options that each view takes besides ``root`` (filled in by ``describe``).
    """

    name: str
    kind: str
    what: str
    licence: Literal["open", "tests"]
    attribution: str
    views: Mapping[str, str]
    splits: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def _entry(
    name: str,
    kind: str,
    what: str,
    licence: Literal["open", "tests"],
    attribution: str,
    views: str,
    *,
    splits: str = "",
    parts: str = "",
    columns: str = "",
) -> DatasetInfo:
    """Build an entry; lists are given as words separated by blanks, views as ``view=module:function``."""
    homes = dict(view.split("=") for view in views.split())
    return DatasetInfo(
        name,
        kind,
        what,
        licence,
        attribution,
        homes,
        tuple(splits.split()),
        tuple(parts.split()),
        tuple(columns.split()),
    )


_RETRIEVAL = (
    _entry("cranfield", "retrieval", "1,400 aerodynamics abstracts, 225 queries", "tests",
           "Cranfield 1400, Glasgow IR group; no licence stated, distributed for research",
           "retrieval=retrieval:cranfield", columns="title author bib year"),
    _entry("npl", "retrieval", "11,429 short electronics abstracts, 93 queries", "tests",
           "NPL / Vaswani, Glasgow IR group; distributed for research", "retrieval=retrieval:npl"),
    _entry("cisi", "retrieval", "1,460 information-science abstracts, 112 long queries (76 judged)", "tests",
           "CISI, Glasgow IR group; distributed for research", "retrieval=retrieval:cisi",
           columns="title author cites"),
    _entry("xquad", "retrieval", "240 paragraphs and 1,190 questions, each in 12 languages", "open",
           "XQuAD, Artetxe, Ruder, Yogatama 2020; CC BY-SA 4.0", "retrieval=retrieval:xquad",
           columns="title para lang"),
    _entry("limit", "retrieval", "46 or 50,000 documents, 1,000 queries with two relevant each", "open",
           "LIMIT, Weller et al. 2025; CC BY 4.0 (full: rebuilt distractors)",
           "retrieval=retrieval:limit", parts="small full"),
    _entry("trecqa", "retrieval", "269 questions with 7,383 judged candidate sentences", "tests",
           "TREC-QA, Wang et al. 2007; TREC data for research",
           "retrieval=retrieval:trecqa pairs=retrieval:trecqa_pairs",
           splits="train dev test", columns="question sentence label"),
    _entry("cosqa", "retrieval", "6,267 Python functions, 500 + 500 web queries", "open",
           "CoSQA, Huang et al. 2021; C-UDA", "retrieval=known_item:cosqa pairs=known_item:cosqa_pairs",
           splits="dev test"),
    _entry("medquad", "retrieval", "16,407 medical questions and answers with filterable fields", "open",
           "MedQuAD, Ben Abacha and Demner-Fushman 2019; CC BY 4.0",
           "retrieval=known_item:medquad documents=known_item:medquad_documents",
           columns="title question qtype source cui semantic_type semantic_group category url"),
    _entry("papers", "retrieval", "10,175 papers: titles, abstracts, venue, year, authors, citations", "open",
           "ACL Anthology and PMLR papers (CC BY 4.0), compiled by papercopilot/paperlists",
           "retrieval=known_item:papers documents=known_item:papers_documents",
           columns="title venue year track status authors keywords citations"),
    _entry("nl2code", "retrieval", "12,958 intents, 974 + 164 tasks, 14,751 utterances, each with its code", "open",
           "pydocs: Xu et al. (Apache-2.0, PSF); MBPP: Google (CC BY 4.0); HumanEval: OpenAI (MIT); SMCalFlow: "
           "Microsoft (CC BY-SA 4.0)", "retrieval=known_item:nl2code", parts="pydocs mbpp humaneval smcalflow"),
    _entry("qmsum", "retrieval", "232 long meeting transcripts, 1,810 questions", "open",
           "QMSum, Zhong et al. 2021; MIT",
           "retrieval=known_item:qmsum documents=known_item:qmsum_documents",
           splits="train val test", columns="split domain topics turns"),
)  # fmt: skip

_TEXTS = (
    _entry("stsb", "pairs", "8,628 sentence pairs scored 0..5, in five languages", "tests",
           "STS benchmark, Cer et al. 2017, translated by May 2021; mixed free licences",
           "pairs=sentences:stsb", splits="train dev test", columns="score"),
    _entry("sick", "pairs", "9,927 sentence pairs with relatedness 1..5 and entailment", "tests",
           "SICK, Marelli et al. 2014; CC BY-NC-SA 3.0", "pairs=sentences:sick",
           splits="train trial test", columns="relatedness entailment"),
    _entry("rte", "pairs", "4,167 passage and hypothesis pairs", "tests", "PASCAL RTE 1-3; free for research",
           "pairs=sentences:rte", splits="rte1_dev rte1_test rte2_dev rte2_test rte3_dev rte3_test",
           columns="entailed task"),
    _entry("ag_news", "labelled", "7,600 short news in 4 topics (test part)", "tests",
           "AG corpus, Gulli; Zhang et al. 2015; non-commercial research", "labelled=labelled:ag_news",
           columns="title"),
    _entry("banking77", "labelled", "13,083 customer questions with 77 intents", "open",
           "Banking77, Casanueva et al. 2020; CC BY 4.0", "labelled=labelled:banking77", splits="train test"),
    _entry("clinc150", "labelled", "23,700 assistant requests, 150 intents in 10 domains, out of scope", "open",
           "CLINC150, Larson et al. 2019; CC BY 3.0", "labelled=labelled:clinc150",
           splits="train val test oos_train oos_val oos_test", columns="domain"),
    _entry("stackoverflow_titles", "labelled", "20,000 titles with 20 tags", "open",
           "Stack Overflow content, Xu et al. 2015; CC BY-SA 3.0", "labelled=labelled:stackoverflow_titles"),
    _entry("sentence_classes", "labelled", "MR, SUBJ, CR, MPQA, SST-2, TREC: 50,608 texts", "tests",
           "released by their authors for research", "labelled=labelled:sentence_classes",
           splits="train dev test", parts="mr subj cr mpqa sst2 trec", columns="fine"),
    _entry("newsgroups20", "labelled", "19,997 dated messages in 20 groups", "open", "20 Newsgroups (UCI); CC BY 4.0",
           "labelled=labelled:newsgroups20", splits="train test",
           columns="subject date organization crossposted duplicate"),
    _entry("word_benchmarks", "words", "44 files of word similarity, analogy, categories, outliers, relations", "tests",
           "vecto-ai/word-benchmarks; each set by its authors, for research", "words=words:word_benchmarks",
           columns="word1 word2 similarity relation category"),
    _entry("wordnet", "words", "107,525 definitions, 131,105 typed relations", "open",
           "Open English WordNet, derived from Princeton WordNet; CC BY 4.0",
           "words=words:wordnet retrieval=words:wordnet_definitions",
           columns="pos lexfile members definition examples ili"),
    _entry("longtexts", "documents", "59 + 65 speeches, 8 plays, 380 languages", "open",
           "public domain texts, from NLTK",
           "documents=long_texts:longtexts", parts="inaugural state_union shakespeare udhr",
           columns="year speaker title"),
    _entry("movies", "documents", "36,273 films with year, genres, cast and plot extract", "open",
           "prust/wikipedia-movie-data (MIT), extracts from Wikipedia (CC BY-SA)", "documents=long_texts:movies",
           columns="title year decade genres cast href"),
    _entry("catalogue", "documents", "61 papers: titles and abstracts", "open", "arXiv metadata; CC0",
           "documents=long_texts:catalogue", columns="title arxiv year month wing"),
    _entry("scirex", "documents", "306 papers labelled with task, method, dataset, metric", "tests",
           "SciREX, Jain et al. 2020 (Apache-2.0); texts stay under their authors' terms",
           "documents=long_texts:scirex",
           columns="abstract task method dataset metric results mentions"),
    _entry("teleqna", "questions", "10,000 telecommunications questions with options and explanation", "open",
           "TeleQnA, Maatouk et al. 2023; MIT, not to be republished as plain text",
           "questions=long_texts:teleqna retrieval=long_texts:teleqna_explanations",
           columns="question options answer explanation category"),
)  # fmt: skip

_ARRAYS = (
    _entry("minilm_short_texts", "vectors", "70,000 sentence vectors of 384 dimensions, 2,000 + 3,000 queries", "tests",
           "all-MiniLM-L6-v2 (Apache-2.0) over wordnet, movies, papers, medquad, MR and SUBJ texts",
           "vectors=vectors:minilm_short_texts", columns="source id text"),
    _entry("vectors_small", "vectors", "12,000 topic histograms, 100 GloVe and 1,000 small word vectors", "tests",
           "nmslib samples (Apache-2.0), GloVe (PDDL), mfaruqui/retrofitting (GPL)", "vectors=vectors:vectors_small",
           parts="histograms8 histograms128 glove words"),
    _entry("mnist", "images", "60,000 + 10,000 digits of 28 x 28", "open",
           "MNIST, LeCun, Cortes, Burges; CC BY-SA 3.0", "images=images:mnist vectors=vectors:mnist_vectors",
           splits="train test"),
    _entry("cifar10", "images", "16,000 + 4,000 RGB pictures of 32 x 32, 10 classes (JPEG)", "tests",
           "CIFAR-10, Krizhevsky 2009; no explicit licence", "images=images:cifar10", splits="train test",
           columns="number"),
    _entry("omniglot", "images", "2,720 drawings of 136 characters; 20 one-shot runs", "open",
           "Omniglot, Lake et al. 2015; MIT", "images=images:omniglot one_shot=images:omniglot_runs",
           columns="alphabet drawer"),
    _entry("fashion_mnist_900", "images", "900 garments of 28 x 28, 10 classes", "open",
           "Fashion-MNIST, Xiao et al. 2017; MIT", "images=images:fashion_mnist_900"),
    _entry("emoji", "images", "3,224 pictures of 32 x 32 RGBA with names and keywords", "open",
           "Noto Emoji (Apache-2.0), unicode-emoji-json and emojilib (MIT)", "images=images:emoji",
           columns="emoji codepoints name slug emoji_version unicode_version skin_tone base keywords file"),
    _entry("icons_svg", "images", "1,776 SVG drawings with tags", "open", "Lucide; ISC, parts MIT",
           "drawings=images:icons_svg", columns="name svg shapes tags categories"),
    _entry("movielens_latest_small", "interactions", "100,836 ratings, 9,742 films, 3,683 tags", "tests",
           "MovieLens, Harper and Konstan 2015; GroupLens terms (no commercial use)",
           "interactions=interactions:movielens_latest_small", columns="title genres imdb tmdb"),
    _entry("amazon_hin", "interactions", "195,791 ratings with time; category, brand, also viewed", "tests",
           "from McAuley's Amazon reviews, anonymous ids; for research", "interactions=interactions:amazon_hin",
           columns="category brand view"),
    _entry("adult", "table", "48,842 census records, 14 fields", "open", "UCI Adult, Becker and Kohavi 1996; CC BY 4.0",
           "table=interactions:adult", splits="train test"),
    _entry("criteo_sample", "table", "1,599 display advertising rows", "tests", "Criteo; CC BY-NC-SA 4.0",
           "table=interactions:criteo_sample"),
    _entry("graphs", "graph", "seven graphs of 2,191 to 22,470 nodes", "tests",
           "OpenNE, Planetoid, BioNEV, MUSAE repositories; terms per graph", "graph=graphs:graphs",
           parts="cora citeseer blogcatalog wiki ppi drugbank_ddi facebook_pages"),
    _entry("knowledge_graphs", "graph", "WN18RR, UMLS, kinship, nations, countries: triples with splits", "open",
           "villmow/datasets_knowledge_embedding; MIT repository", "graph=graphs:knowledge_graphs",
           parts="wn18rr umls kinship nations countries_s1 countries_s2 countries_s3"),
)  # fmt: skip

INVENTORY: Mapping[str, DatasetInfo] = {
    info.name: info for info in sorted((*_RETRIEVAL, *_TEXTS, *_ARRAYS), key=lambda i: i.name)
}
