"""The trained model in use: predictions on the command line, exports, and an answer over HTTP."""

import base64
import http.client
import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import serving
from tests.pipeline.conftest import Clone

pytestmark = pytest.mark.pipeline

PICTURES = "data/fetched/planktonclas/resources/demo-images"


def evaluated(clone: Clone) -> pd.DataFrame:
    """evaluation/predictions.csv by id; a picture's id is its path from the data's folder."""
    table = pd.read_csv(clone.folder / "evaluation/predictions.csv", dtype={"id": str, "predicted": str})
    return table.set_index("id")


def predicted(clone: Clone, *arguments: str) -> pd.DataFrame:
    """What `headstart predict` says of all pictures, by id."""
    clone.ok(sys.executable, "-m", "headstart", "predict", PICTURES, "--output", "found.csv", *arguments)
    table = pd.read_csv(clone.folder / "found.csv")
    (clone.folder / "found.csv").unlink()
    table.index = pd.Index([Path(name).relative_to(PICTURES).as_posix() for name in table["file"]])
    assert table["error"].isna().all()
    return table


def test_predict_repeats_the_evaluation_from_the_picture_files(pipeline: Clone) -> None:
    before, found = evaluated(pipeline), predicted(pipeline)
    assert len(found) == 105
    assert len(before) > 20
    assert found.loc[before.index, "predicted"].tolist() == before["predicted"].tolist()
    columns = [name for name in before if name.startswith("p_")]
    np.testing.assert_allclose(found.loc[before.index, columns], before[columns], atol=1e-5)


def test_exports_compute_what_keras_does_and_are_ready_to_predict(pipeline: Clone, tmp_path: Path) -> None:
    out = tmp_path / "exports"
    said = pipeline.ok(sys.executable, "-m", "headstart", "export", "--int8", "--out", str(out))
    rows = {line[:13].strip(): line[13:].split() for line in said.splitlines()[1:-1]}
    assert set(rows) == {"keras", "savedmodel", "onnx", "onnx int8", "openvino", "litert", "litert int8"}
    for name, (file, megabytes, difference, same, accuracy, *speeds) in rows.items():
        assert name == "keras" or (out / file).exists()
        assert float(megabytes) > 0
        assert all(float(speed) > 0 for speed in speeds)
        assert float(same) == 1 or name.endswith("int8")
        assert float(difference) <= 1e-3 or name.endswith("int8")
        assert 0 <= float(accuracy) <= 1
    # A byte a weight where there were four.
    for name in ("onnx", "litert"):
        assert float(rows[f"{name} int8"][1]) < 0.35 * float(rows[name][1])
    before, found = evaluated(pipeline), predicted(pipeline, "--model", str(out))
    columns = [name for name in before if name.startswith("p_")]
    np.testing.assert_allclose(found.loc[before.index, columns], before[columns], atol=1e-4)


def test_mlflow_answers_picture_files_over_http_as_predict_does(pipeline: Clone, tmp_path: Path) -> None:
    uri = f"sqlite:///{pipeline.folder / 'mlflow.db'}"
    before, found = evaluated(pipeline), predicted(pipeline)
    columns = [name for name in before if name.startswith("p_")]
    examples = pd.read_csv(pipeline.folder / "data/prepared/examples.csv", dtype=str)
    row = int(examples.index[examples["id"] == before.index[0]][0])
    picture = np.load(pipeline.folder / "data/prepared/images.npy", mmap_mode="r")[row : row + 1]
    files = [(pipeline.folder / PICTURES / name).read_bytes() for name in before.index[:5]]
    with serving.served(serving.logged(uri, "fine_tune"), tmp_path, serving.environment(uri)) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        answers = serving.ask(connection, serving.body(files))
        np.testing.assert_allclose(answers, found.loc[before.index[:5], columns].astype(float), atol=1e-5)
        # As it stands in a shell: a file of 76 characters a line, and with the kind of picture before it.
        lines = base64.encodebytes(files[0]).decode()
        for text in (lines, f"data:image/jpeg;base64,{lines}"):
            np.testing.assert_allclose(serving.ask(connection, serving.body([text])), answers[:1], atol=1e-6)
        # The network's own input, in numbers.
        (answer,) = serving.ask(connection, serving.body(picture))
        np.testing.assert_allclose(answer, before.iloc[0][columns].astype(float), atol=1e-5)
        for inputs, sentence in {
            ("photo.jpg",): " is no base64; a picture is given as the bytes of its file",
            (lines, base64.b64encode(b"GIF89a").decode()): "inputs[1]: not a picture of a known kind",
            ((1, 2), (3, 4)): "inputs: numbers of the shape [2, 2] are given; allowed are pictures [b, 96, 96, 3], or",
        }.items():
            with pytest.raises(RuntimeError, match=f"the server answers 400.*{re.escape(sentence)}"):
                serving.ask(connection, json.dumps({"inputs": inputs}).encode())
        connection.close()
