"""What stands around the token states of a transformer: pooling, layers behind it, and the record of an export.

Token states and the folders of saved modules enter; vectors and settings leave.
Never runs a transformer, never needs torch.
Start with `modules`, then `pooling` and `exported`.
"""
