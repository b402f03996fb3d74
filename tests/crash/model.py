"""Compares the index with a dict and numpy, step by step, in random sessions."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import scenario
from findings import Findings
from hypothesis.stateful import run_state_machine_as_test

from stateful import IndexMachine


def run_sessions(folder: Path, count: int, seed: int, findings: Findings) -> dict:
    """Run ``count`` sessions of up to 50 steps and return how many steps there were.

    A violation ends them. It is not made smaller, which may take longer than a slice; the same seed
    finds it again.
    """
    settings = hypothesis.settings(
        max_examples=count,
        stateful_step_count=50,
        deadline=None,
        database=None,
        print_blob=True,
        phases=(hypothesis.Phase.generate,),
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    IndexMachine.kind, IndexMachine.steps = scenario.kind_of_index, 0
    run_state_machine_as_test(hypothesis.seed(seed)(IndexMachine), settings=settings)
    return {"sessions": count, "steps": IndexMachine.steps}
