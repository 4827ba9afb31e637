// A microphone that is heard or gives digital silence, as a test says: what an encoder with discontinuous transmission
// has nothing to send of. The page does not know of it, so nobody is told that it is muted. Loaded before the client.
{
  let microphone = null;
  const native = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (constraints) => {
    const stream = await native(constraints);
    microphone = stream.getAudioTracks()[0] ?? microphone;
    return stream;
  };
  /** Hum, or be silent; returns when, in milliseconds since 1970. */
  const hum = (loud) => {
    microphone.enabled = loud;
    return performance.timeOrigin + performance.now();
  };
  /** When something is heard of what a page plays from now on, in milliseconds since 1970; rejects after 10 s. */
  const heard = () => new Promise((resolve, reject) => {
    const until = performance.now() + 10_000;
    const look = () => {
      const now = performance.now();
      const { tones } = call.observe();
      if (tones.some((tone) => tone && tone.level > -40)) resolve(performance.timeOrigin + now);
      else if (now > until) reject(new Error(`nothing is heard: ${JSON.stringify(tones)}`));
      else setTimeout(look, 10);
    };
    look();
  });
  window.voice = { hum, heard };
}
