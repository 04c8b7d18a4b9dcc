"""The stages, named as in dvc.yaml. This runs before any of them, and so before TensorFlow is imported."""

import os

from headstart import gpus, quiet

quiet.tensorflow()
gpus.take()
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# Arrow, behind pandas' strings, gives memory back then; its own pool keeps twice of what a large table needs.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
# Operations whose result depends on the order of threads give way to ones whose result does not.
os.environ.setdefault("TF_DETERMINISTIC_OPS", "1")
# A framework takes the GPU memory that it needs rather than all there is: several experiments may share a GPU.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
