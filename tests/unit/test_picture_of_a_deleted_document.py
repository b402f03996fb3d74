"""A result that outlives its document says so when its picture is asked for, and speaks of no damage."""

import copy
import os
import pickle
import shutil

import pytest

from diptych import Document, MultimodalIndex, MultimodalRetriever
from diptych.errors import MediaError
from diptych.image import Image
from diptych.storage import writer
from stubs import StubJoint, StubText, png

GONE = "has been deleted or replaced since it was found"


def open_index(path):
    return MultimodalIndex(StubText(), StubJoint(), path=path)


@pytest.fixture
def path(tmp_path):
    with open_index(tmp_path / "index") as index:
        index.add([Document("blue", Image(png("blue")), id="b"), Document("red", id="r")])
    return tmp_path / "index"


def picture_of(index):
    (found,) = MultimodalRetriever.from_index(index).retrieve("blue", 1)
    (image,) = found.images
    return image


def check(image):
    with pytest.raises(MediaError, match=GONE) as caught:
        image.read()
    assert "--repair" not in str(caught.value)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("act", ["delete", "replace", "replace picture"])
def test_reader_that_holds_a_result_is_told_that_its_document_is_gone(path, act):
    with open_index(path) as reader, open_index(path) as changer:
        image = picture_of(reader)
        if act == "delete":
            changer.delete(["b"])
        elif act == "replace":
            changer.upsert([Document("blue", id="b")])
        else:
            changer.upsert([Document("blue", Image(png("green")), id="b")])
        assert image.sha256  # known without the file
        changer.compact()
        check(image)
        check(copy.deepcopy(image))
        check(pickle.loads(pickle.dumps(image)))
    check(image)


def test_garbage_that_is_removed_after_a_minute_is_told_from_damage(path, monkeypatch):
    monkeypatch.setattr(writer, "GARBAGE_SECONDS", 0.0)
    with open_index(path) as reader, open_index(path) as changer:
        image = picture_of(reader)
        changer.delete(["b"])
        changer.add([Document("more", id="m")])
        check(image)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_another_process_that_removes_it_is_noticed_too(path):
    with open_index(path) as reader:
        image = picture_of(reader)
        child = os.fork()
        if not child:
            code = 1
            try:
                with open_index(path) as changer:
                    changer.delete(["b"])
                    changer.compact()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        check(image)


def test_result_of_an_index_that_was_removed_says_so(path):
    with open_index(path) as reader:
        image = picture_of(reader)
    shutil.rmtree(path)
    check(image)


def test_copy_that_a_document_still_refers_to_is_lost_by_damage(path):
    with open_index(path) as reader:
        image = picture_of(reader)
        image.path.unlink()
        with pytest.raises(MediaError, match=r"could not be opened.*diptych verify .* --repair"):
            image.read()
