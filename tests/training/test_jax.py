"""The same training on JAX, on one device and on two that share each batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# 63 examples in batches of 16: the last one is odd.
SCRIPT = """
import json
import keras
import numpy as np
from headstart import device
from headstart.features.inputs import Cached
from headstart.tasks import classification as task
from headstart.training import loop, networks, optimization
from headstart.training.batches import Batches

devices = device.share_work()
rng = np.random.default_rng(0)
labels = rng.integers(0, 3, 63)
cache = (np.eye(3, 5)[labels] * 2 + rng.normal(size=(63, 5))).astype(np.float32)[:, None]
keras.utils.set_random_seed(0)
head = networks.head(5, 3, [], 0.0, task)
def batches(shuffle):
    return Batches(
        Cached(cache), task.targets(labels, 3), batch_size=16, seed=0, shuffle=shuffle, devices=devices
    )
history = loop.fit(
    head, task, batches(True), batches(False), optimization.optimizer("adam", 0.01),
    epochs=3, patience=5, on_epoch=lambda *_: None,
)
print(json.dumps([keras.backend.backend(), devices, history["val_loss"].tolist(), history["val_accuracy"].tolist()]))
"""


def trained(devices: int) -> list:
    env = os.environ | {"KERAS_BACKEND": "jax", "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_two_devices_train_as_one_does() -> None:
    one, two = trained(1), trained(2)
    assert (one[:2], two[:2]) == (["jax", 1], ["jax", 2])
    assert one[2][-1] < one[2][0]
    assert two[2] == pytest.approx(one[2], rel=0.02)
    assert two[3] == pytest.approx(one[3], abs=1e-6)
