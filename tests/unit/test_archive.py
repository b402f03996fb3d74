import json
import zipfile

import numpy as np
import pytest
from safetensors.numpy import load, save

from diptych import Document, MultimodalIndex
from diptych.errors import EncoderMismatch, FormatError
from diptych.image import Image
from diptych.maintenance import export_index, import_index, verify
from stubs import StubJoint, StubText, png

DOCUMENTS = [
    Document(
        "a red pump", id="t1", metadata={"n": 1, "deep": {"x": [1, None]}}, group="g", order=2
    ),
    Document(
        "a blue wall\nof two lines\u2028or three", Image(png("blue"), name="wall.png"), id="b1"
    ),
    Document(None, Image(png("green")), id="i1"),
    Document("a red pump", Image(png("blue")), id="ü/2"),
]


def open_index(path, **arguments):
    return MultimodalIndex(StubText(**arguments), StubJoint(), path=path)


@pytest.fixture
def path(tmp_path):
    with open_index(tmp_path / "index") as index:
        index.add([*DOCUMENTS, Document("gone", id="gone")])
        index.delete(["gone"])
    return tmp_path / "index"


@pytest.fixture
def file(path, tmp_path):
    export_index(path, tmp_path / "index.diptych")
    return tmp_path / "index.diptych"


def everything(path):
    with open_index(path) as index:
        ids = index.ids()
        return {
            "documents": [
                (d.id, d.text, d.image.read() if d.image else None, d.metadata, d.group, d.order)
                for d in index.get()
            ],
            "names": [d.image.name if d.image else None for d in index.get()],
            "vectors": [
                np.nan_to_num(view.vectors(ids), nan=9).tolist()
                for view in (index.text_index, index.image_index, index.cross_modal_index)
            ],
            "lexical": [h.id for h in index.search("red pump wall", 9)["lexical"]],
        }


def test_export_and_import_give_the_same_index_without_encoding(path, file, tmp_path):
    report = import_index(file, tmp_path / "copy")
    assert report.added == 4
    assert everything(tmp_path / "copy") == everything(path)
    assert verify(tmp_path / "copy", deep=True).problems == ()
    assert import_index(file, tmp_path / "copy").skipped == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy", "index", "index.diptych"]


def test_many_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("diptych.index.archive.CHUNK", 3)
    with open_index(tmp_path / "index") as index:
        index.add([Document(f"text {i}", id=f"d{i}") for i in range(10)])
    export_index(tmp_path / "index", tmp_path / "f")
    assert import_index(tmp_path / "f", tmp_path / "copy").added == 10
    assert everything(tmp_path / "copy") == everything(tmp_path / "index")


def test_import_into_an_index_replaces_what_has_the_same_id(file, tmp_path):
    with open_index(tmp_path / "other") as index:
        index.add([Document("mine", id="mine"), Document("an old text", id="t1"), DOCUMENTS[2]])
    report = import_index(file, tmp_path / "other")
    assert (report.added, report.updated, report.skipped) == (2, 1, 1)
    with open_index(tmp_path / "other") as index:
        assert {d.id: d.text for d in index.get()}["t1"] == "a red pump"
        assert len(index) == 5
        hit = index.text_index.search(StubText().encode_query(["a red pump"]), 1)[0][0]
        assert hit.score == pytest.approx(1)
    assert verify(tmp_path / "other", deep=True).problems == ()


def test_other_models_are_refused(file, tmp_path):
    with open_index(tmp_path / "other", dim=20) as index:
        index.add([Document("mine", id="mine")])
    with pytest.raises(EncoderMismatch, match=r"'stub-text' \(16-d\).*'stub-text' \(20-d\)"):
        import_index(file, tmp_path / "other")


def test_nothing_is_replaced_by_an_export(path, file):
    with pytest.raises(FormatError, match="already"):
        export_index(path, file)


def rewrite(file, name, change):
    """Put another content in the place of one member."""
    with zipfile.ZipFile(file) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    members[name] = change(members.get(name, b""))
    with zipfile.ZipFile(file, "w") as archive:
        for n, data in members.items():
            archive.writestr(n, data)


def tensors(change):
    def apply(data):
        found = load(data)
        change(found)
        return save({name: np.ascontiguousarray(t) for name, t in found.items()})

    return apply


def line(change):
    def apply(data):
        lines = [json.loads(x) for x in data.decode().split("\n") if x]
        change(lines)
        return "".join(json.dumps(x) + "\n" for x in lines).encode()

    return apply


def put(name, value):
    return lambda found: found.__setitem__(name, value)


@pytest.mark.parametrize(
    ("member", "change", "message"),
    [
        ("../evil", lambda _: b"x", r"holds '\.\./evil'"),
        ("/etc/passwd", lambda _: b"x", "holds '/etc/passwd'"),
        ("manifest.json", lambda _: b"{", "manifest cannot be read"),
        ("manifest.json", lambda _: b'{"format": "x", "version": 1}', "something else"),
        ("manifest.json", lambda d: d.replace(b'"version": 1', b'"version": 2'), "has version 2"),
        ("manifest.json", lambda d: d.replace(b'"dim": 16', b'"dim": -1'), "models cannot be read"),
        ("manifest.json", lambda d: d.replace(b'"dim": 16', b'"dim": 15'), "models cannot be read"),
        ("documents-00000.jsonl", lambda _: b"\xff", "part 0"),
        ("documents-00000.jsonl", line(lambda x: x.append(x[0])), "share an id"),
        ("documents-00000.jsonl", line(lambda x: x[0].update(id=7)), "part 0"),
        ("documents-00000.jsonl", line(lambda x: x[0].update(metadata={"a": {1: 2}}, text=" ")), "part 0"),
        ("documents-00000.jsonl", line(lambda x: x[1].update(picture="../../etc/passwd")), "no picture"),
        ("documents-00000.jsonl", line(lambda x: x[1].update(picture="0" * 64 + ".png")), "part 0"),
        ("vectors-00000.safetensors", lambda d: d[:50], "part 0"),
        ("vectors-00000.safetensors", tensors(lambda t: t.pop("text.rows")), "part 0"),
        ("vectors-00000.safetensors", tensors(put("text.rows", np.asarray([0, 1, 99]))), "not those of"),
        ("vectors-00000.safetensors", tensors(put("text.rows", np.asarray([3, 1, 0]))), "ascending"),
        ("vectors-00000.safetensors", tensors(put("text.rows", np.asarray([0, 1, 2]))), "no vector for text"),
        (
            "vectors-00000.safetensors",
            tensors(put("text.vectors", np.full((3, 16), np.nan, np.float32))),
            "NaN",
        ),
        ("vectors-00000.safetensors", tensors(put("text.vectors", np.ones((3, 4), np.float32))), "shape"),
    ],
)  # fmt: skip
def test_hostile_exports_are_refused_and_leave_no_document(file, tmp_path, member, change, message):
    rewrite(file, member, change)
    with pytest.raises(FormatError, match=message):
        import_index(file, tmp_path / "copy")
    with open_index(tmp_path / "copy") as index:
        assert len(index) == 0


def test_picture_that_is_not_what_its_name_says_is_refused(file, tmp_path):
    with zipfile.ZipFile(file) as archive:
        name = next(n for n in archive.namelist() if n.startswith("pictures/"))
    rewrite(file, name, lambda _: png("white"))
    with pytest.raises(FormatError, match="has changed"):
        import_index(file, tmp_path / "copy")


def test_what_is_no_export_is_said_to_be_none(tmp_path):
    (tmp_path / "x").write_bytes(b"no zip at all")
    with pytest.raises(FormatError, match="is no export"):
        import_index(tmp_path / "x", tmp_path / "copy")
    with pytest.raises(FormatError, match="There is no file"):
        import_index(tmp_path / "y", tmp_path / "copy")
