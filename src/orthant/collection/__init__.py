"""Documents that are stored durably, filtered and searched.

Records, queries and where-expressions enter; explained hits leave.
Never trains, never serves HTTP; index files in it are derived and rebuildable.
Start with `collection`, then `store`.
"""
