// A participant that knows nothing but the documented API: REST join, the WebSocket, join, offer, answer and
// ice-candidate. Written from the document alone, with the perfect negotiation of the WebRTC specification (polite).
window.DocumentedClient = class DocumentedClient {
  /** user_id -> video element that plays what that user sends. */
  remote = new Map();
  problems = [];
  #late = null;

  /** `late`: publish nothing at first, and add the tracks in the middle of answering the server's first offer. */
  static async join({ room, name, codec = null, late = false }) {
    const response = await fetch("/api/room/join", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ room_id: room, user_name: name }),
    });
    if (!response.ok) throw new Error(`join: ${response.status} ${await response.text()}`);
    const client = new DocumentedClient(await response.json());
    const stream = await client.#capture();
    if (late) client.#late = stream;
    else await client.#publish(stream, codec);
    await client.#open(name);
    return client;
  }

  constructor({ room_id: room, user_id: user }) {
    this.room = room;
    this.user = user;
    this.pc = new RTCPeerConnection();
    this.pc.ontrack = ({ track, streams }) => this.#show(track, streams[0]);
  }

  #capture() {
    // Processing would take a steady tone for noise.
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    return navigator.mediaDevices.getUserMedia({ audio, video: { width: 320, height: 180 } });
  }

  #add(stream) {
    for (const track of stream.getTracks()) this.pc.addTrack(track, stream);
  }

  async #publish(stream, codec) {
    this.#add(stream);
    if (codec !== null) {
      const { codecs } = RTCRtpReceiver.getCapabilities("video");
      const wanted = codecs.filter(({ mimeType }) => [`video/${codec}`, "video/rtx"].includes(mimeType));
      this.pc.getTransceivers().find(({ sender }) => sender.track.kind === "video").setCodecPreferences(wanted);
    }
    // The first offer is ready before the server hears of this participant: Chromium 156 now and then gathers for
    // ever when an offer that is some milliseconds old is rolled back.
    await this.pc.setLocalDescription();
  }

  async #open(name) {
    const query = new URLSearchParams({ room_id: this.room, user_id: this.user });
    this.socket = new WebSocket(`ws://${location.host}/ws?${query}`);
    await new Promise((resolve, reject) => {
      this.socket.onopen = resolve;
      this.socket.onerror = () => reject(new Error("the WebSocket did not open"));
    });
    this.socket.onmessage = ({ data }) =>
      this.#receive(JSON.parse(data)).catch((error) => this.problems.push(String(error)));
    this.socket.onclose = ({ code, reason }) => this.problems.push(`closed: ${code} ${reason}`);
    this.pc.onnegotiationneeded = () => this.#offer();
    this.pc.onicecandidate = ({ candidate }) =>
      candidate && this.#send({ type: "ice-candidate", to: "sfu", candidate: candidate.candidate });
    this.#send({ type: "join", user_id: this.user, user_name: name });
    if (!this.#late) this.#sendOffer();
  }

  async #offer() {
    await this.pc.setLocalDescription();
    this.#sendOffer();
  }

  #sendOffer() {
    this.#send({ type: "offer", to: "all", sdp: this.pc.localDescription.sdp });
  }

  async #receive(message) {
    switch (message.type) {
      case "offer":
        // Polite: an offer of our own that is under way is rolled back, and negotiationneeded comes again.
        await this.pc.setRemoteDescription({ type: "offer", sdp: message.sdp });
        if (this.#late) this.#add(this.#late);
        this.#late = null;
        await this.pc.setLocalDescription();
        this.#send({ type: "answer", to: message.from, sdp: this.pc.localDescription.sdp });
        break;
      case "answer":
        await this.pc.setRemoteDescription({ type: "answer", sdp: message.sdp });
        break;
      case "ice-candidate":
        await this.pc.addIceCandidate({ candidate: message.candidate, sdpMLineIndex: 0 });
        break;
      case "error":
        this.problems.push(`${message.code}: ${message.message}`);
        break;
    }
  }

  #show(track, stream) {
    if (!this.remote.has(stream.id)) {
      const video = document.createElement("video");
      video.autoplay = true;
      video.srcObject = stream;
      document.body.append(video);
      this.remote.set(stream.id, video);
    }
  }

  #send(message) {
    this.socket.send(JSON.stringify(message));
  }

  /** What this participant sees and hears now, by user_id. */
  async observe() {
    const people = {};
    for (const [user, video] of this.remote)
      people[user] = { picture: probe.picture(video), tone: probe.tone(video.srcObject) };
    return {
      people,
      inbound: await probe.inbound(),
      problems: this.problems,
      state: this.pc.connectionState,
    };
  }
};
