"""The material of ``diptych demo``: pages written for it, and real photographs."""

from diptych.demo.material import PHOTOGRAPHS, lay_out, questions

__all__ = ["PHOTOGRAPHS", "lay_out", "questions"]
