"""The gate: conditions on models, their exact counts, and comparison with what was before.

Nothing here imports torch or onnx before a check is run.
"""
