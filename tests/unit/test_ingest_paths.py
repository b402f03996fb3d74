"""Nothing outside the folder is ever opened."""

import os
import sys
from pathlib import Path

import pytest

from diptych.errors import InvalidArgument, MediaError
from diptych.ingest.paths import Folder, is_remote, link_path
from stubs import png

SECRET = png("red", (3, 3))
INSIDE = png("blue", (4, 4))


@pytest.fixture
def root(tmp_path):
    """A folder with pages, a twin beside it, and links of every kind."""
    root = tmp_path / "root"
    (root / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "root2").mkdir()
    (tmp_path / "root2" / "secret.png").write_bytes(SECRET)
    (tmp_path / "secret.png").write_bytes(SECRET)
    for place in ("in.png", "sub/in.png", "sub/deep/in.png", "sub/a b.png", "sub/é.png"):
        (root / place).write_bytes(INSIDE)
    (root / "file.png").symlink_to(tmp_path / "secret.png")
    (root / "inner.png").symlink_to(root / "in.png")
    (root / "folder").symlink_to(tmp_path / "root2")
    (root / "inner").symlink_to(root / "sub")
    (root / "loop").symlink_to("loop")
    (root / "up").symlink_to("..")
    return root


ESCAPES = {
    "leaves the folder": [
        "../../secret.png",
        "../../root2/secret.png",
        "../../root/in.png",
        "../../root/../secret.png",
        "deep/../../../secret.png",
        "./../../secret.png",
        "deep/./.././../../secret.png",
        "../..",
        "../../../../../../../../etc/passwd",
        "%2e%2e/%2e%2e/secret.png",
        "..%2f..%2fsecret.png",
        "%2E%2E%5C..%5Csecret.png",
        "..\\..\\secret.png",
        "deep\\..\\..\\..\\secret.png",
    ],
    "is absolute": [
        "/etc/passwd",
        "//etc/passwd",
        "///etc/passwd",
        "/",
        "{root}/in.png",
        "{root}/../secret.png",
        "/proc/self/root/etc/passwd",
        "/proc/self/cwd/in.png",
        "/dev/stdin",
        "%2fetc%2fpasswd",
        "\\etc\\passwd",
        "\\\\host\\share\\x.png",
        "\\\\?\\C:\\x.png",
        "\\\\.\\PhysicalDrive0",
    ],
    "a scheme or a drive": [
        "file:///etc/passwd",
        "file:/etc/passwd",
        "file:in.png",
        "FILE:///etc/passwd",
        "C:\\Windows\\win.ini",
        "C:/Windows/win.ini",
        "c:in.png",
        "C|/x.png",
        "javascript:alert(1)",
        "ftp://host/x.png",
        "blob:abc",
        "cid:part1",
    ],
    "control characters": [
        "in.png%00.txt",
        "in.png\0",
        "in%0A.png",
    ],
    "the component": [
        ".. /.. /secret.png",
        "..%20/x.png",
        ".../.../secret.png",
        "./. ./secret.png",
    ],
    "symbolic link": [
        "../folder/secret.png",
        "../file.png",
        "../inner.png",
        "../inner/in.png",
        "../loop",
        "../up/secret.png",
        "../up/root/in.png",
    ],
}


@pytest.mark.parametrize(
    ("link", "reason"), [(link, reason) for reason, links in ESCAPES.items() for link in links]
)
def test_what_leads_outside_is_refused(root, link, reason):
    folder = Folder(root)
    with pytest.raises(InvalidArgument, match=reason):
        folder.picture(folder.locate("sub/page.md", link_path(link.format(root=root))))


@pytest.mark.parametrize("link", ["", ".", "./", "?x=1", "#frag", "../", ".."])
def test_a_link_to_no_file_is_refused(root, link):
    folder = Folder(root)
    with pytest.raises(InvalidArgument, match="names no file|is a folder, pipe"):
        folder.picture(folder.locate("sub/page.md", link_path(link)))


ALLOWED = {
    "in.png": "sub/in.png",
    "./in.png": "sub/in.png",
    "deep/in.png": "sub/deep/in.png",
    "deep/../in.png": "sub/in.png",
    "../in.png": "in.png",
    "../sub/deep//in.png": "sub/deep/in.png",
    "deep\\in.png": "sub/deep/in.png",
    "a%20b.png": "sub/a b.png",
    " a b.png ": "sub/a b.png",
    "%C3%A9.png": "sub/é.png",
    "in.png?raw=true": "sub/in.png",
    "in.png#fragment": "sub/in.png",
}


@pytest.mark.parametrize("link", ALLOWED)
def test_what_stays_inside_is_found(root, link):
    folder = Folder(root)
    path = folder.locate("sub/page.md", link_path(link))
    assert path == ALLOWED[link]
    assert folder.picture(path).read() == INSIDE


@pytest.mark.parametrize("link", ["%252e%252e/%252e%252e/secret.png", "..∕..∕secret.png", "~/x"])
def test_what_only_looks_like_an_escape_is_a_name(root, link):
    folder = Folder(root)
    with pytest.raises(InvalidArgument, match="There is no file 'sub/"):
        folder.picture(folder.locate("sub/page.md", link_path(link)))


def test_reasons_name_no_place_of_this_machine(root):
    folder = Folder(root)
    reasons = []
    for link in ["../secret.png", "gone.png", "../file.png", "deep"]:
        with pytest.raises(InvalidArgument, match="folder|link") as caught:
            folder.picture(folder.locate("page.md", link))
        reasons.append(str(caught.value))
    assert not [reason for reason in reasons if str(root.parent) in reason]
    assert reasons[0] == (
        "The path '../secret.png' leaves the folder that is read; expected a file inside the folder "
        "that is read. Move the file there, or read the folder that holds both."
    )


def test_a_folder_reached_by_a_link_is_read(root, tmp_path):
    (tmp_path / "alias").symlink_to(root)
    assert Folder(tmp_path / "alias").read("in.png", 10_000) == INSIDE


@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_pipes_and_folders_are_refused_without_waiting(root, kind):
    (os.mkfifo if kind == "fifo" else os.mkdir)(root / "odd.png")
    with pytest.raises(InvalidArgument, match=r"'odd\.png' is a folder, pipe, socket or device"):
        Folder(root).picture("odd.png")


def test_a_file_over_the_limit_is_refused(root):
    (root / "long.txt").write_bytes(b"x" * 2_000_001)
    with pytest.raises(InvalidArgument, match=r"'long\.txt' has 2\.0 MB; expected at most 2 MB"):
        Folder(root).read("long.txt", 2_000_000)
    assert len(Folder(root).read("long.txt", 2_000_001)) == 2_000_001


def watched(work, before_call):
    """Return what ``work`` returns, with ``before_call(n)`` before its n-th call of the system."""
    calls = 0

    def watch(frame, event, function):
        nonlocal calls
        if event == "c_call" and getattr(function, "__module__", None) in ("posix", "_io", "io"):
            calls += 1
            sys.setprofile(None)
            before_call(calls)
            sys.setprofile(watch)

    sys.setprofile(watch)
    try:
        return work()
    finally:
        sys.setprofile(None)


def swapped_while_read(root, read, place, target):
    """Read ``swap/x.png`` again and again, a place swapped for a link from each call to each later one.

    Returns:
        What each reading led to: the content, or None where it was refused.
    """
    aside, path = root / "aside", root / place
    calls = []
    watched(read, calls.append)
    outcomes = []
    for first in calls:
        for last in range(first + 1, len(calls) + 2):

            def swap(call, first=first, last=last):
                if call == first:
                    path.rename(aside)
                    path.symlink_to(target)
                if call == last:
                    path.unlink()
                    aside.rename(path)

            try:
                outcomes.append(watched(read, swap))
            except (InvalidArgument, MediaError):
                outcomes.append(None)
            if aside.exists():
                path.unlink()
                aside.rename(path)
    return outcomes


@pytest.fixture
def swap(root, tmp_path):
    """A file that can be swapped for a link to a secret, alone or with its folder."""
    (root / "swap").mkdir()
    (root / "swap" / "x.png").write_bytes(INSIDE)
    (tmp_path / "root2" / "x.png").write_bytes(SECRET)
    return {"swap/x.png": tmp_path / "secret.png", "swap": tmp_path / "root2"}


@pytest.mark.skipif(os.name == "nt", reason="makes links")
@pytest.mark.parametrize("place", ["swap/x.png", "swap"])
def test_a_file_swapped_for_a_link_gives_nothing_away(root, swap, place):
    folder = Folder(root)
    outcomes = swapped_while_read(
        root, lambda: folder.read("swap/x.png", 10_000), place, swap[place]
    )
    assert set(outcomes) == {INSIDE, None}
    assert len(outcomes) > 10


@pytest.mark.skipif(os.name == "nt", reason="makes links")
@pytest.mark.parametrize("place", ["swap/x.png", "swap"])
def test_swapping_finds_a_reader_that_checks_before_it_opens(root, swap, place):
    """The test above would notice: this is how it must not be done."""

    def read():
        path = root / "swap" / "x.png"
        try:
            if Path(os.path.realpath(path)) == path:
                return path.read_bytes()
        except OSError:  # it went between two calls
            pass
        raise InvalidArgument("it is a link")

    assert SECRET in swapped_while_read(root, read, place, swap[place])


def test_a_picture_that_is_shown_often_is_read_once(root, monkeypatch):
    folder = Folder(root)
    reads = []
    monkeypatch.setattr(folder, "read", lambda path, size: reads.append(path) or INSIDE)
    images = [folder.picture("in.png") for _ in range(5)]
    assert reads == ["in.png"]
    assert {image.read() for image in images} == {INSIDE}


@pytest.mark.parametrize("path", [".../x.png", "deep/.. /x.png", ". ./x.png", "deep/.. ../x.png"])
def test_what_windows_takes_for_a_way_up_is_refused_everywhere(root, path):
    with pytest.raises(InvalidArgument, match="has the component"):
        Folder(root).locate("sub/page.md", path)


def test_a_picture_that_is_replaced_later_is_noticed(root, tmp_path):
    image = Folder(root).picture("in.png")
    (root / "in.png").write_bytes(SECRET)
    with pytest.raises(MediaError, match="has changed since it was indexed"):
        image.read()


def test_without_stepwise_opening_links_are_refused_as_well(root, monkeypatch):
    monkeypatch.setattr("diptych.ingest.paths._STEPWISE", False)
    folder = Folder(root)
    assert folder.read("sub/in.png", 10_000) == INSIDE
    for path in ("file.png", "inner.png", "folder/secret.png", "inner/in.png", "loop"):
        with pytest.raises(InvalidArgument, match="symbolic link; links are not followed"):
            folder.read(path, 10_000)


def test_a_picture_is_named_by_its_path_in_the_folder(root):
    image = Folder(root).picture("sub/in.png")
    assert (image.name, image.path) == ("sub/in.png", Path(os.path.realpath(root)) / "sub/in.png")


@pytest.mark.parametrize("link", ["http://a/b.png", "HTTPS://a/b", "//cdn.example.org/a.png"])
def test_links_to_servers_are_known(link):
    assert is_remote(link)


@pytest.mark.parametrize(
    "link", ["a.png", "/a.png", "file:///a", "data:image/png;base64,", "http:a"]
)
def test_other_links_are_not_remote(link):
    assert not is_remote(link)
