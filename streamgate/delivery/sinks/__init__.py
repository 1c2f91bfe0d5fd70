"""The places where best shots can go."""
