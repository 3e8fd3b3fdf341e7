"""Training by a file: what a recipe may say, what it will cost, and running it.

A YAML or JSON recipe enters; a trained model, its history and an export leave.
Never judges against other models (``orthant train`` does), never downloads.
Start with `reading`; `running` trains.
"""
