import numpy as np
import pandas as pd
import pytest
import yaml

from headstart.evaluation import calibration, card, classification, report

KNOBS = {"task": "image-classification", "backbone": "EfficientNetLite0", "lr": 0.001, "trainable_layers": 50}
BACKBONE = {
    "name": "EfficientNetLite0", "image_size": 224, "embedding": 1280, "remark": "", "licence": "Apache-2.0",
    "source": "package:b==2",
}  # fmt: skip


def facts(simulate, names=("sound", "defective"), **changes):
    names, n = list(names), 200
    truth, p = simulate(n, len(names))
    _, worse = simulate(n, len(names), skill=0.1)
    said = report.report(truth, p, worse, groups=None, resamples=50, seed=0)
    said["calibration"], _ = calibration.report((truth, p), (truth, p))
    counts = {name: int(count) for name, count in zip(names, np.bincount(truth, minlength=len(names)), strict=True)}
    prepared = {
        "examples": 600, "quarantined": 0, "repeated_pictures": 0, "near_copies": 0, "conflicting_labels": 0,
        "splits": {split: {"examples": n, "classes": counts} for split in ("train", "validation", "test")},
    }  # fmt: skip
    given = card.Facts(
        knobs=KNOBS, views=4, metrics=said, classes=classification.tables(truth, {"final": p}, names)["classes.csv"],
        prepared=prepared, source={"source": "package:a==1", "name": "a", "licence": "Apache-2.0"}, backbone=BACKBONE,
    )  # fmt: skip
    return given._replace(**changes)


def parts(text):
    """The head as YAML gives it, and the rest."""
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def test_it_has_the_sections_of_the_field_and_the_numbers_of_the_metrics(simulate):
    given = facts(simulate)
    head, body = parts(card.card(given))
    for section in ("Model details", "Intended use", "How to load it", "Training data", "Evaluation", "Limitations"):
        assert f"\n## {section}\n" in body
    for of in (given.metrics, given.metrics["head_only"]):
        low, high = of["interval"]["accuracy"]
        assert f"{of['accuracy']:.3f} [{low:.3f}, {high:.3f}]" in body
    assert f"temperature of {given.metrics['calibration']['temperature']:.3f}" in body
    assert head["base_model"] == "EfficientNetLite0"
    assert head["datasets"] == ["a"]
    assert head["pipeline_tag"] == "image-classification"
    found = {metric["type"]: metric["value"] for metric in head["model-index"][0]["results"][0]["metrics"]}
    assert found == {
        "accuracy": given.metrics["accuracy"], "f1": given.metrics["f1_macro"], "roc_auc": given.metrics["roc_auc"]
    }  # fmt: skip


def test_a_table_has_as_many_cells_in_every_row(simulate):
    _, body = parts(card.card(facts(simulate, names=["a|b", "c\nd", "*e*", "<f>"])))
    rows = [line for line in body.splitlines() if line.startswith("|")]
    widths = [line.replace("\\|", "").count("|") for line in rows]
    assert set(widths) == {4, 5, 6}
    assert "a\\|b" in body
    assert "\\<f\\>" in body
    assert "c d" in body


@pytest.mark.parametrize(
    ("data", "weights", "licence"),
    [
        ("Apache-2.0", "Apache-2.0", "apache-2.0"),
        ("CC-BY-NC-SA-4.0 AND Apache-2.0", "Apache-2.0", "other"),
        (None, "MIT", "other"),
        (None, None, "other"),
    ],
)
def test_a_licence_is_named_only_where_all_parts_have_it(simulate, data, weights, licence):
    given = facts(simulate, source={"source": None, "licence": data}, backbone=BACKBONE | {"licence": weights})
    head, body = parts(card.card(given))
    assert head["license"] == licence
    assert ("not stated" in body) == (data is None or weights is None)


def test_limitations_follow_from_the_facts(simulate):
    given = facts(simulate)
    quiet = " ".join(card.limitations(given))
    for word in ("commercial", "set aside", "copies", "different labels", "uneven", "little"):
        assert word not in quiet
    splits = given.prepared["splits"] | {
        "train": {"examples": 130, "classes": {"sound": 120, "defective": 10}},
        "test": {"examples": 30, "classes": {"sound": 25, "defective": 5}},
    }
    prepared = given.prepared | {"quarantined": 3, "near_copies": 7, "conflicting_labels": 2, "splits": splits}
    source = given.source | {"licence": "CC-BY-NC-SA-4.0"}
    metrics = given.metrics | {"gain": {"accuracy": 0.0, "interval": [-0.1, 0.1]}}
    found = " ".join(card.limitations(given._replace(prepared=prepared, source=source, metrics=metrics)))
    for said in (
        "not for commercial use",
        "3 pictures could not be used",
        "7 pictures are copies",
        "2 pictures are there with different labels",
        "of sound there are 120 training pictures, of defective 10",
        "says little: defective",
        "does not show that fine-tuning did better",
    ):
        assert said in found
    alone = given._replace(metrics=metrics, knobs=KNOBS | {"trainable_layers": 0})
    assert "fine-tuning did better" not in " ".join(card.limitations(alone))


def test_a_test_split_of_one_class_has_its_card(simulate):
    truth, p = np.zeros(30, int), np.tile([0.7, 0.3], (30, 1))
    said = report.report(truth, p, p, groups=None, resamples=20, seed=0)
    said["calibration"], _ = calibration.report((truth, p), (truth, p))
    classes = classification.tables(truth, {"final": p}, ["sound", "defective"])["classes.csv"]
    assert isinstance(classes, pd.DataFrame)
    assert "undefined" in card.card(facts(simulate, metrics=said, classes=classes))
