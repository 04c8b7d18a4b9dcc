"""A page of commands with their outputs, run again: what it shows must still be what comes.

On the page a block fenced as `console` holds commands, each behind `$ `, and below each what it prints. There a line of
`…` stands for any lines, `…` within a line for anything. Numbers, hashes and widths are not compared, the words are. A
comment before a block says what else is needed to know:

    <!-- not run: why -->            shown only
    <!-- varies: word, other -->     of lines that begin with one of these, only that word is compared (and no →)

`python -m tests.pipeline.walkthrough FOLDER` runs the page in a clone that has been reproduced, and writes the outputs
that no longer hold into it.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(r"(?:^<!-- (not run|varies): (.*?) -->\n)?^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MASKS = [
    (r"\x1b\[[0-9;]*m", ""),
    (r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{7,64}\b", "0"),  # of commits and contents
    (r"[-+]?\d(?:[\d.,]*\d)?(?:e[-+]?\d+)?", "0"),
    (r"[-─━═]{2,}", "--"),
    (r"[ \t]+", " "),
]


class Step(NamedTuple):
    """A command of the page.

    command: for a shell.
    output: what the page says it prints.
    varies: words whose lines differ from machine to machine.
    """

    command: str
    output: str
    varies: tuple[str, ...] = ()


def steps(page: str) -> list[Step]:
    """The page's commands that are to be run, in order."""
    found = []
    for directive, said, content in BLOCK.findall(page):
        if directive == "not run":
            continue
        varies = tuple(word.strip() for word in said.split(",")) if directive else ()
        assert content.startswith("$ "), f"a console block begins with a command: {content[:60]!r}"
        for part in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            while command.endswith("\\"):
                more, _, output = output.partition("\n")
                command = command[:-1] + more.lstrip("> ")
            found.append(Step(command, output, varies))
    return found


def masked(text: str, varies: tuple[str, ...] = ()) -> list[str]:
    """The lines, as far as they are compared; blank ones left out."""
    lines = []
    for line in text.splitlines():
        for pattern, instead in MASKS:
            line = re.sub(pattern, instead, line)
        line = line.strip()
        line = next((word for word in varies if line.removeprefix("! ").startswith(word)), line)
        # What a remedy is for varies, and so does whether there is one.
        if line and not (varies and line.startswith("→")):
            lines.append(line)
    return lines


def differs(expected: str, found: str, varies: tuple[str, ...] = ()) -> str | None:
    """None if the output found is what the page says; else both, as they were compared."""
    want, have = masked(expected, varies), masked(found, varies)
    pattern = "".join(r"(?:.*\n)*?" if line == "…" else f"{re.escape(line)}\n".replace("…", ".*") for line in want)
    if re.fullmatch(pattern, "".join(f"{line}\n" for line in have)):
        return None
    return "the page says\n  " + "\n  ".join(want) + "\nand there is\n  " + "\n  ".join(have)


def on_page(path: Path) -> list[Step]:
    """The commands of a page's file."""
    return steps(path.read_text(encoding="utf-8"))


def command_line(step: Step) -> list[str]:
    """What to run in the clone: `headstart` is the clone's own, and errors come where they would on a terminal."""
    return ["bash", "-c", f'exec 2>&1; headstart() {{ "{sys.executable}" -m headstart "$@"; }}; {step.command}']


def renew(page: Path, clone: Path) -> None:
    """Run the page in a clone, and put what comes where the page says something else."""
    for step in on_page(page):
        done = subprocess.run(command_line(step), cwd=clone, capture_output=True, text=True, check=False)
        output = done.stdout.replace(str(clone), "…")
        if differs(step.output, output, step.varies):
            text, old = page.read_text(encoding="utf-8"), f"$ {step.command}\n{step.output}"
            assert text.count(old) == 1, f"mend the page by hand at: $ {step.command}"
            page.write_text(text.replace(old, f"$ {step.command}\n{output}"), encoding="utf-8")


if __name__ == "__main__":
    renew(Path(__file__).parents[2] / "docs" / "walkthrough.md", Path(sys.argv[1]))
