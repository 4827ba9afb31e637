# cython: language_level=3
"""Intake, compiled: its twin in intake.py says what the values are, and begins with the same ones."""

from zvonim_sfu.rtp.intake import NO_NUMBER


cdef class Intake:
    def __init__(self):
        self.clock_rate = 1
        self.counted = self.expected = self.kept = NO_NUMBER
        self.cells = []
        self.template_layers = b""
        self.layer_octets = []
        self.layer_frames = []
        self.payload_type = self.highest = -1
        self.last_at = float("-inf")
