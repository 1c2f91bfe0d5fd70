"""How fast the engine is, against the published way and against what the machine can do."""
