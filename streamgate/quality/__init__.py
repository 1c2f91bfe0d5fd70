"""GraFIQs: how good a face is for recognition, from a recogniser's BatchNorm statistics."""
