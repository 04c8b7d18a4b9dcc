"""The yardstick of text: TF-IDF and logistic regression of scikit-learn, on the splits that `prepare` made here.

`python -m benchmarks.tfidf` after `dvc repro` of a recipe for texts: accuracy on the test split, beside the pipeline's.
Like the pipeline it learns from the training split, and the strength of its regularisation is chosen on the validation
split. `with_validation` is its accuracy when it then learns from both, as the pipeline never does.
"""

import json
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from benchmarks import measure, workshop
from headstart.data.prepared import Prepared, load
from headstart.stage import UserError

STRENGTHS = (1.0, 10.0, 100.0)


def main() -> None:
    measure.parser(__doc__).parse_args()
    folder = workshop.ROOT / "data" / "prepared"
    if not (folder / "texts.npy").exists():
        raise UserError(f"{folder.relative_to(workshop.ROOT)} holds no texts; run a recipe for texts first")
    data = load(folder)
    if data.labels != "class":
        raise UserError(f"{folder.relative_to(workshop.ROOT)} has data.labels {data.labels}; this compares accuracies")
    peer, with_validation = accuracies(data)
    ours = json.loads(Path(workshop.ROOT / "metrics" / "evaluate.json").read_text(encoding="utf-8"))
    measure.report(
        "tfidf", ours=ours["accuracy"], peer=peer, ratio=ours["accuracy"] / peer, unit="accuracy",
        claims=[measure.Claim("accuracy over the peer's", ours["accuracy"] - peer, ">=", 0.0)], quick=False,
        head_only=ours["head_only"]["accuracy"], with_validation=with_validation,
    )  # fmt: skip


def accuracies(data: Prepared) -> tuple[float, float]:
    """Of the test split: learned from the training split, and from that and the validation split."""
    words = {split: [" ".join(data.contents[row]) for row in data.of(split).index] for split in ("train", "test")}
    words["validation"] = [" ".join(data.contents[row]) for row in data.of("validation").index]
    labels = {split: data.targets(split) for split in words}

    def right(strength: float, learned: list[str], judged: str) -> float:
        vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2)
        x = vectorizer.fit_transform([text for split in learned for text in words[split]])
        model = LogisticRegression(C=strength, max_iter=1000)
        model.fit(x, np.concatenate([labels[split] for split in learned]))
        return float(model.score(vectorizer.transform(words[judged]), labels[judged]))

    best = max(STRENGTHS, key=lambda strength: right(strength, ["train"], "validation"))
    return right(best, ["train"], "test"), right(best, ["train", "validation"], "test")


if __name__ == "__main__":
    main()
