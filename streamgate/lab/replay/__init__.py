"""Replay: score every face of a recording once, then judge any number of rules by these scores."""
