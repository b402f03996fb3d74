"""Two calls of one process that give an index other vectors, and what writes to it meanwhile."""

import threading

import pytest

from diptych import Document, MultimodalIndex
from diptych.errors import LockedError
from diptych.index import reembed as reembedding
from diptych.maintenance import reembed, verify
from stubs import StubText

DOCUMENTS = [Document(f"text {at}", id=f"d{at}") for at in range(6)]


@pytest.fixture
def path(tmp_path):
    with MultimodalIndex(StubText(dim=8), path=tmp_path / "index") as index:
        index.add(DOCUMENTS)
    return tmp_path / "index"


@pytest.fixture
def between(monkeypatch):
    """Call functions, each once, after the first batch of a reembedding, when nobody has the turn."""
    calls = []

    class Bar:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, _):
            while calls:
                calls.pop()()

    monkeypatch.setattr(reembedding, "_progress", lambda *_, **__: Bar())
    return calls


@pytest.mark.parametrize("other", [StubText(dim=5, space="new"), StubText(dim=4, space="other")])
def test_second_call_is_refused_until_the_first_one_is_done(path, between, other):
    refused = []

    def second():
        with pytest.raises(LockedError, match="being made anew by another call") as raised:
            reembed(path, other, lock_timeout=0)
        refused.append(raised.value)

    between.append(second)
    new = StubText(dim=5, space="new")
    report = reembed(path, new, batch_size=1)

    assert (len(refused), report.documents, report.failed) == (1, 6, ())
    assert not verify(path, deep=True).problems
    with MultimodalIndex(new, path=path) as index:
        expected = new.encode_document([d.text for d in DOCUMENTS])
        got = index.text_index.vectors([d.id for d in DOCUMENTS])
        assert got == pytest.approx(expected, abs=1e-6)


def test_second_call_waits_for_the_first_one(path):
    new = StubText(dim=5, space="new")
    failed = []

    def work():
        try:
            reembed(path, new, batch_size=1, lock_timeout=30)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failed
    assert not verify(path, deep=True).problems


def test_documents_that_come_and_go_meanwhile_are_in_the_new_vectors(path, between):
    old = MultimodalIndex(StubText(dim=8), path=path)

    def write():
        old.add([Document("later", id="later")])
        old.delete(["d0", "d3"])

    between.append(write)
    new = StubText(dim=5, space="new")
    reembed(path, new, batch_size=1)
    old.close()

    assert not verify(path, deep=True).problems
    with MultimodalIndex(new, path=path) as index:
        assert set(index.ids()) == {"d1", "d2", "d4", "d5", "later"}
        assert len(index.text_index) == 5


def test_call_that_fails_lets_the_next_one_begin(path, between):
    def fail():
        raise KeyboardInterrupt

    between.append(fail)
    new = StubText(dim=5, space="new")
    with pytest.raises(KeyboardInterrupt):
        reembed(path, new, batch_size=1)

    report = reembed(path, new, lock_timeout=0)
    assert (report.resumed, report.documents) == (1, 6)
    assert not verify(path, deep=True).problems
