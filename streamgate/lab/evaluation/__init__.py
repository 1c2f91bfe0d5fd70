"""How good is a score: measured with a recogniser that had no part in making it."""
