// What a page's connection has counted, and when pictures of others first come. Loaded after call.js.
{
  /** Counters of the live connection: what is sent and what is received, rows that carry nothing left out. */
  const counters = async () => {
    const live = probe.connections.filter((one) => one.connectionState === "connected").at(-1);
    if (!live) return { at: performance.now() / 1000, sent: [], received: [], available: null };
    const stats = [...(await live.getStats()).values()];
    const encodings = live.getSenders().flatMap((sender) =>
      sender.getParameters().encodings.map((encoding) => ({ ...encoding, kind: sender.track?.kind })));
    const encodingOf = (row) => encodings.find(({ kind, rid }) => kind === row.kind && (rid ?? null) === (row.rid ?? null));
    return {
      at: performance.now() / 1000,
      sent: stats
        .filter((row) => row.type === "outbound-rtp" && row.packetsSent > 0)
        .map((row) => ({ ...row, wanted: encodingOf(row)?.active ?? true, limit: encodingOf(row)?.maxBitrate ?? null })),
      received: stats.filter((row) => row.type === "inbound-rtp" && row.packetsReceived > 0),
      available: stats.find((row) => row.type === "candidate-pair" && row.availableOutgoingBitrate)?.availableOutgoingBitrate ?? null,
    };
  };

  let started = 0;
  let pictureAt = null;
  /** Watch for the first picture in somebody else's camera tile; time runs from now. */
  const watch = () => {
    started = performance.now();
    pictureAt = null;
    const watched = new WeakSet();
    const timer = setInterval(() => {
      for (const video of document.querySelectorAll("[data-participant]:not(.tile-local)[data-source=camera] video")) {
        if (watched.has(video)) continue;
        watched.add(video);
        video.requestVideoFrameCallback(() => {
          pictureAt ??= performance.now();
          clearInterval(timer);
        });
      }
    }, 5);
  };

  window.measure = {
    counters,
    watch,
    /** Seconds from `watch` to the first picture, null while there is none. */
    firstPicture: () => (pictureAt === null ? null : (pictureAt - started) / 1000),
  };
}
