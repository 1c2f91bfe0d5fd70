"""Replay: every face of a recording scored once, and any number of rules judged by that table."""
