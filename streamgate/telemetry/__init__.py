"""What is told about the run: metrics, logs, traces, and the drift of the scores."""
