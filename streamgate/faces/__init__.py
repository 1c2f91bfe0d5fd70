"""Find faces, align them, and reject those that are not worth a score."""
