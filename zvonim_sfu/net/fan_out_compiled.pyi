from zvonim_sfu.net.sending import FanOut as FanOut
from zvonim_sfu.net.sending import Sender as Sender
