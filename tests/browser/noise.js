// A camera of 640x360 and 15 frames/s that is hard to encode, in place of the browser's own: squares, a tenth of which
// change with each frame. For Firefox, whose fake camera is plain and cannot play a file.
{
  const small = document.createElement("canvas");
  const large = document.createElement("canvas");
  [small.width, small.height, large.width, large.height] = [80, 45, 640, 360];
  const source = small.getContext("2d");
  const target = large.getContext("2d");
  target.imageSmoothingEnabled = false;
  const squares = source.createImageData(small.width, small.height);
  squares.data.fill(255);
  const draw = () => {
    for (let i = 0; i < squares.data.length; i += 4) {
      if (Math.random() < 0.1) squares.data.fill(Math.random() * 256, i, i + 3);
    }
    source.putImageData(squares, 0, 0);
    target.drawImage(small, 0, 0, large.width, large.height);
  };
  const native = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (constraints) => {
    const stream = await native(constraints);
    const camera = stream.getVideoTracks()[0];
    if (camera) {
      stream.removeTrack(camera);
      camera.stop();
      draw();
      setInterval(draw, 1000 / 15);
      stream.addTrack(large.captureStream(15).getVideoTracks()[0]);
    }
    return stream;
  };
}
