"""Delivery of best shots: outbox, sinks, decision log."""
