"""Near-duplicates and clusters of a collection.

One generation of a collection and a threshold enter; pairs, groups, clusters and reversible marks leave.
Never decides on a threshold by itself, never deletes unless it is asked to.
Start with `finding`; `clusters` shares only the reading of rows with it.
"""
