// One scenario of capture_offers.py in a page: builds a connection, returns the SDP of its offer.
async (name) => {
  const camera = async () =>
    (await navigator.mediaDevices.getUserMedia({ video: { width: 960, height: 540 } })).getTracks()[0];
  const microphone = async () =>
    (await navigator.mediaDevices.getUserMedia({ audio: true })).getTracks()[0];
  // getDisplayMedia needs a person; to the SDP a canvas is the same: a video track that is no camera.
  const screen = () => {
    const canvas = document.createElement("canvas");
    canvas.getContext("2d").fillRect(0, 0, 10, 10);
    return canvas.captureStream(5).getTracks()[0];
  };

  const pc = new RTCPeerConnection();
  const other = new RTCPeerConnection();

  const gathered = async () => {
    if (pc.iceGatheringState === "complete") return;
    await Promise.race([
      new Promise((resolve) =>
        pc.addEventListener("icegatheringstatechange", () => pc.iceGatheringState === "complete" && resolve()),
      ),
      new Promise((resolve) => setTimeout(resolve, 5000)),
    ]);
  };
  const offered = async ({ trickle = false } = {}) => {
    await pc.setLocalDescription(await pc.createOffer());
    const early = pc.localDescription.sdp;
    if (trickle) return early;
    await gathered();
    return pc.localDescription.sdp;
  };
  const negotiated = async () => {
    await offered();
    await other.setRemoteDescription(pc.localDescription);
    await other.setLocalDescription(await other.createAnswer());
    await pc.setRemoteDescription(other.localDescription);
  };
  const preferred = (kind, encoding, { only = false } = {}) => {
    const codecs = RTCRtpReceiver.getCapabilities("video").codecs;
    const chosen = codecs.filter((codec) => codec.mimeType.toLowerCase() === `video/${encoding}`.toLowerCase());
    if (chosen.length === 0) throw new Error(`${encoding} is not known here`);
    const rest = codecs.filter((codec) => !chosen.includes(codec));
    for (const transceiver of pc.getTransceivers())
      if (transceiver.receiver.track.kind === kind)
        transceiver.setCodecPreferences(only ? chosen : [...chosen, ...rest]);
  };
  const audioAndVideo = async () => {
    const stream = new MediaStream([await microphone(), await camera()]);
    for (const track of stream.getTracks()) pc.addTrack(track, stream);
  };

  const scenarios = {
    "audio-video": async () => (await audioAndVideo(), offered()),
    "audio-video-trickle": async () => (await audioAndVideo(), offered({ trickle: true })),
    "audio-only": async () => (pc.addTrack(await microphone(), new MediaStream()), offered()),
    "video-only": async () => (pc.addTrack(await camera(), new MediaStream()), offered()),
    "watch-only": async () => {
      for (const kind of ["audio", "video"]) pc.addTransceiver(kind, { direction: "recvonly" });
      return offered();
    },
    "two-cameras-and-screen": async () => {
      await audioAndVideo();
      const second = (await camera()).clone();
      pc.addTrack(second, new MediaStream([second]));
      const shared = screen();
      pc.addTrack(shared, new MediaStream([shared]));
      return offered();
    },
    slots: async () => {
      const stream = new MediaStream([await microphone(), await camera()]);
      for (const track of stream.getTracks())
        pc.addTransceiver(track, { direction: "sendonly", streams: [stream] });
      for (let pair = 0; pair < 4; pair += 1)
        for (const kind of ["audio", "video"]) pc.addTransceiver(kind, { direction: "recvonly" });
      return offered();
    },
    simulcast: async () => {
      pc.addTransceiver(await microphone(), { direction: "sendonly" });
      pc.addTransceiver(await camera(), {
        direction: "sendonly",
        sendEncodings: [
          { rid: "q", scaleResolutionDownBy: 4 },
          { rid: "h", scaleResolutionDownBy: 2 },
          { rid: "f", scaleResolutionDownBy: 1 },
        ],
      });
      return offered();
    },
    "data-channel": async () => {
      await audioAndVideo();
      pc.createDataChannel("chat");
      return offered();
    },
    "data-channel-only": async () => (pc.createDataChannel("chat"), offered()),
    "track-removed": async () => {
      await audioAndVideo();
      for (const transceiver of pc.getTransceivers()) transceiver.direction = "sendonly";
      await negotiated();
      pc.removeTrack(pc.getSenders()[1]);
      return offered();
    },
    "transceiver-stopped": async () => {
      await audioAndVideo();
      await negotiated();
      pc.getTransceivers()[1].stop();
      return offered();
    },
    // The m-section of a stopped transceiver is used again by the next track of its kind.
    "section-recycled": async () => {
      await audioAndVideo();
      await negotiated();
      pc.getTransceivers()[1].stop();
      await negotiated();
      const shared = screen();
      pc.addTrack(shared, new MediaStream([shared]));
      return offered();
    },
    "ice-restart": async () => {
      await audioAndVideo();
      await negotiated();
      pc.restartIce();
      return offered();
    },
    "prefers-h264": async () => (await audioAndVideo(), preferred("video", "H264"), offered()),
    "prefers-av1": async () => (await audioAndVideo(), preferred("video", "AV1"), offered()),
    "prefers-vp9": async () => (await audioAndVideo(), preferred("video", "VP9"), offered()),
    "only-vp8": async () => (await audioAndVideo(), preferred("video", "VP8", { only: true }), offered()),
  };
  try {
    return name === null ? Object.keys(scenarios) : await scenarios[name]();
  } finally {
    pc.close();
    other.close();
  }
}
