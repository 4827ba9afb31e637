from zvonim_sfu.net.selector import MediaSelector as MediaSelector
