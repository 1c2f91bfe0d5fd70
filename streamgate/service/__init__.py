"""The scorer service: one device scores the faces of many cameras."""
