"""The gate at work on a synthetic camera: no camera, no GPU, no account."""
