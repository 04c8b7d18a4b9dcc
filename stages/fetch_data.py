"""Fetch the raw data that `data.source` names into data/fetched/, checked against `data.sha256`."""

from headstart import params, stage
from headstart.data import sources


def main() -> None:
    data = params.load().data
    with stage.whole("data/fetched") as folder:
        note = sources.fetch(data.source, data.sha256, folder)
    if data.source is None:
        print("nothing to fetch: data.source is null")
    else:
        texts = ", ".join(note["licence_files"]) or "none"
        print(f"fetched {data.source}; licence: {note['licence'] or 'not declared'}; licence files: {texts}")


if __name__ == "__main__":
    stage.run(main)
