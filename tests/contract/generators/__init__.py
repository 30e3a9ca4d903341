"""Random operators and models, and exact references to hold bounds against.

Used by the contract tests and by ``benchmarks/soundness.py``; both put the folder above this one
on the import path.
"""
