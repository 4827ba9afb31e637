# The compiled kernel has the interface of its twin: there each thing is documented and typed once.
from zvonim_sfu.net.kernel_python import Batch as Batch
from zvonim_sfu.net.kernel_python import Egress as Egress
from zvonim_sfu.net.kernel_python import FanOut as FanOut
from zvonim_sfu.net.kernel_python import Sender as Sender

def replace_sendmmsg(address: int | None) -> None: ...
