"""Data that people have into rows that a training reads.

Labelled texts, scored pairs, judgements, dictionaries and documents enter; tables of (anchor, positive, ...) leave.
Never invents a text, never drops a row without counting why.
Start with `pairs`; `builders` has whole data sets, `splitting` keeps test documents out of training.
"""
