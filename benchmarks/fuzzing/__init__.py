"""Fuzzing of everything that reads a file: seeds, damage, targets, and the process they run in."""
