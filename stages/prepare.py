"""Turn the raw data into a table of examples, one array of pictures, and a split: data/prepared/."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from headstart import params, stage
from headstart.data import duplicates, images, readers, report, splitting, tables


def main() -> None:
    settings = params.load()
    prepare = settings.prepare
    examples, notes = readers.read(settings.data)
    with stage.whole("data/prepared") as folder:
        examples, quarantine, survey, sizes = images.decode_all(
            examples, prepare.image_size, prepare.resize, folder / "images.npy", prepare.max_quarantined
        )
        pictures = np.load(folder / "images.npy", mmap_mode="r")
        classes = readers.class_names(examples["label"], settings.data)
        examples["near"] = duplicates.link(examples, pictures)
        examples["split"], said = duplicates.settle(examples, settings.data.on_leak)
        examples["split"] = splitting.assign(examples, prepare.train, prepare.validation, prepare.test, settings.seed)
        columns = ["id", "path", "hash", "label", "group", "near", "split"]
        examples[columns].to_csv(folder / "examples.csv", index=False)
        quarantine.to_csv(folder / "quarantine.csv", index=False)
        stage.write(folder / "labels.json", json.dumps(classes, indent=2, ensure_ascii=False) + "\n")
        # How a raw picture became a row, for pictures that come later.
        inputs = {"image_size": prepare.image_size, "resize": prepare.resize, **survey._asdict()}
        stage.write(folder / "inputs.json", json.dumps(inputs, indent=2) + "\n")
        # For the model card; so that no later stage needs the raw data.
        origin = Path("data/fetched", "SOURCE.json")
        stage.write(folder / "source.json", origin.read_text(encoding="utf-8") if origin.exists() else "{}\n")

        conflicts = duplicates.conflicts(examples)
        notes += said
        if len(quarantine):
            notes.append(f"{len(quarantine)} examples set aside, with reasons in data/prepared/quarantine.csv")
        if conflicts:
            first = ", ".join(conflicts[0][:3])
            notes.append(f"{len(conflicts)} pictures have the same pixels and different labels, for one {first}")
        stage.write("reports/data.html", report.page(examples, pictures, classes, quarantine, sizes, conflicts, notes))
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    counts = pd.crosstab(examples["label"], examples["split"]).loc[classes, list(tables.SPLITS)]
    summary = {
        "examples": len(examples),
        "quarantined": len(quarantine),
        "repeated_pictures": int(examples["hash"].duplicated().sum()),
        "near_copies": int(examples["near"].dropna().duplicated().sum()),
        "conflicting_labels": len(conflicts),
        "channels": survey.channels,
        "splits": {split: {"examples": int(n.sum()), "classes": n.to_dict()} for split, n in counts.items()},
    }
    stage.write("metrics/prepare.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    counts["all"] = counts.sum(axis=1)
    counts.loc["all"] = counts.sum()
    print(counts.rename_axis(index="class", columns=None).to_string(max_rows=40))


if __name__ == "__main__":
    stage.run(main)
