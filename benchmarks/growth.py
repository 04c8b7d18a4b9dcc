"""Claim: 1 % new pictures cost a small part of what all did.

Seconds of `python -m stages.extract_features` on the default data after 1 % of the pictures were added, over those for
the others, which were extracted from nothing just before; a process each, its start included.
"""

import json
import shutil
from functools import partial
from statistics import median

import numpy as np

from benchmarks import measure, workshop
from headstart.backbones import table

SHARE = 0.01


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    data = workshop.prepared(20 if given.quick else None)
    new = max(1, round(SHARE * len(data.examples)))
    with workshop.folder() as within:
        clone = workshop.clone(within)
        made = workshop.backbone(workshop.DEFAULT, table.find(workshop.DEFAULT).size, within)
        shutil.copytree(made, clone.folder / "models" / "backbone")
        folder = clone.folder / "data" / "prepared"
        folder.mkdir(parents=True)
        np.save(folder / "images.npy", data.images[data.examples.index])
        (folder / "labels.json").write_text(json.dumps(data.classes))
        before: list[float] = []
        after: list[float] = []
        for _ in range(1 if given.quick else given.rounds):
            shutil.rmtree(clone.folder / ".headstart", ignore_errors=True)
            for examples, found in ((data.examples[:-new], before), (data.examples, after)):
                examples.to_csv(folder / "examples.csv", index=False)
                found.append(measure.seconds(partial(clone.stage, "extract_features")))
            print(f"{before[-1]:.1f} s for all, {after[-1]:.1f} s for {new} more", flush=True)

    ours, peer = median(after), median(before)
    measure.report(
        "growth",
        ours=ours,
        peer=peer,
        ratio=ours / peer,
        unit="seconds",
        claims=[measure.Claim("ratio", ours / peer, "<=", 0.1)],
        quick=given.quick,
        pictures=len(data.examples),
        new=new,
    )


if __name__ == "__main__":
    main()
