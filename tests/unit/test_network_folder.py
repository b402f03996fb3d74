"""An index on a network file system is warned about, once for each folder."""

import warnings
from types import SimpleNamespace

import pytest

from diptych import Document, MultimodalIndex
from diptych.storage import NetworkFolderWarning, network
from stubs import StubJoint, StubText

MOUNTS = """\
21 1 0:20 / / rw,relatime - ext4 /dev/sda1 rw
22 21 0:21 / /tmp rw,nosuid shared:1 - tmpfs tmpfs rw
23 21 0:22 / /mnt rw,relatime - ext4 /dev/sdb1 rw
24 23 0:23 / /mnt/my\\040share rw,relatime shared:7 master:1 - nfs4 server:/export rw,vers=4.2
25 21 0:24 / /mnt/share rw - cifs //server/share rw
26 21 0:25 / /mnt/local rw - nfs server:/old rw
27 21 0:26 / /mnt/local rw - xfs /dev/sdc1 rw
28 21 0:27 / /home/ada/ssh rw - fuse.sshfs ada@server: rw
29 21 0:28 / /var/lib/docker rw - overlay overlay rw
malformed
"""


def open_index(path):
    return MultimodalIndex(StubText(), StubJoint(), path=path)


@pytest.fixture
def mounts(monkeypatch, tmp_path):
    def use(text):
        file = tmp_path / "mountinfo"
        file.write_text(text)
        monkeypatch.setattr(network, "MOUNTS", file)

    return use


@pytest.fixture
def on(monkeypatch):
    monkeypatch.setattr(network, "_warned", set())
    kind = SimpleNamespace(kind="nfs4")
    monkeypatch.setattr(network, "file_system", lambda _: kind.kind)
    return kind


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/srv/kb", "ext4"),
        ("/mnt/kb", "ext4"),
        ("/mnt/my share/kb", "nfs4"),
        ("/mnt/share", "cifs"),
        ("/mnt/shared/kb", "ext4"),
        ("/mnt/local/kb", "xfs"),
        ("/home/ada/ssh/deep/kb", "fuse.sshfs"),
        ("/var/lib/docker/kb", "overlay"),
    ],
)
def test_type_is_that_of_the_last_mount_above(mounts, folder, expected):
    mounts(MOUNTS)
    assert network.file_system(folder) == expected


def test_nothing_is_known_where_mounts_are_not_listed(monkeypatch, tmp_path):
    monkeypatch.setattr(network, "MOUNTS", tmp_path / "none")
    assert network.file_system(tmp_path) == ""


def test_sandbox_whose_root_is_9p_is_not_on_a_network(mounts):
    mounts("1 0 0:1 / / rw - 9p none rw\n2 1 0:2 / /mnt rw - 9p none rw\n")
    assert network.file_system("/mnt/kb") == ""
    mounts("1 0 0:1 / / rw - ext4 none rw\n2 1 0:2 / /mnt/c rw - 9p drvfs rw\n")
    assert network.file_system("/mnt/c/kb") == "9p"


@pytest.mark.parametrize(
    "kind",
    ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "afs", "fuse.glusterfs", "lustre", "ceph"],
)
def test_network_is_warned_about_once_for_each_folder(on, tmp_path, kind):
    on.kind = kind
    index = open_index(tmp_path / "a")
    with pytest.warns(NetworkFolderWarning, match=rf"\({kind}\).*local disk") as seen:
        index.add([Document("one", id="1")])
    assert len(seen) == 1
    index.add([Document("two", id="2")])
    index.close()
    with open_index(tmp_path / "a") as index:  # a warning would be an error
        assert index.add([Document("three", id="3")]).added == 1
    with open_index(tmp_path / "b") as index, pytest.warns(NetworkFolderWarning, match=kind):
        index.add([Document("one", id="1")])


def test_reading_alone_is_warned_about(on, tmp_path, monkeypatch):
    on.kind = "ext4"
    with open_index(tmp_path / "a") as index:
        index.add([Document("one", id="1")])
    on.kind = "nfs"
    monkeypatch.setattr(network, "_warned", set())
    with pytest.warns(NetworkFolderWarning, match="nfs"):
        open_index(tmp_path / "a").close()


@pytest.mark.parametrize("kind", ["", "ext4", "tmpfs", "overlay", "zfs", "btrfs", "xfs", "fuseblk"])
def test_local_file_systems_are_not_warned_about(on, tmp_path, kind):
    on.kind = kind
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_index(tmp_path / "a") as index:
            index.add([Document("one", id="1")])


def test_warning_that_is_an_error_leaves_nothing_behind(on, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index = open_index(tmp_path / "a")
        with pytest.raises(NetworkFolderWarning):
            index.add([Document("one", id="1")])
    assert index.add([Document("one", id="1")]).added == 1
    index.close()
    with open_index(tmp_path / "a") as again:
        assert len(again) == 1
