// How long the others' pictures stood still, measured in decoded frames, over all connections that the page makes.
{
  const EVERY_MS = 30;
  let longest = 0;
  let changedAt = 0;
  let decoded = "";
  let timer = null;

  const look = async () => {
    const rows = await probe.inbound();
    const now = performance.now();
    const seen = rows.filter(({ kind }) => kind === "video").map(({ decoded: frames }) => frames).join();
    const wasFrozen = now - changedAt;
    if (seen !== decoded && seen !== "") {
      longest = Math.max(longest, wasFrozen);
      changedAt = now;
    }
    decoded = seen;
    timer = setTimeout(look, EVERY_MS);
  };

  window.interruptions = {
    /** Forget what was, and watch from now on. */
    watch() {
      clearTimeout(timer);
      longest = 0;
      changedAt = performance.now();
      look();
    },
    /** The longest time without a new frame in ms, the one that goes on included. */
    longest: () => Math.round(Math.max(longest, performance.now() - changedAt)),
    /** What tells one ICE session from another. */
    ufrag: () => /a=ice-ufrag:(\S+)/.exec(probe.connections.at(-1).currentLocalDescription.sdp)[1],
    /** What the page says about itself. */
    state: () => ({
      connection: document.getElementById("app").dataset.connection,
      notices: [...document.querySelectorAll("[data-notice]")].map((notice) => notice.dataset.notice),
      peers: probe.connections.length,
      peer: probe.connections.at(-1).connectionState,
    }),
  };
}
