"""Certifying data sets: reading them, margins, radii, and the deployed model."""
