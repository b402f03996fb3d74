import pytest

from diptych import Document, MultimodalIndex
from diptych.errors import FormatError, InvalidArgument, LockedError
from diptych.maintenance import drop_namespace, namespaces, verify
from stubs import StubText


def open_index(path, namespace=None, **arguments):
    return MultimodalIndex(StubText(**arguments), path=path, namespace=namespace)


def test_namespaces_share_a_folder_and_nothing_else(tmp_path):
    with (
        open_index(tmp_path) as root,
        open_index(tmp_path, "a") as a,
        open_index(tmp_path, "b") as b,
    ):
        root.add([Document("in the root", id="x")])
        a.add([Document("in a", id="x")])
        b.add([Document("in b", id="x"), Document("more in b", id="y")])
        assert [i.get(["x"])[0].text for i in (root, a, b)] == ["in the root", "in a", "in b"]
        assert [len(i) for i in (root, a, b)] == [1, 1, 2]
        b.clear()
        assert [len(i) for i in (root, a, b)] == [1, 1, 0]
        own = [f for f in tmp_path.rglob("*") if f.is_file() and "namespaces" not in f.parts]
        assert root.info().bytes == sum(f.stat().st_size for f in own)
    assert namespaces(tmp_path) == ["a", "b"]
    assert verify(tmp_path / "namespaces" / "a").documents == 1
    with open_index(tmp_path, "a") as again:
        assert again.ids() == ["x"]


def test_namespaces_may_have_other_models(tmp_path):
    with open_index(tmp_path, "a", dim=8) as a, open_index(tmp_path, "b", dim=32) as b:
        a.add([Document("one")])
        b.add([Document("two")])
        assert (a.text_index.dim, b.text_index.dim) == (8, 32)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a\\b",
        ".hidden",
        "dot.",
        "a b",
        "é",
        "x" * 65,
        "a\0",
        7,
        "a\n",
    ],
)
def test_names_that_are_no_folders_everywhere_are_refused(tmp_path, name):
    with pytest.raises(InvalidArgument, match="namespace="):
        open_index(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_names_that_differ_in_case_only_are_refused(tmp_path):
    with open_index(tmp_path, "Tenant") as index:
        index.add([Document("one")])
    with pytest.raises(InvalidArgument, match="'Tenant' already"):
        open_index(tmp_path, "tenant")


def test_namespace_needs_a_folder():
    with pytest.raises(InvalidArgument, match="needs path="):
        MultimodalIndex(StubText(), namespace="a")


def test_dropping_removes_one_and_waits_for_its_writer(tmp_path):
    with open_index(tmp_path, "a") as a, open_index(tmp_path, "b") as b:
        a.add([Document("one")])
        b.add([Document("two")])
        with pytest.raises(LockedError):
            drop_namespace(tmp_path, "a", lock_timeout=0)
    assert drop_namespace(tmp_path, "a")
    assert not drop_namespace(tmp_path, "a")
    assert namespaces(tmp_path) == ["b"]
    with open_index(tmp_path, "a") as again:
        assert len(again) == 0


def test_folder_of_something_else_is_not_made_a_namespace(tmp_path):
    (tmp_path / "namespaces" / "a").mkdir(parents=True)
    (tmp_path / "namespaces" / "a" / "mine.txt").write_text("x")
    with pytest.raises(FormatError, match="holds no diptych index"):
        open_index(tmp_path, "a")


def test_folder_of_namespaces_alone_is_not_said_to_be_whole(tmp_path):
    with open_index(tmp_path, "ada") as index:
        index.add([Document("a note", id="n")])
    with pytest.raises(FormatError, match=r"no index at .* itself.*namespaces.*ada"):
        verify(tmp_path)
    assert verify(tmp_path / "namespaces" / "ada").documents == 1
