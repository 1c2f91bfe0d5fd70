"""Scores from a scorer service: the Open Inference Protocol v2, its messages, and a client.

Nothing here is imported, and neither is gRPC, by a camera that has no service.
"""
