import shutil
import threading

import pytest

from diptych import Document, MultimodalIndex
from diptych.errors import CorruptionError, FormatError
from diptych.image import Image
from diptych.maintenance import export_index
from diptych.storage.backup import backup_folder
from diptych.storage.maintenance import verify_folder
from pace import join
from stubs import StubJoint, StubText, png


def open_index(path):
    return MultimodalIndex(StubText(), StubJoint(), path=path)


def pair(i):
    return [
        Document(f"text {i}", id=f"t{i}", metadata={"i": i}),
        Document(f"both {i}", Image(png((i % 256, i // 256, 9))), id=f"b{i}", metadata={"i": i}),
    ]


def held(path):
    with open_index(path) as index:
        return {d.id: (d.text, d.image.read() if d.image else None) for d in index.get()}


def test_backup_is_the_same_index_elsewhere(tmp_path):
    with open_index(tmp_path / "index") as index:
        for i in range(5):
            index.add(pair(i))
        index.delete(["t3"])
    report = backup_folder(tmp_path / "index", tmp_path / "copies" / "monday")
    assert report.documents == 9
    assert verify_folder(tmp_path / "copies" / "monday", deep=True).problems == ()
    assert held(tmp_path / "copies" / "monday") == held(tmp_path / "index")
    assert [p.name for p in (tmp_path / "copies").iterdir()] == ["monday"]


def test_what_a_killed_backup_or_export_left_is_in_nobody_s_way(tmp_path):
    with open_index(tmp_path / "index") as index:
        index.add(pair(0))
    for left in ("copy.partial", "export.zip.state"):
        shutil.copytree(tmp_path / "index", tmp_path / left)
    (tmp_path / "export.zip.partial").write_bytes(b"half")
    with open_index(tmp_path / "index") as index:
        index.add(pair(1))
    assert backup_folder(tmp_path / "index", tmp_path / "copy").documents == 4
    assert held(tmp_path / "copy") == held(tmp_path / "index")
    assert export_index(tmp_path / "index", tmp_path / "export.zip").added == 4
    assert {p.name for p in tmp_path.iterdir()} == {"index", "copy", "export.zip"}


def test_backups_while_writing_are_each_one_committed_state(tmp_path):
    index = open_index(tmp_path / "index")
    index.add(pair(0))
    stop = threading.Event()

    def write():
        i = 0
        while not stop.is_set():
            i += 1
            index.add(pair(i))
            if i % 3 == 0:
                index.delete([f"t{i - 1}", f"b{i - 1}"])
            if i % 20 == 0:
                index.compact()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(8):
            backup_folder(tmp_path / "index", tmp_path / f"copy{number}")
    finally:
        stop.set()
        join(writer)
    for number in range(8):
        found = held(tmp_path / f"copy{number}")
        texts, both = ({i[1:] for i in found if i[0] == kind} for kind in "tb")
        assert texts == both
        assert verify_folder(tmp_path / f"copy{number}", deep=True).problems == ()


def test_backup_of_a_damaged_index_is_not_kept(tmp_path):
    with open_index(tmp_path / "index") as index:
        index.add(pair(0))
    (segment,) = (tmp_path / "index" / "segments").iterdir()
    segment.write_bytes(b"rubbish")
    with pytest.raises(CorruptionError, match=r"the backup was not kept.*diptych verify"):
        backup_folder(tmp_path / "index", tmp_path / "copy")
    segment.unlink()
    with pytest.raises(CorruptionError, match=rf"{segment.name}.*is missing"):
        backup_folder(tmp_path / "index", tmp_path / "copy")
    assert [p.name for p in tmp_path.iterdir()] == ["index"]


def test_backup_never_replaces_anything(tmp_path):
    with open_index(tmp_path / "index") as index:
        index.add(pair(0))
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mine.txt").write_text("x")
    with pytest.raises(FormatError, match="already"):
        backup_folder(tmp_path / "index", tmp_path / "copy")
    with pytest.raises(FormatError, match="lies inside of the index"):
        backup_folder(tmp_path / "index", tmp_path / "index" / "sub" / "copy")
    with pytest.raises(FormatError, match="There is no index"):
        backup_folder(tmp_path / "nothing", tmp_path / "other")
