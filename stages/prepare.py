"""Turn the raw data into a table of examples, one array of their contents, and a split: data/prepared/."""

import json
import sys
from pathlib import Path

from headstart import params, stage
from headstart.data import contents, duplicates, labels, prepared, report, splitting, tables


def main() -> None:
    settings = params.load()
    prepare, content, kind = settings.prepare, contents.OF_TASK[settings.task], settings.data.labels
    examples, notes = content.read(settings.data)
    with stage.whole("data/prepared") as folder:
        stored = content.store(examples, prepare, folder)
        examples, quarantine, there = stored.examples, stored.quarantine, prepared.contents(folder)
        notes += stored.notes
        classes = labels.class_names(examples["label"], settings.data)
        examples["near"] = content.link(examples, there)
        examples["split"], said = duplicates.settle(examples, settings.data.on_leak, content.SAME)
        several = None if kind == "class" else labels.classes_of(examples["label"], kind)
        shares = prepare.train, prepare.validation, prepare.test
        examples["split"] = splitting.assign(examples, *shares, settings.seed, several)
        columns = ["id", "path", "hash", "label", "group", "near", "split"]
        examples[columns].to_csv(folder / "examples.csv", index=False)
        quarantine.to_csv(folder / "quarantine.csv", index=False)
        stage.write(folder / "labels.json", json.dumps(classes, indent=2, ensure_ascii=False) + "\n")
        # How a raw example became a row, for examples that come later; one class each goes without saying.
        inputs = stored.inputs | ({} if kind == "class" else {"labels": kind})
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
            notes.append(f"{len(conflicts)} {content.MANY} have {content.SAME} and different labels, for one {first}")
        counted = labels.counted(examples["label"], classes, kind)
        page = report.page(
            examples, lambda row, name: content.show(there, row, name), counted, quarantine, conflicts, notes,
            about=stored.about, many=content.MANY, same=content.SAME, near=content.NEAR,
        )  # fmt: skip
        stage.write("reports/data.html", page)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    counts = labels.counts(counted, examples["split"], tables.SPLITS)
    sizes = {split: int((examples["split"] == split).sum()) for split in tables.SPLITS}
    by = {"classes": counts} if kind != "score" else {"classes": counts.iloc[:0], "scores": counts}
    summary = {
        "examples": len(examples),
        "quarantined": len(quarantine),
        f"repeated_{content.MANY}": int(examples["hash"].duplicated().sum()),
        "near_copies": int(examples["near"].dropna().duplicated().sum()),
        "conflicting_labels": len(conflicts),
        **stored.facts,
        **counted.facts,
        "splits": {
            split: {"examples": n, **{what: of[split].to_dict() for what, of in by.items()}}
            for split, n in sizes.items()
        },
    }
    stage.write("metrics/prepare.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    counts["all"] = counts.sum(axis=1)
    counts.loc["all"] = [*sizes.values(), len(examples)]
    named = counts.rename_axis(index="score" if kind == "score" else "class", columns=None)
    print(named.to_string(max_rows=40))


if __name__ == "__main__":
    stage.run(main)
