"""Writing a backbone down: for Keras, for ONNX Runtime, and what Keras computed, to check the other against."""

import gc
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from headstart.backbones import reference
from headstart.backbones.cut import graph, output
from headstart.backbones.graph import separators
from headstart.backbones.saving import save_model

log = logging.getLogger(__name__)


def write(network: keras.Model, facts: dict[str, Any], folder: Path, onnx: bool) -> None:
    """Write a backbone's files.

    backbone.keras is the network; backbone.onnx the same with the output of every separator, in order, as outputs, so
    that any lower part can be taken out of it; reference.npz samples of what Keras computes at each of them for
    `reference.inputs`; backbone.json the facts given, the graph and the layers with weights.

    Args:
        network: raw RGB [b, s, s, 3] or token ids [b, tokens] -> embedding [b, d].
        facts: name, source, licence and the like; `input` says what goes in.
        folder: where to; exists.
        onnx: whether to export; a failed export is said and leaves the file out, and Keras will run the network.
    """
    names = graph(network)
    cuts = separators(names)[1:]
    every = keras.Model(network.input, [output(network, name) for name in cuts])
    # This call also builds the model, without which the export refuses it.
    outputs = every(reference.inputs(facts["input"]).astype(network.input.dtype))
    samples: dict[str, Any] = {name: reference.sample(out) for name, out in zip(cuts, outputs, strict=True)}
    np.savez(folder / "reference.npz", **samples)
    save_model(network, folder / "backbone.keras")
    if onnx:
        # It logs a traceback for every optimisation that it leaves out, MobileNetV3's for one; the result is checked.
        logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
        try:
            with warnings.catch_warnings(), collecting():
                warnings.simplefilter("ignore", FutureWarning)  # tf2onnx reads numpy's aliases of the past
                every.export(folder / "backbone.onnx", format="onnx", verbose=False)
            _rename(folder / "backbone.onnx")
        except Exception as error:  # whatever the exporter stumbles over, Keras can still run the network
            (folder / "backbone.onnx").unlink(missing_ok=True)
            log.warning("no ONNX export of %s (%s: %s)", network.name, type(error).__name__, error)
    content = {**facts, "graph": names.reads, "weighted": names.weighted}
    (folder / "backbone.json").write_text(json.dumps(content, indent=1) + "\n")


@contextmanager
def collecting() -> Iterator[None]:
    """Collect garbage often: tf2onnx leaves a copy of the graph, weights included, behind each of its passes.

    They are cycles of few objects, and Python does not look at its oldest ones until a quarter as many new ones are
    there: what is there now is set aside for that long, so that looking is quick, too. The export of a small
    BERT takes 3.5 GB this way, and 6.6 without.

    JAX, which Keras imports where it is installed, has itself called at each collection; a Ctrl-C that comes in such a
    call is lost, so there are none meanwhile.
    """
    before, callbacks = gc.get_threshold(), gc.callbacks[:]
    gc.collect()
    gc.callbacks.clear()
    gc.freeze()
    gc.set_threshold(before[0], 2, 2)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
        gc.callbacks.extend(callbacks)


def _rename(path: Path) -> None:
    """Name everything in an ONNX file by its place: tf2onnx counts in an order that differs from run to run."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    names: dict[str, str] = {"": ""}  # an optional input that is not given has no name

    def by_place(name: str) -> str:
        return names.setdefault(name, f"t{len(names)}")

    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}{number}"
        node.input[:] = [by_place(name) for name in node.input]
        node.output[:] = [by_place(name) for name in node.output]
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = by_place(value.name)
    for value in (*graph.input, *graph.output):
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if dimension.dim_param:
                dimension.dim_param = "tokens" if axis else "batch"
    weights = sorted(graph.initializer, key=lambda value: int(value.name[1:]))
    del graph.initializer[:]
    graph.initializer.extend(weights)
    onnx.save(model, path)
