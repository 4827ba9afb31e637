from zvonim_sfu.rtp.packet import RtpPacket as RtpPacket
