"""Contract suites: subclass one in your own tests to prove that your encoder fits diptych.

They are plain classes for pytest, which this package does not import.
"""

from diptych.testing.encoders import ImageEncoderContract, JointEncoderContract, TextEncoderContract

__all__ = ["ImageEncoderContract", "JointEncoderContract", "TextEncoderContract"]
