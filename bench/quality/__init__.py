"""How good is the score? Measured on people that the default has never seen, by another judge."""
