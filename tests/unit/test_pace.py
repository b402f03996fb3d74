"""The tools for tests of time: what they let pass, and what not."""

import threading
import time

import pytest

import pace


def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_more_cpu_than_allowed_fails_and_a_slow_machine_is_allowed_more(monkeypatch):
    monkeypatch.setattr(pace, "slowness", lambda: 1.0)
    with pytest.raises(AssertionError, match=r"s of CPU, more than 0\.02"), pace.cpu_within(0.02):
        spin(0.04)
    monkeypatch.setattr(pace, "slowness", lambda: 10.0)
    with pace.cpu_within(0.02):
        spin(0.04)


def test_waiting_costs_no_cpu():
    with pace.cpu_within(0.02):
        time.sleep(0.1)


def test_a_wait_ends_with_the_thread_that_it_waits_for():
    happened = threading.Event()
    thread = threading.Thread(target=happened.set)
    thread.start()
    pace.wait_until(happened.is_set, thread)
    pace.join(thread)
    with pytest.raises(AssertionError, match="ended before it happened"):
        pace.wait_until(lambda: False, thread)


def test_a_thread_that_hangs_is_named(monkeypatch):
    monkeypatch.setattr(pace, "PATIENCE", 0.05)
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="the one", daemon=True)
    thread.start()
    with pytest.raises(AssertionError, match="hang.*the one"):
        pace.join(thread)
    with pytest.raises(AssertionError, match=r"did not happen within"):
        pace.wait_until(lambda: False, thread)
    release.set()
    thread.join()
