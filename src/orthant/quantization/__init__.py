"""Vectors to codes, as scikit-learn estimators.

float32 vectors enter; uint8 codes leave, and scores against codes.
Never stores, never searches a structure.
Classes speak `orthant.types.Quantizer`.
"""
