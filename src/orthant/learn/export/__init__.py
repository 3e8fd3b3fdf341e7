"""From torch to what serves without it: ONNX graphs for transformers, NumPy for small networks.

Trained modules and sentence-transformers models enter; folders and networks leave, each checked against its origin.
Never trains, and never leaves a folder behind that failed its check.
Start with `encoder.export_encoder`, then `networks.export_network`.
"""
