"""An encoder with a small trained network behind it: one aspect of what a text says, for example.

Items enter; vectors of a named aspect leave, without torch.
Never trains: `orthant.learn.train_aspect_heads` makes the networks.
Start with `encoder.ProjectedEncoder`; `base` finds the encoder behind a saved one.
"""
