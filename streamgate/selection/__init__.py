"""What to score, which face of a track is forwarded, and what is recorded about it.

Pure rules without I/O; time is an argument.
"""
