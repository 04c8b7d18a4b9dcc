"""Training: the head, the unfrozen layers, and what both share."""
