"""The outbox on disk: encrypted, and safe against kills, full disks and flipped bits."""
