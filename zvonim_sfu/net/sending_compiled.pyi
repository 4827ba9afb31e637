# The compiled kernel has the interface of its twin: there each thing is documented and typed once.
from zvonim_sfu.net.sending import Batch as Batch
from zvonim_sfu.net.sending import Egress as Egress

def replace_sendmmsg(address: int | None) -> None: ...
