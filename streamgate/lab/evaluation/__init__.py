"""How good a score is, measured with a recogniser that had no part in making it."""
