"""Queries made of several parts: a text and its change, a picture and a wish.

Vectors of one joint space, or pictures and texts, enter; query vectors of that space leave.
Never trains, never searches.
Start with `prompt_direction.PromptDirection`; `pictures` is a small encoder of pictures and texts.
"""
