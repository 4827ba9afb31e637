// What the tests look at in a page: pixels, decoded frames, energy and pitch. Loaded before the page's own scripts;
// it only watches: every RTCPeerConnection that the page makes is remembered.
{
  const connections = [];
  const Native = window.RTCPeerConnection;
  if (Native) {
    window.RTCPeerConnection = class extends Native {
      constructor(...args) {
        super(...args);
        connections.push(this);
      }
    };
  }

  const canvas = document.createElement("canvas");
  canvas.width = 64;
  canvas.height = 36;
  const context = canvas.getContext("2d", { willReadFrequently: true });

  /** Mean colour of the upper half, and where the mark is: the brightest column of the lower half. */
  const picture = (video) => {
    if (!(video instanceof HTMLVideoElement) || video.videoWidth === 0 || video.paused) return null;
    context.fillStyle = "black";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    const sum = [0, 0, 0];
    const half = (canvas.width * canvas.height) / 2;
    for (let i = 0; i < half; i += 1) for (let c = 0; c < 3; c += 1) sum[c] += data[4 * i + c];
    const columns = new Array(canvas.width).fill(0);
    for (let i = half; i < 2 * half; i += 1) columns[i % canvas.width] += data[4 * i + 1];
    return {
      colour: sum.map((value) => Math.round(value / half)),
      mark: columns.indexOf(Math.max(...columns)),
      size: [video.videoWidth, video.videoHeight],
    };
  };

  /** inbound-rtp of every live connection: what arrives and what is decoded. */
  const inbound = async () => {
    const rows = [];
    for (const pc of connections.filter((one) => one.connectionState !== "closed")) {
      const stats = await pc.getStats();
      for (const row of stats.values()) {
        if (row.type !== "inbound-rtp") continue;
        rows.push({
          kind: row.kind,
          mid: row.mid ?? null,
          track: row.trackIdentifier ?? null,
          codec: row.codecId ? (stats.get(row.codecId)?.mimeType ?? null) : null,
          packets: row.packetsReceived ?? 0,
          lost: row.packetsLost ?? 0,
          decoded: row.framesDecoded ?? 0,
          energy: row.totalAudioEnergy ?? 0,
        });
      }
    }
    return rows;
  };

  let audio = null;
  const analysers = new Map();
  /** The loudest frequency in a stream's sound, in Hz, and its level in dB; nodes are kept per track. */
  const tone = (stream) => {
    const track = stream?.getAudioTracks()[0];
    if (!track) return null;
    audio ??= new AudioContext();
    if (audio.state !== "running") audio.resume();
    if (!analysers.has(track)) {
      const analyser = audio.createAnalyser();
      analyser.fftSize = 4096;
      analyser.smoothingTimeConstant = 0;
      const source = audio.createMediaStreamSource(new MediaStream([track]));
      source.connect(analyser);
      analysers.set(track, { analyser, source });
    }
    const { analyser } = analysers.get(track);
    const levels = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(levels);
    const best = levels.reduce((top, level, bin) => (level > levels[top] ? bin : top), 1);
    const level = levels[best];
    return { hz: Math.round((best * audio.sampleRate) / analyser.fftSize), level: Number.isFinite(level) ? level : -200 };
  };

  window.probe = { connections, picture, inbound, tone };
}
