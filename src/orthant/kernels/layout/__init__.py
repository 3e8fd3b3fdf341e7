"""Places on a plane by lists of neighbours.

Neighbours with distances enter; weighted edges and places leave.
Never looks at vectors, and never keeps anything.
Start with `forces`.
"""
