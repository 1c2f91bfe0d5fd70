"""Weights that come with the package, and those that are fetched on demand."""
