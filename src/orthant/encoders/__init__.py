"""Items to vectors.

Texts and other items enter; float32 vectors and an encode report leave.
Never downloads a model, never picks an encoder silently.
Start with `registry.load_encoder`, then `static`.
"""
