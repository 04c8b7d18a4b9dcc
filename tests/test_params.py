"""What a user's params.yaml may say, and the sentence for everything that it may not."""

import contextlib
import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from headstart import params
from headstart.stage import UserError

ROOT = Path(__file__).parents[1]
CONTENT = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
KNOBS = ["task", "backbone", "lr", "batch_size", "epochs", "optimizer", "trainable_layers", "seed"]
SECTIONS = ["data", "prepare", "features", "head", "fine_tune", "evaluate", "tracking"]

Load = Callable[..., params.Params]


def changed(changes: dict[str, object]) -> dict[str, object]:
    """The repository's parameters with some changed, sections by `section.key`."""
    content = copy.deepcopy(CONTENT)
    for key, value in changes.items():
        *sections, last = key.split(".")
        place = content
        for section in sections:
            place = place[section]
        place[last] = value
    return content


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads the repository's parameters with some changed."""

    def load(changes: dict[str, object]) -> params.Params:
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(changed(changes)), encoding="utf-8")
        return params.load(path)

    return load


@pytest.fixture
def mistake(load: Load, tmp_path: Path) -> Callable[..., str]:
    """The sentence that a change is refused with, without the file's name."""

    def mistake(changes: dict[str, object]) -> str:
        with pytest.raises(UserError) as caught:
            load(changes)
        return str(caught.value).removeprefix(f"{tmp_path / 'params.yaml'}: ")

    return mistake


@pytest.mark.parametrize(
    "path", [ROOT / "params.yaml", *sorted((ROOT / "recipes").glob("*.yaml"))], ids=lambda p: p.name
)
def test_what_we_ship_loads(path: Path) -> None:
    params.load(path)


def test_the_knobs_at_the_top_are_these_and_no_others() -> None:
    assert list(CONTENT) == KNOBS + SECTIONS
    assert list(params.Params.model_fields) == KNOBS + SECTIONS


@pytest.mark.parametrize(
    ("key", "given", "allowed"),
    [
        ("lr", -1, "-1 is given, it must be greater than 0"),
        ("lr", 0, "0 is given, it must be greater than 0"),
        ("lr", float("nan"), "nan is given, it must be a finite number"),
        ("lr", "nan", "'nan' is given, it must be a finite number"),
        ("lr", float("inf"), "inf is given, it must be a finite number"),
        ("lr", "fast", "'fast' is given, it must be a valid number, unable to parse string as a number"),
        ("lr", None, "None is given, it must be a valid number"),
        ("lr", True, "a number is needed, not true or false"),
        ("epochs", "ten", "'ten' is given, it must be a valid integer, unable to parse string as an integer"),
        ("epochs", 0, "0 is given, it must be greater than or equal to 1"),
        ("epochs", 2.5, "2.5 is given, it must be a valid integer, got a number with a fractional part"),
        ("epochs", True, "a number is needed, not true or false"),
        ("batch_size", [32], "[32] is given, it must be a valid integer"),
        ("seed", -1, "-1 is given, it must be greater than or equal to 0"),
        ("task", "chess", "'chess' is given, it must be 'image-classification' or 'text-classification'"),
        ("optimizer", "lion", "'lion' is given, it must be 'sgd', 'adam', 'adamw' or 'rmsprop'"),
        ("backbone", 50, "50 is given, it must be a valid string"),
        ("data", "pictures/", "'pictures/' is given, it must be a mapping of parameters"),
        ("data.path", "", "'' is given, it must have at least 1 character"),
        ("data.sha256", "abc", "'abc' is given, it must match pattern '^[0-9a-f]{64}$'"),
        ("data.classes", ["one"], "['one'] is given, it must have at least 2 items after validation, not 1"),
        ("data.columns.label", -1, "-1 is given, allowed is a column's name, its number from 0, or null"),
        ("data.columns.label", True, "True is given, allowed is a column's name, its number from 0, or null"),
        ("data.header", "yes", "'yes' is given, it must be a valid boolean"),
        ("prepare.image_size", 4, "4 is given, it must be greater than or equal to 8"),
        ("prepare.resize", "squash", "'squash' is given, it must be 'stretch', 'crop' or 'pad'"),
        ("features.augment", "mixup", "'mixup' is given, it must be 'none', 'flip', 'dihedral' or 'photo'"),
        ("head.hidden", 128, "128 is given, it must be a valid list"),
        ("head.dropout", 1, "1 is given, it must be less than 1"),
        ("fine_tune.clip_norm", 0, "0 is given, it must be greater than 0"),
        ("evaluate.bootstrap", 10, "10 is given, it must be greater than or equal to 100"),
        ("tracking.experiment", "", "'' is given, it must have at least 1 character"),
        *[
            (
                "trainable_layers",
                value,
                f'{value!r} is given, allowed is a number of layers (0 or more), a layer\'s name or "all"',
            )
            for value in (-1, 2.5, True, None, "")
        ],
    ],
)
def test_an_impossible_value_is_a_sentence_with_key_given_and_allowed(
    mistake: Callable[..., str], key: str, given: object, allowed: str
) -> None:
    assert mistake({key: given}) == f"{key}: {allowed}"


@pytest.mark.parametrize(("given", "meant"), [(True, "on"), (False, "off"), ("on", "on"), ("auto", "auto")])
def test_a_switch_that_yaml_takes_for_a_truth_value_is_understood(tmp_path: Path, given: object, meant: str) -> None:
    content = copy.deepcopy(CONTENT)
    content["fine_tune"]["cache"] = given
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    assert params.load(tmp_path / "params.yaml").fine_tune.cache == meant


def test_an_element_of_a_list_is_named_by_its_place(mistake: Callable[..., str]) -> None:
    assert mistake({"head.hidden": [64, 0]}) == "head.hidden.1: 0 is given, it must be greater than or equal to 1"


@pytest.mark.parametrize("key", ["learning_rate", "data.folder", "data.columns.target", "fine_tune.lr"])
def test_a_key_that_there_is_not_is_named(mistake: Callable[..., str], key: str) -> None:
    assert mistake({key: 1}) == f"{key}: there is no such parameter; remove it or mend its name"


@pytest.mark.parametrize("key", ["lr", "data", "features.views", "data.columns.group"])
def test_a_key_that_is_missing_is_named(tmp_path: Path, key: str) -> None:
    content = copy.deepcopy(CONTENT)
    *sections, last = key.split(".")
    place = content
    for section in sections:
        place = place[section]
    del place[last]
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(UserError, match=rf": {key}: missing; every parameter has a line in params\.yaml$"):
        params.load(tmp_path / "p.yaml")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"prepare.train": 0.9}, "prepare: train + validation + test must be 1, these add up to 1.3"),
        (
            {"prepare.train": 0.75, "prepare.validation": 0},
            "prepare: validation is 0; each split needs a share of the examples",
        ),
        (
            {"features.augment": "none", "features.views": 2},
            "features: views is 2 but augment is none; more than one view needs an augmentation",
        ),
        (
            {"data.labels": "multi", "data.classes": None},
            "data: threshold: 0.5 is given, but data.labels is multi; it must be null there: a threshold makes two "
            "classes of a score, which is data.labels class",
        ),
        (
            {"data.columns.label": ["a", "b"]},
            "data: columns.label: 2 columns are given, but data.labels is class; allowed is one column, or data.labels "
            "multi, where each is a class",
        ),
        (
            {"data.labels": "score", "data.threshold": None, "data.classes": None, "head.class_weights": True},
            "head.class_weights: true is given, but data.labels is score, where a score has no classes to weigh it by; "
            "it must be false",
        ),
        (
            {"data.labels": "score", "data.threshold": None, "data.classes": None, "fine_tune.label_smoothing": 0.1},
            "fine_tune.label_smoothing: 0.1 is given, but data.labels is score: only the probabilities of classes can "
            "be smoothed; it must be 0",
        ),
        (
            {"fine_tune.lora_rank": 8},
            "fine_tune.lora_rank: 8 is given, but the layers of picture networks are convolutions, which have no "
            "low-rank additions; it must be 0 with task image-classification",
        ),
        (
            {"data.source": "https://example.org/a.zip", "data.sha256": None},
            "data: data.sha256 is null; a data.source needs the SHA-256 of its archive to be checked against",
        ),
    ],
)
def test_values_that_do_not_go_together_are_named(
    mistake: Callable[..., str], changes: dict[str, object], sentence: str
) -> None:
    assert mistake(changes) == sentence


def test_all_mistakes_are_told_at_once(mistake: Callable[..., str]) -> None:
    lines = mistake({"lr": -1, "epochs": "ten", "colour": 1, "head.dropout": 2}).split("\n  ")
    assert {line.partition(":")[0] for line in lines} == {"lr", "epochs", "colour", "head.dropout"}


@pytest.mark.parametrize(("text", "number"), [("1e-05", 1e-5), ("0.01", 0.01), ("3", 3.0)])
def test_numbers_may_come_as_text(load: Load, text: str, number: float) -> None:
    assert load({"lr": text}).lr == number


@given(st.floats(min_value=1e-12, max_value=1e3))
def test_any_rate_that_dvc_writes_comes_back_as_it_was(rate: float) -> None:
    # DVC writes Python's repr, which YAML 1.1 takes for text where it has an exponent and no point.
    content = yaml.safe_load(f"lr: {rate!r}") | {key: CONTENT[key] for key in CONTENT if key != "lr"}
    assert params.Params.model_validate(content).lr == rate


@pytest.mark.parametrize(
    ("given", "kept"), [(0, 0), (20, 20), ("20", 20), ("all", "all"), ("block5a_add", "block5a_add")]
)
def test_layers_to_train_are_a_number_a_name_or_all(load: Load, given: int | str, kept: int | str) -> None:
    assert load({"trainable_layers": given}).trainable_layers == kept


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lr: [1, 2\nepochs: 3", "not readable as YAML: "),
        ("{[]: 1}", "not readable as YAML: "),
        ("- lr\n- epochs", "a mapping of parameters is needed, found list"),
        ("", "a mapping of parameters is needed, found NoneType"),
        ("1: 2", "1: "),
    ],
)
def test_a_file_that_holds_no_parameters_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        params.load(path)
    assert sentence in str(caught.value)


def test_broken_yaml_is_told_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"lr: \xff\xfe")
    with pytest.raises(UserError, match="not readable as YAML") as caught:
        params.load(tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; run from the repository's root"):
        params.load(tmp_path / "params.yaml")


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda x: st.lists(x, max_size=3))
)
def test_whatever_stands_for_the_rate_is_a_positive_number_or_refused(value: object) -> None:
    with contextlib.suppress(params.ValidationError):
        assert params.Params.model_validate(CONTENT | {"lr": value}).lr > 0


def test_texts_have_no_views(mistake: Callable[..., str]) -> None:
    said = mistake({"task": "text-classification"})
    assert said.startswith("features.augment: 'dihedral' is given, but texts have no views; it must be none")
    said = mistake({"task": "text-classification", "features.augment": "none", "features.views": 1})
    assert said == "evaluate.views: 4 is given, texts have 1 view"
