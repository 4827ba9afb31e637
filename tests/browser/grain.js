// A camera of 1280x720 and 12 frames/s, in place of the browser's own: grain over grey, which takes whatever bitrate
// there is and is a picture at any. For Firefox, whose fake camera is plain and cannot play a file.
{
  const grain = document.createElement("canvas");
  const camera = document.createElement("canvas");
  [grain.width, grain.height, camera.width, camera.height] = [1280, 720, 1280, 720];
  const pixels = grain.getContext("2d").createImageData(grain.width, grain.height);
  for (let i = 0; i < pixels.data.length; i += 4) {
    pixels.data.fill(128 + 40 * (Math.random() + Math.random() - 1), i, i + 3);
    pixels.data[i + 3] = 255;
  }
  grain.getContext("2d").putImageData(pixels, 0, 0);
  const target = camera.getContext("2d");
  const draw = () => {
    const x = Math.floor(Math.random() * grain.width);
    const y = Math.floor(Math.random() * grain.height);
    for (const left of [x, x - grain.width]) {
      for (const top of [y, y - grain.height]) target.drawImage(grain, left, top);
    }
  };
  const native = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (constraints) => {
    const stream = await native(constraints);
    const [plain] = stream.getVideoTracks();
    if (plain) {
      stream.removeTrack(plain);
      plain.stop();
      draw();
      setInterval(draw, 1000 / 12);
      stream.addTrack(camera.captureStream(12).getVideoTracks()[0]);
    }
    return stream;
  };
}
