"""What a running camera reports: metrics, logs, traces, and the drift of its scores."""
