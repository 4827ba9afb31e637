from zvonim_sfu.net.receiving import Ingress as Ingress
from zvonim_sfu.net.receiving import Receiver as Receiver
