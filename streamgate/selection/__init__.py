"""What to score, which face of a track wins, and what is said of it.

Rules without I/O; time is an argument.
"""
