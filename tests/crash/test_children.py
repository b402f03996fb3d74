"""Every wait for a child has an end, and notices that the child has ended."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks")


def said_by(script, folder):
    """Run a script that forks in a process of its own, and return what it prints."""
    head = f"""
        import os, sys, time
        from pathlib import Path
        sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent)!r}]
        import children
        errors = Path({str(folder)!r}, "errors")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(script)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_child_that_fails_first_ends_the_wait_for_what_it_was_to_do(tmp_path):
    script = """
        def work():
            raise RuntimeError("the child's own words")
        child = children.start(work, errors)
        try:
            children.wait_until(lambda: False, child, errors)
        except AssertionError as error:
            print(str(error).splitlines()[-1], "/", str(error).splitlines()[0])
        print(children.kill(child))
    """
    assert said_by(script, tmp_path) == [
        "RuntimeError: the child's own words / the child ended too early: "
        "Traceback (most recent call last):",
        "1",
    ]


def test_what_a_child_did_last_counts(tmp_path):
    script = f"""
        done = Path({str(tmp_path)!r}, "done")
        child = children.start(done.touch, errors)
        children.wait_until(done.exists, child, errors)
        print(children.wait(child))
    """
    assert said_by(script, tmp_path) == ["0"]


def test_child_that_hangs_is_ended(tmp_path):
    script = """
        child = children.start(lambda: time.sleep(1000), errors)
        try:
            children.wait(child, 0.2)
        except TimeoutError as error:
            print(error)
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            print("it is gone")
        child = children.start(lambda: time.sleep(1000), errors)
        try:
            children.wait_until(lambda: False, child, errors, 0.2)
        except TimeoutError as error:
            print(error)
        children.kill(child)
    """
    assert said_by(script, tmp_path) == [
        "a child did not end within 0.2 seconds",
        "it is gone",
        "what a child should do did not happen within 0.2 seconds",
    ]


def test_failure_of_a_child_is_the_failure_of_its_parent(tmp_path):
    script = """
        try:
            children.must_succeed(lambda: 1 / 0, errors)
        except AssertionError as error:
            print(str(error).splitlines()[-1])
        try:
            children.must_succeed(os.abort, errors)
        except AssertionError as error:
            print(error)
    """
    assert said_by(script, tmp_path) == [
        "ZeroDivisionError: division by zero",
        "the child ended with -6: it said nothing",
    ]


def test_children_end_with_their_parent_however_that_ends(tmp_path):
    script = """
        import signal
        reading, writing = os.pipe()
        def middle():
            grandchild = children.start(lambda: time.sleep(1000), errors)
            os.write(writing, str(grandchild).encode())
            time.sleep(1000)
        child = children.start(middle, errors)
        grandchild = int(os.read(reading, 100))
        children.kill(child)
        end = time.monotonic() + 100
        while Path(f"/proc/{grandchild}/stat").exists() and time.monotonic() < end:
            # One that nobody waits for stays as a zombie.
            if Path(f"/proc/{grandchild}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                break
            time.sleep(0.01)
        else:
            assert time.monotonic() < end
        print("ended")
    """
    assert said_by(script, tmp_path) == ["ended"]


def test_writer_that_fails_before_it_holds_the_lock_is_a_finding_and_no_endless_loop(tmp_path):
    script = f"""
        import takeover
        from findings import Findings
        def broken(*arguments, **named):
            raise OSError("no such disk")
        takeover.open_index = broken
        findings = Findings()
        takeover.run_dead_writers(Path({str(tmp_path)!r}), 20, 1, findings)
        print(len(findings), findings[0].splitlines()[0], findings[0].splitlines()[-1])
    """
    assert said_by(script, tmp_path) == [
        "5 dead writer 0: the child ended too early: Traceback (most recent call last): "
        "OSError: no such disk"
    ]
