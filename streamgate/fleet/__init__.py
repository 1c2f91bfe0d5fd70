"""Many cameras on a cluster: placed, supervised and shown by Ray Core.

Ray places processes and starts them again elsewhere. It sees no frame and no crop, and delivery
does not depend on it: a camera's lease decides which of two copies may deliver.
"""
