from zvonim_sfu.rtp.transport_cc import ArrivalLog as ArrivalLog
