"""Bytes of a text file to text, whatever encoding it was written in. Knows no layout."""

import codecs

import charset_normalizer

# Marks at the beginning of a file; the longer ones first, for UTF-32's begins with UTF-16's.
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# What English text that is not UTF-8 mostly is. A pound sign or a curly quote alone tells it from no other code page.
USUAL = "cp1252"
# Bytes outside ASCII, and their share: with so few the guess by frequency is a lottery.
FEW, SMALL_SHARE, TINY_SHARE = 32, 0.1, 0.02


def decode(raw: bytes) -> tuple[str, str]:
    """Text and the name of its encoding: by its mark, UTF-8 if it is that, else by a guess.

    Raises:
        ValueError: no encoding fits; it is no text, most likely.
    """
    for mark, name in MARKS.items():
        if raw.startswith(mark):
            return raw.decode(name), name
    try:
        return raw.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        at = error.start
    high = len(raw) - len(raw.translate(None, bytes(range(128, 256))))
    if b"\0" not in raw and high < len(raw) * (SMALL_SHARE if high < FEW else TINY_SHARE):
        try:
            return raw.decode(USUAL), USUAL
        except UnicodeDecodeError:
            pass
    found = charset_normalizer.from_bytes(raw).best()
    if found is None:
        raise ValueError(f"neither UTF-8 (byte {at}) nor any encoding that could be recognised")
    return str(found), found.encoding
