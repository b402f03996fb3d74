from hypothesis import settings

from stateful import IndexMachine

IndexMachine.TestCase.settings = settings(
    max_examples=20, stateful_step_count=30, deadline=None, print_blob=True
)
TestIndex = IndexMachine.TestCase
