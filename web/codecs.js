/**
 * What the m-sections offer. The descriptions of fifty slots are large, and messages have a limit: what is never forwarded is
 * left out, and so are variants that no camera or screen is sent in.
 */

/** Redundancy formats that the server does not speak. Retransmission (rtx) stays. */
const NEVER_FORWARDED = /\/(red|ulpfec|flexfec.*|CN|telephone-event|PCMU|PCMA|G722|L16|iLBC|ISAC)$/i;
/** More than 8 bits or less subsampling of colour (VP9, AV1, H264's High 4:4:4), and H264 in the mode of old telephones. */
const NEVER_SENT = /(^|;)\s*(profile-id=[1-9]|profile=[1-9]|profile-level-id=f4....|packetization-mode=0)(;|$)/i;

/** @param {RTCRtpTransceiver} transceiver that only receives */
export function trimCodecs(transceiver) {
  if (!transceiver.setCodecPreferences) return;
  const codecs = RTCRtpReceiver.getCapabilities(transceiver.receiver.track.kind)?.codecs ?? [];
  const wanted = codecs.filter(({ mimeType, sdpFmtpLine = "" }) => !NEVER_FORWARDED.test(mimeType) && !NEVER_SENT.test(sdpFmtpLine));
  if (wanted.length > 0) transceiver.setCodecPreferences(wanted);
}

/**
 * @param {RTCRtpTransceiver} transceiver that sends video
 * @param {string | null} name "vp8", "vp9", "h264" or "av1"; null: the browser chooses
 */
export function preferCodec(transceiver, name) {
  if (!name || !transceiver.setCodecPreferences) return;
  const codecs = RTCRtpSender.getCapabilities("video")?.codecs ?? [];
  const wanted = codecs.filter(({ mimeType }) => mimeType.toLowerCase() === `video/${name.toLowerCase()}`);
  const rtx = codecs.filter(({ mimeType }) => mimeType.toLowerCase() === "video/rtx");
  if (wanted.length > 0) transceiver.setCodecPreferences([...wanted, ...rtx]);
}

/**
 * Ask for lost sound to be sent again, both ways. Browsers do so for pictures only, unless both descriptions name it for
 * Opus; a packet of sound costs little and mostly comes back before it is due.
 * @param {string} sdp an offer of the browser's
 * @returns {string}
 */
export function repairSound(sdp) {
  return sdp.replace(/^a=rtpmap:(\d+) opus\/48000\/2\r\n(?!a=rtcp-fb:\1 nack\r\n)/gim, "$&a=rtcp-fb:$1 nack\r\n");
}
