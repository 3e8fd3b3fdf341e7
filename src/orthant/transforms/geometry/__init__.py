"""Labels with distances between them: predictions that use the distances, and labels that no example was seen of.

Probabilities of some labels and distances to all of them enter; labels, also of those never seen, leave.
Never trains a classifier and never looks at texts.
Start with `predictor`; `distances` makes and checks what labels are apart, `locus` says which of them can be reached.
"""
