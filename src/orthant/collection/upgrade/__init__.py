"""Replacing the encoder of a space: rehearsed on a sample, carried out beside the searches, cut over in one commit.

A collection and a new encoder enter; figures with intervals, and a space made by the new encoder, leave.
Never changes what a search of the space answers before `commit`, never mixes two encoders in one space.
Start with `plan.UpgradePlan`, then `state`, `maps`, `bridge` and `cutover`.
"""
