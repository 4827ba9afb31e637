/**
 * @import { Call } from "./call.js"
 * @import { LocalMedia } from "./media.js"
 * @import { Participant } from "./roster.js"
 * @import { TileModel } from "./ui/tile.js"
 */

/** One's own pictures: video elements of the page itself, nothing travels. */
export class LocalPictures {
  /** @type {Map<string, HTMLVideoElement>} */
  #videos = new Map();

  /**
   * @param {"camera" | "screen"} source
   * @param {MediaStreamTrack | null} track
   * @returns {HTMLVideoElement | null}
   */
  show(source, track) {
    let video = this.#videos.get(source);
    const shown = video?.srcObject instanceof MediaStream ? video.srcObject.getVideoTracks()[0] : null;
    if (!track) {
      if (video) video.srcObject = null;
      return null;
    }
    if (!video) {
      video = document.createElement("video");
      video.muted = video.autoplay = video.playsInline = true;
      this.#videos.set(source, video);
    }
    if (shown !== track) video.srcObject = new MediaStream([track]);
    return video;
  }

  clear() {
    for (const video of this.#videos.values()) video.srcObject = null;
  }
}

/**
 * What the stage shows, in the order of arrival and oneself last. Starts and stops playing what the slots carry on the way.
 * @param {Call} call
 * @param {LocalMedia} media
 * @param {LocalPictures} pictures
 * @returns {TileModel[]}
 */
export function buildTiles(call, media, pictures) {
  playSound(call);
  /** @type {TileModel[]} */
  const tiles = [];
  const own = call.roster.participants.get(call.userId);
  for (const participant of call.roster.participants.values()) {
    if (participant !== own) tiles.push(...remoteTiles(call, participant));
  }
  if (!own) return tiles;
  const cameraOn = media.isOn("camera");
  const mine = { userId: own.userId, name: own.name, isLocal: true, online: true };
  tiles.push({
    ...mine,
    key: `${own.userId}/camera`,
    source: "camera",
    isMain: true,
    muted: !media.isOn("microphone"),
    cameraOn,
    unsupported: false,
    trackId: null,
    quality: null,
    video: pictures.show("camera", cameraOn ? media.tracks.camera : null),
  });
  const screen = pictures.show("screen", call.screen.stream?.getVideoTracks()[0] ?? null);
  if (screen) {
    tiles.push({
      ...mine,
      key: `${own.userId}/screen`,
      source: "screen",
      isMain: false,
      muted: false,
      cameraOn: true,
      unsupported: false,
      trackId: null,
      quality: null,
      video: screen,
    });
  }
  return tiles;
}

/**
 * @param {Call} call
 * @param {Participant} participant
 * @returns {TileModel[]} its camera, whether it has one or not, and whatever else it shows
 */
function remoteTiles(call, participant) {
  const tracks = [...participant.tracks.values()];
  const pictures = tracks.filter(({ source }) => source === "camera" || source === "screen");
  const camera = pictures.find(({ source }) => source === "camera");
  const microphones = tracks.filter(({ source }) => source === "microphone");
  const { userId, name, online } = participant;
  const base = { userId, name, online, isLocal: false };
  /** @type {TileModel[]} */
  const tiles = [
    {
      ...base,
      key: `${userId}/camera`,
      source: "camera",
      isMain: true,
      muted: microphones.every(({ muted }) => muted),
      cameraOn: camera !== undefined && !camera.muted,
      unsupported: camera !== undefined && !camera.muted && call.roster.isUnsupported(userId, camera.track_id),
      trackId: camera?.track_id ?? null,
      quality: camera ? qualityOf(call, userId, camera.track_id) : null,
      video: camera ? playPicture(call, userId, camera.track_id, camera.muted) : null,
    },
  ];
  for (const { track_id, source, muted } of pictures) {
    if (track_id === camera?.track_id) continue;
    tiles.push({
      ...base,
      key: `${userId}/${track_id}`,
      source: source === "screen" ? "screen" : "camera",
      isMain: false,
      muted: false,
      cameraOn: !muted,
      unsupported: !muted && call.roster.isUnsupported(userId, track_id),
      trackId: track_id,
      quality: qualityOf(call, userId, track_id),
      video: playPicture(call, userId, track_id, muted),
    });
  }
  return tiles;
}

/**
 * @param {Call} call
 * @param {string} userId
 * @param {string} trackId
 * @param {boolean} muted
 * @returns {HTMLVideoElement | null} null when no slot carries it now
 */
function playPicture(call, userId, trackId, muted) {
  const mid = call.roster.midOf(userId, trackId);
  const receiver = mid === null ? null : call.receiver(mid);
  if (mid === null || receiver?.track.kind !== "video") return null;
  const element = call.playback.play(mid, receiver, muted ? null : `${userId}/${trackId}`);
  return element instanceof HTMLVideoElement && !muted ? element : null;
}

/**
 * @param {Call} call
 * @param {string} userId
 * @param {string} trackId
 */
function qualityOf({ roster }, userId, trackId) {
  return roster.quality.get(roster.midOf(userId, trackId) ?? "") ?? null;
}

/** @param {Call} call */
function playSound(call) {
  for (const slot of call.roster.slots.values()) {
    const receiver = call.receiver(slot.mid);
    // Once attached it stays so: a slot without a track is silent.
    if (receiver?.track.kind === "audio") call.playback.play(slot.mid, receiver, "sound");
  }
}
