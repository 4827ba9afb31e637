"""Chooses the packet kernel: the compiled one, or its twin in plain Python.

What they do is documented in the twin, receiving.py and sending.py. A node uses one of them for all that it has;
objects of the two do not mix.
"""

from __future__ import annotations

import importlib
from typing import Final, Literal, NamedTuple

from zvonim_sfu.net import receiving, selector, sending
from zvonim_sfu.rtp import intake, transport_cc

Choice = Literal["auto", "compiled", "python"]


class KernelError(RuntimeError):
    """The kernel that was asked for is not there."""


class Kernel(NamedTuple):
    """The classes of one kernel."""

    name: Literal["compiled", "python"]
    Batch: type[sending.Batch]
    Egress: type[sending.Egress]
    FanOut: type[sending.FanOut]
    Sender: type[sending.Sender]
    Ingress: type[receiving.Ingress]
    Receiver: type[receiving.Receiver]
    Intake: type[intake.Intake]
    ArrivalLog: type[transport_cc.ArrivalLog]
    MediaSelector: type[selector.MediaSelector]


PYTHON: Final = Kernel(
    "python",
    sending.Batch,
    sending.Egress,
    sending.FanOut,
    sending.Sender,
    receiving.Ingress,
    receiving.Receiver,
    intake.Intake,
    transport_cc.ArrivalLog,
    selector.MediaSelector,
)


def load_kernel(choice: Choice = "auto") -> Kernel:
    """Return a kernel; "auto" is the compiled one if it was built. Raises KernelError, a sentence for the operator."""
    if choice == "python":
        return PYTHON
    try:
        sends = importlib.import_module("zvonim_sfu.net.sending_compiled")
        fans_out = importlib.import_module("zvonim_sfu.net.fan_out_compiled")
        receives = importlib.import_module("zvonim_sfu.net.receiving_compiled")
        arrivals = importlib.import_module("zvonim_sfu.rtp.arrivals_compiled")
        waits = importlib.import_module("zvonim_sfu.net.selector_compiled")
        counts = importlib.import_module("zvonim_sfu.rtp.intake_compiled")
    except ImportError as error:
        if choice == "auto":
            return PYTHON
        raise KernelError(
            f"The compiled kernel cannot be used ({error}): install a C compiler and Python's headers, then "
            "the package again; or leave the setting kernel at auto"
        ) from error
    return Kernel(
        "compiled",
        sends.Batch,
        sends.Egress,
        fans_out.FanOut,
        fans_out.Sender,
        receives.Ingress,
        receives.Receiver,
        counts.Intake,
        arrivals.ArrivalLog,
        waits.MediaSelector,
    )
