// A page that is many members of a room, each with a camera that sees a colour of its own, and nothing to receive.
window.cameras = {
  async enter(room, people) {
    const { Signaling } = await import("/static/signaling.js");
    window.members = people.map(({ name, colour }) => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [160, 96];
      const context = canvas.getContext("2d");
      let ticks = 0;
      setInterval(() => {
        context.fillStyle = `rgb(${colour})`;
        context.fillRect(0, 0, 160, 96);
        context.fillStyle = "white";
        context.fillRect((ticks++ % 14) * 10, 72, 14, 14);
      }, 120);
      const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
      pc.addTransceiver(canvas.captureStream(8).getVideoTracks()[0], { direction: "sendonly" });
      const offer = async () => {
        await pc.setLocalDescription();
        member.send({ type: "offer", to: "sfu", sdp: pc.localDescription.sdp, sources: { [pc.getTransceivers()[0].mid]: "camera" } });
      };
      const member = new Signaling(room, name, {
        onOpen: (user_id) => member.send({ type: "join", user_id, user_name: name, delivery: "slots" }),
        onMessage: async ({ type, sdp }) => {
          if (type === "room-state") await offer();
          if (type === "answer") await pc.setRemoteDescription({ type, sdp });
        },
        onWaiting() {},
        onEnd: (reason) => console.error("ended", reason),
      });
      member.start(null);
      return { member, pc };
    });
  },
};
