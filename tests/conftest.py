"""How long hypothesis looks for counterexamples: a moment by default, minutes with `--hypothesis-profile soak`."""

from hypothesis import settings

settings.register_profile("soak", max_examples=20_000, deadline=None)
