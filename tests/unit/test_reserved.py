"""Reserved data is apart from metadata, in documents, in the store, in filters and in exports."""

import json
import zipfile

import pytest

from diptych import Document, FusedDocument, MultimodalIndex, ToyEncoder, read
from diptych.cli.show import result_json
from diptych.errors import DocumentError, FilterError
from diptych.index import in_stored_groups
from diptych.maintenance import copy_index, export_index, import_index, reembed, verify
from diptych.reserved import MAX_RESERVED_BYTES, Place, place_of, separated, without_reserved
from stubs import png

RECORD = {"ref_doc_id": "manual", "node": '{"a": 1}'}


def toy(path=None):
    return MultimodalIndex(ToyEncoder(), ToyEncoder(), path=path)


class TestDocument:
    @pytest.mark.parametrize(
        "key", ["_diptych", "_diptych.", "_diptych.ref_doc_id", "_diptych.a.b"]
    )
    def test_metadata_with_a_reserved_key_is_refused(self, key):
        with pytest.raises(DocumentError, match=r"reserved for the adapters.*Give it another name"):
            Document("a", metadata={"x": 1, key: {}})

    @pytest.mark.parametrize("key", ["diptych", "_diptych_", "_Diptych", " _diptych", "a._diptych"])
    def test_other_keys_are_kept(self, key):
        document = Document("a", metadata={key: 1, "deep": {"_diptych": 2}})
        assert document.metadata == {key: 1, "deep": {"_diptych": 2}}

    def test_a_long_key_is_shortened_in_the_message(self):
        with pytest.raises(DocumentError) as caught:
            Document("a", id="i" * 10_000, metadata={"_diptych." + "x" * 100_000: 1})
        assert len(str(caught.value)) < 1_000

    def test_reserved_data_is_a_copy_that_is_not_shown(self):
        given = {"node": "the secret", "list": [1]}
        document = Document("a", id="a", reserved=given)
        given["list"].append(2)
        assert document.reserved == {"node": "the secret", "list": [1]}
        fused = FusedDocument((document,), 0.5, (), "a")
        for shown in (repr(document), repr(fused), fused._repr_html_(), str(fused.metadata)):
            assert "secret" not in shown

    @pytest.mark.parametrize(
        ("reserved", "why"),
        [
            ([1], "reserved data of type list"),
            ({1: 2}, "keys must be strings"),
            ({"a": {1}}, "is of type set"),
            ({"a": "x" * MAX_RESERVED_BYTES}, "bytes of reserved data"),
        ],
    )
    def test_reserved_data_is_json_of_a_limited_size(self, reserved, why):
        with pytest.raises(DocumentError, match=why):
            Document("a", reserved=reserved)

    def test_it_may_be_larger_than_metadata(self):
        large = {"node": "x" * 600_000}
        index = toy()
        index.add([Document("a", id="a", reserved=large)])
        assert index.get()[0].reserved == large


class TestStore:
    def test_it_comes_back_apart_from_metadata(self, tmp_path):
        given = Document("a pump", id="a", metadata={"n": 1}, reserved=RECORD)
        with toy(tmp_path / "i") as index:
            index.add([given])
            assert index.get() == [given]
            (found,) = index.search("pump", 1)["lexical"]
            assert found.id == "a"
            assert index.search("manual ref_doc_id node", 1).get("lexical", []) == []
        with toy(tmp_path / "i") as index:
            assert index.get() == [given]
        assert verify(tmp_path / "i", deep=True).is_whole

    def test_a_change_is_stored_and_the_same_is_skipped(self):
        index = toy()
        index.add([Document("a", id="a", reserved=RECORD)])
        assert index.upsert([Document("a", id="a", reserved=RECORD)]).skipped == 1
        assert index.upsert([Document("a", id="a", reserved={"x": 1})]).updated == 1
        assert index.get()[0].reserved == {"x": 1}
        assert index.upsert([Document("a", id="a")]).updated == 1
        assert index.get()[0].reserved == {}

    def test_a_document_that_gets_its_group_again_keeps_it(self):
        index = toy()
        index.add([Document("a", id="a", group="g", order=2)])
        (document,) = in_stored_groups(index, [Document("b", id="a", reserved=RECORD)])
        assert (document.group, document.order, document.reserved) == ("g", 2, RECORD)

    def test_new_vectors_copies_and_exports_keep_it(self, tmp_path):
        given = Document("a pump", id="a", metadata={"n": 1}, reserved=RECORD)
        with toy(tmp_path / "i") as index:
            index.add([given])
            copy_index(index, tmp_path / "copy")
        reembed(tmp_path / "i", ToyEncoder(), ToyEncoder())
        export_index(tmp_path / "i", tmp_path / "e")
        import_index(tmp_path / "e", tmp_path / "imported")
        for folder in ("i", "copy", "imported"):
            with toy(tmp_path / folder) as index:
                assert index.get() == [given]
                assert index.ids({"_diptych.ref_doc_id": "manual"}) == ["a"]

    def test_an_export_of_somebody_else_is_read(self, tmp_path):
        written = [
            ({"_diptych": {"node": "{}"}}, {"node": "{}"}),
            ({"_diptych": [1]}, {}),
            ({"_diptych": None}, {}),
            ({"_diptych": "x"}, {}),
            ({"_diptych": {"a": "x" * 2_000_000}}, {}),
            ({"_diptych.node": 5, "_diptych.ref_doc_id": "manual"}, {}),
        ]
        with toy(tmp_path / "i") as index:
            index.add([Document("a pump", id=str(at)) for at in range(len(written))])
        export_index(tmp_path / "i", tmp_path / "e")
        with zipfile.ZipFile(tmp_path / "e") as old, zipfile.ZipFile(tmp_path / "f", "w") as new:
            for name in old.namelist():
                data = old.read(name)
                if name.endswith(".jsonl"):
                    lines = [json.loads(line) for line in data.splitlines()]
                    for line, (metadata, _) in zip(lines, written, strict=True):
                        line["metadata"] = {"n": 1, **metadata}
                    data = "\n".join(map(json.dumps, lines)).encode()
                new.writestr(name, data)
        assert import_index(tmp_path / "f", tmp_path / "new").added == len(written)
        with toy(tmp_path / "new") as index:
            found = [(document.metadata, document.reserved) for document in index.get()]
            assert found == [({"n": 1}, reserved) for _, reserved in written]
            assert index.ids({"_diptych.ref_doc_id": "manual"}) == []

    def test_a_bomb_of_reserved_data_is_as_good_as_none(self):
        bomb: dict = {}
        for _ in range(500):
            bomb = {"a": bomb}
        assert separated({"n": 1, "_diptych": bomb}) == ({"n": 1}, {})
        assert separated({"_diptych": {"n": 10**5000}}) == ({}, {})
        assert separated([1]) == ([1], {})

    def test_the_command_line_does_not_show_it(self):
        document = Document("a pump", id="a", metadata={"n": 1}, reserved={"node": "the secret"})
        fused = FusedDocument((document,), 0.5, (), "a")
        assert "secret" not in str(result_json(fused))


class TestFilters:
    @pytest.mark.parametrize("name", ["_diptych", "_diptych.node", "_diptych.", "_diptych.x.y"])
    @pytest.mark.parametrize(
        "around", [lambda term: term, lambda t: {"$not": t}, lambda t: {"$or": [{"a": 1}, t]}]
    )
    def test_reserved_names_are_refused(self, name, around):
        index = toy()
        index.add([Document("a", id="a", reserved=RECORD)])
        with pytest.raises(FilterError, match="reserved for the adapters"):
            index.ids(around({name: {"$exists": True}}))

    def test_the_source_document_can_be_asked_for(self):
        index = toy()
        index.add([Document("a", id="a", reserved=RECORD), Document("b", id="b")])
        assert index.ids({"_diptych.ref_doc_id": "manual"}) == ["a"]
        assert index.ids({"_diptych.ref_doc_id": {"$in": ["x"]}}) == []


class TestReading:
    def test_files_that_bring_it_fail_one_by_one(self, tmp_path):
        lines = [
            {"id": "top", "text": "x", "_diptych": {"node": "{}"}},
            {"id": "inside", "text": "x", "metadata": {"_diptych": {"node": "{}"}}},
            {"id": "dotted", "text": "x", "_diptych.ref_doc_id": "manual"},
            {"id": "reserved", "text": "x", "reserved": {"node": "{}"}},
            {"id": "good", "text": "x"},
        ]
        (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
        for name in ("bad", "fine"):
            (tmp_path / f"{name}.png").write_bytes(png("red" if name == "bad" else "blue"))
        captions = [
            {"file": "bad.png", "caption": "x", "_diptych": {"image_path": "/etc/passwd"}},
            {"file": "fine.png", "caption": "y"},
        ]
        (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, captions)))
        (tmp_path / "page.md").write_text('---\n_diptych: {"node": "{}"}\n---\n\n# Page\n\nWords.')
        reading = read(tmp_path)
        documents = list(reading)
        assert {d.id for d in documents} == {"reserved", "good", "fine.png", "page.md#1"}
        assert [f.id for f in reading.failed] == ["top", "inside", "dotted", "bad.png"]
        assert all("reserved for the adapters" in f.reason for f in reading.failed)
        assert all(d.reserved == {} for d in documents)


class TestPlace:
    @pytest.mark.parametrize(
        ("said", "place"),
        [
            ({"group": "g", "order": 3, "source_hash": "abc"}, Place("g", 3, "abc")),
            ({"group": "g", "node": "{}"}, Place("g")),
            ({"group": "", "order": -(2**63)}, Place(None, -(2**63))),
            ({"group": 5, "order": 2**63, "source_hash": 5}, Place()),
            ({"group": "g\0", "order": "3", "source_hash": "\ud800"}, Place()),
            ({"group": "g" * 10_000, "order": True, "source_hash": "x" * 201}, Place()),
            ({"order": None}, Place()),
            ([], Place()),
            (None, Place()),
        ],
    )
    def test_three_values_are_taken_when_they_can_be_one(self, said, place):
        assert place_of({"a": 1, "_diptych": said}) == place

    def test_metadata_without_what_is_reserved(self):
        metadata = {"a": 1, "_diptych": {"group": "g"}, "_diptych.x": 2}
        assert without_reserved(metadata) == {"a": 1}
        assert len(metadata) == 3
