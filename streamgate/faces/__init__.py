"""From a frame to candidates: find faces, follow, check and align them."""
