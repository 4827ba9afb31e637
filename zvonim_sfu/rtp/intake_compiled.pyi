from zvonim_sfu.rtp.intake import Intake as Intake
