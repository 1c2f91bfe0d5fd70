"""Synthetic scenes of people whose identity and place are known in every frame."""
