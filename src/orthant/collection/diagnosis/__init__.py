"""What the vectors of a collection are like, what its searches cost and miss, and what to do about it.

One space of a collection enters, with queries where they are at hand; figures with intervals and a page of plots leave.
Never changes a collection, and never states a figure of a sample without its interval.
Start with `measuring`, then `report`.
"""
