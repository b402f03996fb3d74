"""Documents with pictures through LangChain's own ways, which copy nothing but text and metadata."""

import base64
import json

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, aindex, index
from langchain_core.load import dumps, loads
from manual import BLUE, RED

from diptych import Image, ToyEncoder
from diptych.langchain import DiptychLoader, DiptychRetriever, DiptychVectorStore, image_document
from stubs import png


@pytest.fixture
def store():
    return DiptychVectorStore(ToyEncoder(), image_encoder=ToyEncoder())


@pytest.fixture
def records():
    manager = InMemoryRecordManager(namespace="test")
    manager.create_schema()
    return manager


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "manual"
    root.mkdir()
    (root / "pump.png").write_bytes(RED)
    (root / "valve.png").write_bytes(BLUE)
    inline = base64.b64encode(png("lime")).decode()
    (root / "page.md").write_text(
        "# Valve\n\nThe valve closes the pipe.\n\n![the valve](valve.png)\n\n"
        f"# Hose\n\nThe hose.\n\n![the hose](data:image/png;base64,{inline})\n"
    )
    return root


def stored_pictures(store):
    return {d.image.read() for d in store.index.get() if d.image is not None}


class TestImageDocument:
    def test_metadata_names_the_picture(self, tmp_path):
        (tmp_path / "a.png").write_bytes(RED)
        document = image_document(tmp_path / "a.png", "the pump", {"page": 3}, id="a")
        assert (document.id, document.page_content) == ("a", "the pump")
        assert document.metadata == {
            "image_path": str(tmp_path / "a.png"),
            "image_mime_type": "image/png",
            "image_sha256": Image(RED).sha256,
            "image_name": str(tmp_path / "a.png"),
            "image_width": 32,
            "image_height": 24,
            "page": 3,
        }
        json.dumps(document.metadata)

    def test_it_is_added_with_its_picture(self, store, tmp_path):
        (tmp_path / "a.png").write_bytes(RED)
        store.add_documents([image_document(tmp_path / "a.png", id="a"), image_document(BLUE)])
        assert stored_pictures(store) == {RED, BLUE}

    @pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
    def test_a_copy_of_text_and_metadata_finds_it_by_path_and_hash(self, store, tmp_path):
        (tmp_path / "a.png").write_bytes(RED)
        document = image_document(tmp_path / "a.png", "the pump", id="a")
        copy = loads(dumps(document), allowed_objects=[Document])
        assert type(copy) is Document
        store.add_documents([copy])
        assert stored_pictures(store) == {RED}
        assert store.get_by_ids(["a"]) == [document]

    def test_a_file_of_which_the_hash_is_not_known_is_not_read(self, store, tmp_path):
        (tmp_path / "secret.png").write_bytes(RED)
        store.add_documents([Document("x", metadata={"image_path": str(tmp_path / "secret.png")})])
        assert stored_pictures(store) == set()

    def test_a_picture_that_changed_or_is_gone_is_said_and_the_others_are_stored(
        self, store, tmp_path
    ):
        for name in ("a", "b", "c"):
            (tmp_path / f"{name}.png").write_bytes(RED)
        documents = [
            Document(**image_document(tmp_path / f"{name}.png", name, id=name).model_dump())
            for name in ("a", "b", "c")
        ]
        (tmp_path / "a.png").write_bytes(BLUE)
        (tmp_path / "b.png").unlink()
        assert store.add_documents(documents) == ["a", "b", "c"]
        (changed, gone) = store.failed
        assert (changed.id, gone.id) == ("a", "b")
        assert "has changed" in changed.reason
        assert store.index.ids() == ["c"]


class TestLoader:
    def test_documents_pictures_and_groups(self, store, folder):
        loader = DiptychLoader(folder)
        store.add_documents(loader.load())
        assert stored_pictures(store) == {RED, BLUE, png("lime")}
        assert all("_diptych" not in d.metadata for d in store.similarity_search("valve", k=9))
        (found,) = DiptychRetriever(index=store.index, k=1).invoke("closes the pipe")
        assert [image["sha256"] for image in found.metadata["images"]] == [Image(BLUE).sha256]

    async def test_index_stores_pictures_and_sees_what_changed(self, store, records, folder):
        async def run(asynchronous):
            arguments = (DiptychLoader(folder), records, store)
            options = {"cleanup": "full", "source_id_key": "source", "key_encoder": "sha256"}
            if asynchronous:
                return await aindex(*arguments, **options)
            return index(*arguments, **options)

        first = await run(False)
        assert first["num_added"] == len(store.index) == 5
        assert stored_pictures(store) == {RED, BLUE, png("lime")}
        for asynchronous in (False, True):
            assert (await run(asynchronous))["num_skipped"] == 5
        (folder / "pump.png").write_bytes(png("navy"))  # behind an unchanged path
        assert await run(True) == {
            "num_added": 1, "num_updated": 0, "num_skipped": 4, "num_deleted": 1,
        }  # fmt: skip
        assert stored_pictures(store) == {png("navy"), BLUE, png("lime")}
        (found,) = DiptychRetriever(index=store.index, k=1).invoke("closes the pipe")
        assert [image["sha256"] for image in found.metadata["images"]] == [Image(BLUE).sha256]

    def test_pictures_inside_a_page_get_a_path(self, folder, tmp_path):
        loader = DiptychLoader(folder / "page.md", pictures=tmp_path / "inline")
        DiptychLoader(folder).load()
        assert [p.name for p in (tmp_path / "cache" / "diptych" / "pictures").iterdir()] == [
            f"{Image(png('lime')).sha256}.png"
        ]
        paths = {d.metadata.get("image_path") for d in loader.lazy_load()} - {None}
        (written,) = (tmp_path / "inline").iterdir()
        assert paths == {str(folder / "valve.png"), str(written)}
        assert written.read_bytes() == png("lime")

    def test_what_cannot_be_read_is_said_and_the_rest_goes_on(self, folder, caplog):
        (folder / "bad.png").write_bytes(b"no picture")
        loader = DiptychLoader(folder, prefix="m/")
        assert len(loader.load()) == 5
        assert [failure.source for failure in loader.failed] == ["m/bad.png"]
        assert "bad.png" in caplog.text
