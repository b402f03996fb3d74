"""Exports of unknown origin: only words come out, memory stays bounded, and the index stays whole."""

import hashlib
import json
import os
import re
import socket
import struct
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save

import hostile_exports
from diptych import Document, Image, MultimodalIndex
from diptych.errors import FormatError, InvalidArgument, StorageError
from diptych.index import archive as exporting
from diptych.maintenance import export_index, import_index, verify
from stubs import StubJoint, StubText, png

DIMS = {"text": 16, "image": 12, "cross_modal": 30}


def test_only_words_come_out_of_hostile_exports(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # nobody pulls the plug here
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Duplicate name")  # of the zipfile that writes them
        refused, taken = hostile_exports.check(tmp_path, hostile_exports.base(tmp_path), range(300))
    assert refused > 200
    assert taken > 5


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    hostile_exports.base(folder)
    with zipfile.ZipFile(folder / "base.diptych") as archive:
        return json.loads(archive.read("manifest.json"))


def document(number=0, **values):
    return {
        "id": f"d{number}", "text": "a", "picture": None, "picture_name": None, "metadata": {},
        "group": None, "order": 0, **values,
    }  # fmt: skip


def tensors(texts=(), pictures=(), dims=DIMS):
    """Vectors for the documents of some lines."""
    found = {}
    lines = {"text": texts, "image": pictures, "cross_modal": sorted({*texts, *pictures})}
    for name, dim in dims.items():
        found[f"{name}.rows"] = np.asarray(lines[name], np.int64)
        found[f"{name}.vectors"] = np.eye(1, dim, dtype=np.float32).repeat(len(lines[name]), axis=0)
    return save(found)


def write(file, manifest, documents, *, vectors=None, pictures=None, kind=8):
    lines = [d if isinstance(d, str) else json.dumps(d) for d in documents]
    texts = [i for i, d in enumerate(documents) if isinstance(d, str) or d["text"]]
    images = [i for i, d in enumerate(documents) if isinstance(d, dict) and d["picture"]]
    members = {
        "manifest.json": json.dumps({**manifest, "documents": len(lines)}),
        "documents-00000.jsonl": "".join(f"{line}\n" for line in lines),
        "vectors-00000.safetensors": vectors or tensors(texts, images),
        **(pictures or {}),
    }
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 2: Expecting"),
        ("", "line 2: Expecting value"),
        ("[]", "line 2: it is not an object"),
        (json.dumps(document(id="")), "line 2: the id is not a text"),
        (json.dumps(document(id=None)), "line 2: the id is not a text"),
        (json.dumps(document(order=1 << 63)), "line 2: the order is not an integer of 64 bits"),
        (json.dumps(document(order=1.0)), "line 2: the order is not"),
        (json.dumps(document(order=True)), "line 2: the order is not"),
        (json.dumps(document(metadata=None)), "line 2: .*expected a mapping"),
        (json.dumps(document(text="\ud800")), "line 2: .*half of a surrogate"),
        (json.dumps(document(group="\ud800")), "line 2: .*half of a surrogate"),
        (json.dumps(document(picture=7)), "line 2: 'pictures/7' is no picture"),
        (json.dumps(document(picture="0" * 64 + ".png")), "line 2: there is no entry 'pictures/000"),
        (json.dumps(document(text=None)), "line 2: .*has neither text"),
        ('{"id": "a", "id": "b"}', "line 2: a key occurs twice"),
        ('{"id": "a"}', "line 2: 'order' is missing"),
        (json.dumps(document()).replace("{}", "NaN"), "line 2: NaN is not a number of JSON"),
        (json.dumps(document()).replace("{}", "[" * 9999 + "]" * 9999), "line 2: it is nested 10,000 deep"),
        (json.dumps(document()).replace("{}", '{"a":' + "9" * 5000 + "}"), "line 2: Exceeds the limit"),
        (json.dumps(document()).replace("{}", '{"a":[' + "[]," * 600_000 + "1]}"), "line 2: it has 1,800,"),
        (json.dumps(document()).replace("{}", '{"a":[' + '"",' * 600_000 + "1]}"), "line 2: it has more"),
        (json.dumps(document(text="x" * (1 << 24))), "line 2 has more than 16,777,216 bytes"),
    ],
    ids=range(22),
)  # fmt: skip
def test_a_bad_document_is_named_by_its_entry_and_line(tmp_path, manifest, line, reason):
    write(tmp_path / "x", manifest, [document(9), line])
    with pytest.raises(
        FormatError, match=rf"documents-00000\.jsonl \(part 0\).*{reason}"
    ) as caught:
        import_index(tmp_path / "x", tmp_path / "copy")
    assert len(str(caught.value)) < 1000
    with MultimodalIndex(StubText(), StubJoint(), path=tmp_path / "copy") as index:
        assert len(index) == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": True}, "version is not a number"),
        ({"version": 10**4000}, "has version 1000"),
        ({"version": 0}, "version is not a number"),
        ({"documents": -1}, "not a count"),
        ({"documents": 5}, "counts 5 documents, and the parts have 1"),
        ({"lists": []}, "models cannot be read"),
        ({"lists": {"lexical": {"dim": 1, "space": "", "fingerprint": ""}}}, "no list 'lexical'"),
        ({"lists": {"text": {"dim": 1 << 20, "space": "", "fingerprint": ""}}}, "such a dimension"),
        ({"lists": {"text": {"dim": 1.5, "space": "", "fingerprint": ""}}}, "such a dimension"),
        ({"lists": {"text": {"dim": 1, "space": "\ud800", "fingerprint": ""}}}, "half of a surrogate"),
        ({"lists": {"text": {"dim": 1, "space": 3, "fingerprint": ""}}}, "expected a string"),
        ({"lists": {"text": {"dim": 1, "space": "", "fingerprint": "", "probe": "AAA"}}}, "models"),
        ({"lists": {"text": {"dim": 1, "space": "", "fingerprint": "", "probe": "AADAfw=="}}}, "probe"),
        ({"settings": []}, "settings are not an object"),
        ({"settings": {"a": 1}}, "expected a string"),
        ({"settings": {"a": "\udfff"}}, "half of a surrogate"),
        ({"settings": {"a\0": ""}}, "NUL"),
    ],
)  # fmt: skip
def test_a_bad_manifest_is_refused(tmp_path, manifest, change, reason):
    write(tmp_path / "x", manifest, [document()])
    hostile_exports_rewrite(tmp_path / "x", json.dumps({**manifest, "documents": 1, **change}))
    with pytest.raises(FormatError, match=reason):
        import_index(tmp_path / "x", tmp_path / "copy")


def hostile_exports_rewrite(file, manifest):
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (members | {"manifest.json": manifest}).items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"text.rows": {"dtype": "I64", "shape": [-1], "data_offsets": [0, 8]}}, "not made of counts"),
        ({"text.rows": {"dtype": "I64", "shape": [1 << 61], "data_offsets": [0, 0]}}, "not made of counts"),
        ({"text.rows": {"dtype": "I64", "shape": [1 << 40], "data_offsets": [0, 8]}}, "bytes that its shape"),
        ({"text.rows": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}, "not of type I64"),
        ({"text.rows": {"dtype": "I64", "shape": [], "data_offsets": [0, 8]}}, r"has the shape \[\]"),
        ({"text.rows": {"dtype": "I64", "shape": [1], "data_offsets": [4, 12]}}, "overlap"),
        ({"text.rows": [1]}, "not described as one"),
        ({"more": {"dtype": "I64", "shape": [0], "data_offsets": [0, 0]}}, "tensor 'more'"),
    ],
)  # fmt: skip
def test_a_header_of_vectors_that_lies_is_refused(tmp_path, manifest, change, reason):
    data = tensors([0])
    (length,) = struct.unpack_from("<Q", data)
    header = json.dumps({**json.loads(data[8 : 8 + length]), **change}).encode()
    changed = struct.pack("<Q", len(header)) + header + data[8 + length :]
    write(tmp_path / "x", manifest, [document()], vectors=changed)
    with pytest.raises(FormatError, match=rf"vectors-00000\.safetensors.*{reason}"):
        import_index(tmp_path / "x", tmp_path / "copy")


def test_a_document_without_its_vector_is_refused_unless_it_says_so(tmp_path, manifest):
    write(tmp_path / "x", manifest, [document(0), document(1)], vectors=tensors([0]))
    with pytest.raises(
        FormatError, match=r"vectors-00000\.safetensors.*line 2 has no vector for text"
    ):
        import_index(tmp_path / "x", tmp_path / "copy")
    lacks = document(1, lacks=["text", "cross_modal"])
    write(tmp_path / "y", manifest, [document(0), lacks], vectors=tensors([0]))
    assert import_index(tmp_path / "y", tmp_path / "copy").added == 2
    problems = verify(tmp_path / "copy", deep=True).problems
    assert {(p.where, p.part) for p in problems} == {("d1", "vectors")}
    export_index(tmp_path / "copy", tmp_path / "z")
    assert import_index(tmp_path / "z", tmp_path / "again").added == 2


def test_vectors_that_are_not_of_unit_length_are_refused(tmp_path, manifest):
    data = tensors([0]).replace(struct.pack("<f", 1), struct.pack("<f", 3))
    write(tmp_path / "x", manifest, [document()], vectors=data)
    with pytest.raises(FormatError, match="the vectors of text are not of unit length"):
        import_index(tmp_path / "x", tmp_path / "copy")


def test_what_is_not_a_regular_file_is_refused_without_waiting(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    os.mkdir("folder")
    os.symlink("base", "link")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for path, kind in {
            "pipe": "a named pipe", "folder": "a folder", "link": "a link", os.devnull: "a device",
            "socket": "a socket",
        }.items():  # fmt: skip
            with pytest.raises(FormatError, match=f"is {kind}; expected a regular file"):
                import_index(path, tmp_path / "copy")
    for path in ("a\0b", "x" * 5000):
        with pytest.raises(InvalidArgument, match="expected a path without NUL"):
            import_index(path, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_disk_that_fails_is_not_called_damage_of_the_file(tmp_path, manifest, monkeypatch):
    write(tmp_path / "x", manifest, [document()])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("diptych.index.zipped.SpooledTemporaryFile", full)
    with pytest.raises(StorageError, match="No space left") as caught:
        import_index(tmp_path / "x", tmp_path / "copy")
    assert not isinstance(caught.value, FormatError)
    monkeypatch.undo()
    monkeypatch.setattr("diptych.index.parts.parse", lambda _: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError, match="^$"):
        import_index(tmp_path / "x", tmp_path / "copy")


def test_a_part_with_a_gap_before_it_is_noticed(tmp_path, manifest):
    file = write(tmp_path / "x", manifest, [document()])
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("documents-00002.jsonl", "")
        archive.writestr("vectors-00002.safetensors", tensors())
    with pytest.raises(FormatError, match=r"documents-00001\.jsonl is missing"):
        import_index(file, tmp_path / "copy")


# -- memory ---------------------------------------------------------------------------------

MEASURE = """
import resource, sys
from diptych.errors import FormatError
from diptych.maintenance import import_index, verify
from diptych.index.zipped import Zipped
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for file in sys.argv[2:]:
    try:
        print(file.rpartition("/")[2], import_index(file, sys.argv[1]).added)
    except FormatError as error:
        print(file.rpartition("/")[2], "refused:", error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def picture(number, size):
    data = png((number, 0, 0)) + bytes(size)
    return f"{hashlib.sha256(data).hexdigest()}.png", data


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_no_export_takes_more_than_300_mb(tmp_path, manifest):
    pictures = dict(picture(number, 48_000_000) for number in range(4))
    nested = '{"a":[' + "[]," * 60_000 + "1]}"
    cases = {
        "bomb": [" " * 1000 + json.dumps(document(i)) for i in range(3)],
        "line": ["[" * (1 << 25)],
        "brackets": [json.dumps(document()).replace("{}", '{"a":[' + "[]," * 5_000_000 + "1]}")],
        "metadata": [json.dumps(document(i)).replace("{}", nested) for i in range(4)],
        "texts": [document(100 + i, text=f"{i}é\U0001f600" + "x" * (1 << 22)) for i in range(2)],
        "pictures": [document(200 + i, text=None, picture=name) for i, name in enumerate(pictures)],
    }
    for name, documents in cases.items():
        extra = {f"pictures/{p}": data for p, data in pictures.items() if name == "pictures"}
        write(tmp_path / name, manifest, documents, pictures=extra, kind=0 if extra else 8)
    with zipfile.ZipFile(tmp_path / "bomb", "a", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("documents-00001.jsonl", "w", force_zip64=True) as entry:
            for _ in range(350):
                entry.write(bytes(1 << 20))
        archive.writestr("vectors-00001.safetensors", tensors())
    assert (tmp_path / "bomb").stat().st_size < 1_000_000
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path / "copy", *(tmp_path / name for name in cases)],
        capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    *said, growth = done.stdout.splitlines()
    expected = [
        "bomb refused:.* unpack to", "line refused:", "brackets refused:", "metadata 4", "texts 2",
        "pictures 4",
    ]  # fmt: skip
    for line, pattern in zip(said, expected, strict=True):
        assert re.match(pattern, line), line
    assert int(growth) < 300, growth


def test_heavy_documents_of_one_part_are_stored_in_several_commits(tmp_path, manifest, monkeypatch):
    from diptych.storage import LocalStorage

    sizes = []
    written = LocalStorage.write
    monkeypatch.setattr(
        LocalStorage,
        "write",
        lambda self, rows, *a, **k: (sizes.append(len(rows)), written(self, rows, *a, **k)),
    )
    monkeypatch.setattr("diptych.index.parts._BATCH_MEMORY", 40_000)
    write(tmp_path / "x", manifest, [document(i, text="x" * 2000) for i in range(9)])
    assert import_index(tmp_path / "x", tmp_path / "copy").added == 9
    assert sum(sizes) == 9
    assert len(sizes) > 2
    assert verify(tmp_path / "copy", deep=True).problems == ()


# -- what is exported can be imported ---------------------------------------------------------


def index_at(path):
    return MultimodalIndex(StubText(), StubJoint(), path=path)


def test_extreme_but_legal_documents_survive_the_round_trip(tmp_path):
    documents = [
        Document("a", id="metadata", metadata={"a": ["x" * 100] * 2400, "b": "\x01" * 500}),
        Document("b", id="brackets", metadata={"a": [[]] * 60_000, "ä\u2028": "\\\"'\x00"}),
        Document("x" * 1_000_000 + '\U0001f600"\\\n\u0085', id="text", order=-(2**63)),
        Document("same", id="\n\u2028'\"", group="\\", order=2**63 - 1),
        Document(None, Image(png("red") + bytes(49_000_000), name="a\nb"), id="picture"),
    ]
    deep = value = {}
    for _ in range(31):
        value["a"] = {}
        value = value["a"]
    documents.append(Document("deep", id="deep", metadata=deep))
    with index_at(tmp_path / "index") as index:
        index.add(documents)
        expected = [(d.id, d.text, d.metadata, d.group, d.order) for d in index.get()]
    assert export_index(tmp_path / "index", tmp_path / "x").failed == ()
    assert import_index(tmp_path / "x", tmp_path / "copy").added == 6
    with index_at(tmp_path / "copy") as index:
        assert [(d.id, d.text, d.metadata, d.group, d.order) for d in index.get()] == expected
        assert index.get(["picture"])[0].image.read() == documents[4].image.read()
    assert verify(tmp_path / "copy", deep=True).problems == ()


def test_an_emptied_index_survives_the_round_trip(tmp_path):
    with index_at(tmp_path / "index") as index:
        index.add([Document("a", id="a")])
        index.delete(["a"])
    assert export_index(tmp_path / "index", tmp_path / "x").added == 0
    assert import_index(tmp_path / "x", tmp_path / "copy").added == 0
    with index_at(tmp_path / "copy") as index:
        assert len(index) == 0


def test_texts_that_repeat_themselves_do_not_look_like_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr("diptych.index.zipped.FREE_BYTES", 0)
    with index_at(tmp_path / "index") as index:
        index.add([Document("x" * 1_000_000, id=str(i)) for i in range(2)])
    export_index(tmp_path / "index", tmp_path / "x")
    assert import_index(tmp_path / "x", tmp_path / "copy").added == 2


def test_heavy_documents_are_exported_in_smaller_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_LINES_BYTES", 2000)
    with index_at(tmp_path / "index") as index:
        index.add([Document("x" * 900, id=str(i)) for i in range(5)])
    export_index(tmp_path / "index", tmp_path / "x")
    with zipfile.ZipFile(tmp_path / "x") as archive:
        lines = [
            archive.read(n).count(b"\n") for n in archive.namelist() if n.startswith("documents")
        ]
    assert lines == [1, 1, 1, 1, 1] or lines == [2, 2, 1]
    assert import_index(tmp_path / "x", tmp_path / "copy").added == 5


def test_what_cannot_be_imported_again_is_left_out_of_an_export_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "LINE_BYTES", 5000)
    with index_at(tmp_path / "index") as index:
        index.add(
            [
                Document("x" * 6000, id="long"),
                Document("short", id="short"),
                Document(None, Image(png("red")), id="lost"),
                Document("words", Image(png("blue")), id="half"),
            ]
        )
    for file in (tmp_path / "index" / "assets").rglob("*.png"):
        file.write_bytes(b"another")
    report = export_index(tmp_path / "index", tmp_path / "x")
    assert {f.id for f in report.failed} == {"long", "lost", "half"}
    assert "16" not in report.failed[0].reason
    assert import_index(tmp_path / "x", tmp_path / "copy").added == 2
    with index_at(tmp_path / "copy") as index:
        assert sorted(index.ids()) == ["half", "short"]
    assert verify(tmp_path / "copy", deep=True).problems == ()
