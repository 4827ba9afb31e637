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

    def drop(self, int64_t first, int64_t size, double before):
        cdef list cells = self.cells
        cdef int64_t count = len(cells), number = max(first, self.kept - count + 1)
        cdef tuple cell
        cdef double came
        while number <= self.kept:
            cell = cells[number % count]
            if cell is not None:
                came = cell[2]
                if self.kept_bytes <= size and came >= before:
                    return number
                self.kept_bytes -= len(cell[1].data)
                cells[number % count] = None
            number += 1
        return self.kept + 1
