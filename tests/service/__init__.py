"""Tests of the scorer service and its client."""
