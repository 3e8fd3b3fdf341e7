"""Vector sets for benchmarks, made once from texts of the data folder and kept in a cache.

The data folder and a function from texts to vectors enter; memory-mapped vector sets leave.
Never encodes by itself, never writes into the data folder, never serves vectors of other texts than those there now.
Start with `store`; which texts a set is made of is in `texts`.
"""
