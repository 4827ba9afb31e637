// What the real client shows and plays, read from outside by its DOM contract.
window.call = {
  observe() {
    const tiles = [...document.querySelectorAll("[data-participant]")].map((tile) => ({
      user: tile.dataset.participant,
      source: tile.dataset.source,
      muted: tile.dataset.muted === "true",
      camera: tile.dataset.camera === "on",
      name: tile.querySelector(".tile-name")?.textContent ?? null,
      picture: probe.picture(tile.querySelector("video")),
    }));
    const playing = [...document.querySelectorAll("audio")].filter((audio) => !audio.paused && !audio.muted);
    return {
      state: document.querySelector("[data-state]")?.dataset.state ?? null,
      tiles,
      tones: playing.map((audio) => probe.tone(audio.srcObject)),
    };
  },
};
