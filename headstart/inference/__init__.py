"""A trained model put to use: what to look at, its probabilities, and how they are written down."""
