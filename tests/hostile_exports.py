"""Exports of an index that somebody has damaged or made hostile, each from a number.

The everyday tests take a few hundred; for more::

    python tests/hostile_exports.py --count 20000
"""

import argparse
import io
import json
import random
import struct
import sys
import tempfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from diptych.errors import EncoderMismatch, FormatError
from diptych.maintenance import export_index, import_index, verify
from stubs import StubJoint, StubText, png

DEEP = "[" * 10_000 + "]" * 10_000
RAW = [  # JSON, or what looks like it, as it stands in a file
    "1" + "0" * 5000, "1" + "0" * 4000, "-1", "0", "1e999", "NaN", "-Infinity", DEEP, "null", "true",
    '"\\ud800"', '"\\u0000"', '""', '"x"', "[]", "{}", '{"a": 1, "a": 2}', "9223372036854775808",
    "4294967297", "1.5", '"' + "x" * 70_000 + '"', '["text"]', '{"text": {}}', '"../../etc/passwd"',
    '{"_diptych": {"type": "x"}}', "[" + "[]," * 3000 + "[]]", '"\\', "", "\x00", '"\x00"', "1_0",
    '{"dim": -1, "space": "s", "fingerprint": "f"}', "-9223372036854775809", '"AAAA"', "\\",
]  # fmt: skip
NAMES = [
    "../x", "/etc/passwd", "a\\b", "x" * 65_535, "manifest.json\0", "pictures/", "documents-00009.jsonl",
    "documents-99999999999999999999.jsonl", "pictures/" + "0" * 64 + ".png", "manifest.json", "ü", "",
    "documents-00000.jsonl", "C:\\x", "vectors-00000.safetensors", "documents-٠٠٠٠٠.jsonl",
]  # fmt: skip
NUMBERS = [0, 1, 2, 7, 8, 12, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF]


def base(folder):
    """Return the bytes of an export in two parts, with texts, pictures and metadata."""
    from diptych import Document, Image, MultimodalIndex
    from diptych.index import archive

    documents = [
        Document(f"text {i}", None if i % 2 else Image(png((i, 90, 90)), name=f"{i}.png"), id=f"d{i}",
                 metadata={"n": i, "deep": {"x": [1, None, "ü"]}}, group="g", order=i)
        for i in range(5)
    ]  # fmt: skip
    with MultimodalIndex(StubText(), StubJoint(), path=folder / "base") as index:
        index.add([*documents, Document(None, Image(png("red")), id="picture")])
    kept, archive.CHUNK = archive.CHUNK, 4
    try:
        export_index(folder / "base", folder / "base.diptych")
    finally:
        archive.CHUNK = kept
    return (folder / "base.diptych").read_bytes()


def hostile(data, number):
    """Return ``(what was done, the bytes of a file)`` for one number."""
    chance = random.Random(number)
    change = CHANGES[number % len(CHANGES)]
    return change(data, chance)


def _members(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zip(members, kind=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=kind)
    return file.getvalue()


def flip_bits(data, chance):
    changed = bytearray(data)
    for _ in range(chance.randint(1, 12)):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return "bits flipped", bytes(changed)


def flip_bits_inside(data, chance):
    members = _members(data)
    name = chance.choice(list(members))
    return f"bits flipped in {name}", _zip(members | {name: flip_bits(members[name], chance)[1]})


def cut(data, chance):
    at = chance.randrange(len(data))
    more = chance.choice([b"", bytes(30), data[:at], data[at // 2 :]])
    return f"cut at {at}, {len(more)} added", data[:at] + more


def cut_inside(data, chance):
    members = _members(data)
    name = chance.choice(list(members))
    at = chance.randrange(len(members[name]) + 1)
    return f"{name} cut at {at}", _zip(members | {name: members[name][:at]})


def swap(data, chance):
    members = _members(data)
    one, other = chance.sample(list(members), 2)
    members[one], members[other] = members[other], members[one]
    return f"{one} and {other} swapped", _zip(members, chance.choice([0, 8]))


def drop(data, chance):
    members = _members(data)
    name = chance.choice(list(members))
    del members[name]
    return f"without {name}", _zip(members)


def other_method(data, chance):
    kind = chance.choice([zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
    return f"packed by method {kind}", _zip(_members(data), kind)


def add_name(data, chance):
    members = _members(data)
    name = chance.choice(NAMES)
    if chance.random() < 0.5 and name not in members:
        return f"{name[:40]!r} added", _zip({**members, name: b"x"})
    old = chance.choice(list(members))
    raw = name.encode()[: len(old)].ljust(len(old), b"x")
    return f"{old} called {raw[:40]!r}", data.replace(old.encode(), raw)


def hostile_value(data, chance):
    """Put a hostile value in the place of one value of the manifest, a document or a header."""
    members = _members(data)
    name = chance.choice([n for n in members if not n.startswith("pictures/")] + ["manifest.json"])
    content = members[name]
    if name.startswith("vectors"):
        (length,) = struct.unpack_from("<Q", content)
        made = _replaced(content[8 : 8 + length].decode(), chance).encode("utf-8", "surrogatepass")
        said = chance.choice([len(made), len(made), len(made), 2**63, 0, len(content)])
        changed = struct.pack("<Q", said) + made + content[8 + length :]
    elif name.startswith("documents"):
        lines = content.decode().split("\n")[:-1]
        at = chance.randrange(len(lines))
        lines[at] = _replaced(lines[at], chance)
        changed = "".join(f"{line}\n" for line in lines).encode()
    else:
        changed = _replaced(content.decode(), chance).encode()
    return f"a value of {name} changed", _zip(members | {name: changed}, chance.choice([0, 8]))


def _replaced(text, chance):
    value = json.loads(text)
    places = list(_places(value))
    place = chance.choice(places)
    marker = "a value that is replaced"
    if not place:
        return chance.choice(RAW)
    inner = value
    for key in place[:-1]:
        inner = inner[key]
    if chance.random() < 0.15:
        del inner[place[-1]]
        return json.dumps(value)
    inner[place[-1]] = marker
    return json.dumps(value).replace(json.dumps(marker), chance.choice(RAW))


def _places(value, place=()):
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value)
    if isinstance(value, dict | list):
        for key, inner in items:
            yield from (
                _places(inner, (*place, key)) if isinstance(inner, dict | list) else [(*place, key)]
            )


def lie_in_directory(data, chance):
    """Change a field of an entry in the directory, in its local header, or of the end record."""
    changed = bytearray(data)
    mark, fields = chance.choice(
        [
            (b"PK\1\2", [(4, "H"), (6, "H"), (8, "H"), (10, "H"), (16, "I"), (20, "I"), (24, "I"),
                         (28, "H"), (30, "H"), (32, "H"), (34, "H"), (38, "I"), (42, "I")]),
            (b"PK\3\4", [(6, "H"), (8, "H"), (14, "I"), (18, "I"), (22, "I"), (26, "H"), (28, "H")]),
            (b"PK\5\6", [(4, "H"), (6, "H"), (8, "H"), (10, "H"), (12, "I"), (16, "I"), (20, "H")]),
        ]
    )  # fmt: skip
    places = [at for at in range(len(data) - 4) if data[at : at + 4] == mark]
    at = chance.choice(places)
    for _ in range(chance.randint(1, 2)):
        offset, form = chance.choice(fields)
        value = chance.choice(NUMBERS) & (0xFFFF if form == "H" else 0xFFFFFFFF)
        if chance.random() < 0.3:
            value = struct.unpack_from(f"<{form}", data, at + offset)[0] ^ 1 << chance.randrange(16)
        struct.pack_into(f"<{form}", changed, at + offset, value)
    return f"a field of {mark!r} changed", bytes(changed)


def numbers_of_vectors(data, chance):
    members = _members(data)
    name = chance.choice([n for n in members if n.startswith("vectors")])
    changed = bytearray(members[name])
    (length,) = struct.unpack_from("<Q", changed)
    for _ in range(chance.randint(1, 4)):
        at = 8 + length + 4 * chance.randrange((len(changed) - 8 - length) // 4)
        changed[at : at + 4] = chance.choice(
            [b"\xff" * 4, b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f", b"\1\0\0\0"]
        )
    return f"numbers of {name} changed", _zip(members | {name: bytes(changed)})


CHANGES = [
    flip_bits, flip_bits_inside, cut, cut_inside, swap, drop, other_method, add_name, hostile_value,
    hostile_value, hostile_value, lie_in_directory, lie_in_directory, numbers_of_vectors,
]  # fmt: skip


def check(folder, data, numbers, *, every=50):
    """Import hostile files into one index, and return how many were refused and how many not.

    Only a ``FormatError`` may come out, or an ``EncoderMismatch`` of a manifest that names other
    models; after every ``every`` files the index must be whole.
    """
    refused = taken = 0
    target = folder / "target"
    for count, number in enumerate(numbers, 1):
        what, changed = hostile(data, number)
        (folder / "hostile").write_bytes(changed)
        said = ""
        try:
            import_index(folder / "hostile", target)
            taken += 1
        except (FormatError, EncoderMismatch) as error:
            refused += 1
            said = str(error)
        except Exception as error:
            raise AssertionError(f"case {number}: {what}: {type(error).__name__}") from error
        assert len(said) < 2000, (number, what, len(said))
        if count % every == 0 and target.exists():
            assert verify(target, deep=True).problems == (), (number, what)
    assert verify(target, deep=True).problems == ()
    return refused, taken


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        numbers = range(arguments.first, arguments.first + arguments.count)
        refused, taken = check(folder, base(folder), numbers)
        print(f"{refused:,} hostile exports refused, {taken:,} harmless ones imported")


if __name__ == "__main__":
    main()
