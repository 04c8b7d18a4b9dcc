"""What Headstart claims, measured: a file a claim, both sides in one run. `make bench` runs them all."""

import os

from headstart import quiet

quiet.tensorflow()
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
