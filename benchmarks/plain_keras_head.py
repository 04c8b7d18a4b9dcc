"""The script that a user of plain Keras would write: a Dense head on a frozen EfficientNet-Lite0, called in the loop.

The other side of `head_experiment`. It knows nothing of Headstart; reading the photographs is spared it: they come as
arrays, at their final size.
"""

import argparse
import json

import keras
import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument(
    "arrays", help=".npz: x_train, y_train and so on for val and test; uint8 [n, 224, 224, 1 or 3], int [n]"
)
parser.add_argument("base", help=".keras: raw RGB pictures -> embedding")
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("--epochs", type=int, default=8)
parser.add_argument("--batch-size", type=int, default=32)


def main() -> None:
    given = parser.parse_args()
    keras.utils.set_random_seed(0)
    with np.load(given.arrays) as file:
        y = {split: file[f"y_{split}"] for split in ("train", "val", "test")}
        x = {split: np.repeat(file[f"x_{split}"], 3 // file[f"x_{split}"].shape[-1], axis=-1) for split in y}

    base = keras.saving.load_model(given.base, compile=False)
    base.trainable = False
    inputs = keras.Input(x["train"].shape[1:])
    outputs = keras.layers.Dense(len(np.unique(y["train"])), activation="softmax")(base(inputs, training=False))
    model = keras.Model(inputs, outputs)
    model.compile(
        optimizer=keras.optimizers.AdamW(given.lr), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.fit(
        x["train"], y["train"],
        batch_size=given.batch_size,
        epochs=given.epochs,
        validation_data=(x["val"], y["val"]),
        verbose=2,
    )  # fmt: skip
    found = model.evaluate(x["test"], y["test"], batch_size=given.batch_size, verbose=0, return_dict=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
