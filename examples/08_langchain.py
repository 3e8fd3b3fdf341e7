"""Adopt a collection in LangChain: store, filters, hybrid retrieval, variety, and the same folder from outside.

Run it with ``python examples/08_langchain.py``; it needs ``pip install 'orthant[langchain]'`` and no network.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

import orthant
from orthant.integrations.langchain import OrthantVectorStore

NOTES = [
    ("The pump in hall 3 was replaced in May after error E-4711.", "maintenance", 2024),
    ("Error E-4711 means that the inlet valve does not close.", "manual", 2019),
    ("A valve that stays open lets pressure fall and the motor run hot.", "manual", 2019),
    ("The canteen closes at two on Fridays.", "staff", 2025),
    ("Water pressure in hall 3 was too low all week.", "maintenance", 2025),
    ("Pressure was low in hall 3 for the whole week.", "maintenance", 2025),
]


def show(title: str, documents: list[Document]) -> None:
    """Print a heading and documents."""
    print(f"\n{title}")
    for document in documents:
        print(f"  {document.metadata['year']} {document.metadata['kind']:<12} {document.page_content}")


def journey(folder: Path) -> None:
    """Search, filter, vary and chain."""
    documents = [Document(page_content=text, metadata={"kind": kind, "year": year}) for text, kind, year in NOTES]
    store = OrthantVectorStore.from_documents(documents, None, path=folder, encoder="static", mode="hybrid")

    show("What does E-4711 mean? (hybrid)", store.similarity_search("What does E-4711 mean?", k=2))
    recent = {"year": {"gte": 2024}}
    show("The same, 2024 and later", store.similarity_search("What does E-4711 mean?", k=2, filter=recent))
    question = "low water pressure in hall 3"
    show("Low pressure, closest", store.similarity_search(question, k=2, mode="dense"))
    varied = store.max_marginal_relevance_search(question, k=2, fetch_k=6, lambda_mult=0.3)
    show("Low pressure, varied", varied)

    retriever = store.as_retriever(search_kwargs={"k": 2, "filter": {"kind": "manual"}})
    joined = RunnableLambda(lambda found: " ".join(document.page_content for document in found))
    chain = {"context": retriever | joined, "question": RunnablePassthrough()}
    prompt = RunnableLambda(lambda given: f"Answer from: {given['context']}\nQuestion: {given['question']}")
    print("\nWhat a model would be asked:\n ", (chain | prompt).invoke("Why does the motor run hot?"))
    store.collection.close()

    with orthant.open(folder) as collection:
        print(f"\nThe folder without LangChain: {collection!r}")
        print(" ", collection.search("canteen", mode="lexical")[0].text)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        journey(Path(place) / "notes")
