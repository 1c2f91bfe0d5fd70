"""The lease of a camera: one process of many may deliver, and each tenure has a number."""
