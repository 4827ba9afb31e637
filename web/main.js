import { CallScreen } from "./call-screen.js";
import { setLanguage, t } from "./i18n/index.js";
import { LocalMedia } from "./media.js";
import { roomIdOfPath } from "./room-code.js";
import { loadCall, loadPreferences, parseQuery } from "./settings.js";
import { showEnd } from "./ui/end.js";
import { showHome } from "./ui/home.js";
import { Prejoin } from "./ui/prejoin.js";

/**
 * @import { Identity } from "./api.js"
 * @import { Ending } from "./ui/end.js"
 */

/**
 * Which page is shown: start page, the page before a call, the call, the page after it.
 *
 * What tests and style sheets may rely on in the page (query parameters: see settings.js):
 *   #app[data-state=home|prejoin|call|ended|error]
 *   #app[data-connection=connecting|connected|reconnecting|unreachable]   in the call
 *   #app[data-media=flows|none]   in the call
 *   #app[data-ending=left|replaced|room-full|server-full|invalid|refused|unsupported]   after it
 *   [data-participant=USER_ID][data-source=camera|screen]   a tile: [data-muted=true|false], [data-camera=on|off],
 *     [data-video=playing|none], [data-online=true|false], [data-problem=none|codec], the name in .tile-name;
 *     [data-place=small|pinned|large|speaker], [data-paused=true|false]: the link is too thin, .tile-pin,
 *     .tile-quality[data-reason=REASON][data-bars=0..3] with the reason in words in .tile-quality-text;
 *     on cameras [data-speaking=true|false]: is audible, [data-dominant=true|false]: has the floor; the participant's own
 *     tiles have the class tile-local
 *   #new-call #code #enter-code   #name #join   #toggle-microphone #toggle-camera (aria-pressed: on)
 *   .stage[data-layout=grid|focus], #page-previous #page-next #page   #layout (aria-pressed: speaker view)
 *   #share-screen (aria-pressed: shared) #copy-link #settings #leave   #again
 *   #show-statistics #statistics   in it [data-stats-transport] [data-stats-track="USER_ID/SOURCE"], in these
 *     [data-stat=NAME] (names: stats.js)
 *   [data-notice=reconnecting|unreachable|playback|refused|screen|device|problem-both|problem-camera|problem-microphone]
 */

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
const query = parseQuery(location.search);
const roomId = roomIdOfPath(location.pathname);

setLanguage(loadPreferences().language);
if (roomId === null) showHome(root);
else if (!("RTCPeerConnection" in window) || !("addTransceiver" in RTCPeerConnection.prototype)) end("unsupported", "");
else enter(roomId);

/**
 * Go to a call: straight into it after a reload or by the address's wish, else by the prejoin page.
 * @param {string} room
 */
function enter(room) {
  const kept = loadCall(room);
  const media = openMedia(kept);
  const name = query.name ?? kept?.name ?? loadPreferences().name;
  if (kept || query.joinNow) {
    void media.start();
    call(room, name || t("name.guest"), kept?.identity ?? null, media);
    return;
  }
  const { speakerId } = loadPreferences();
  const prejoin = new Prejoin(root, {
    roomId: room,
    name,
    speakerId,
    media,
    onJoin: (chosen) => {
      prejoin.close();
      call(room, chosen, null, media);
    },
  });
}

/**
 * @param {string} room
 * @param {string} name
 * @param {Identity | null} kept
 * @param {LocalMedia} media
 */
function call(room, name, kept, media) {
  new CallScreen({
    root,
    roomId: room,
    name,
    kept,
    codec: query.codec ?? loadPreferences().codec,
    media,
    onEnd: (reason, detail, identity) => {
      media.close();
      // Taken over by another tab: this one may take it back, as the same participant.
      const same = reason === "replaced" ? identity : null;
      end(reason, detail, () => again(room, name, same, media.options));
    },
  });
}

/**
 * Join once more, with microphone and camera as they were.
 * @param {string} room
 * @param {string} name
 * @param {Identity | null} kept
 * @param {{ microphoneOn: boolean, cameraOn: boolean }} before
 */
function again(room, name, kept, before) {
  const media = openMedia(before);
  void media.start();
  delete root.dataset.ending;
  call(room, name, kept, media);
}

/** @param {{ microphoneOn: boolean, cameraOn: boolean } | null} kept */
function openMedia(kept) {
  const preferences = loadPreferences();
  const { microphoneId, cameraId } = preferences;
  return new LocalMedia({
    microphoneOn: kept?.microphoneOn ?? query.microphoneOn ?? preferences.microphoneOn,
    cameraOn: kept?.cameraOn ?? query.cameraOn ?? preferences.cameraOn,
    microphoneId,
    cameraId,
    originalSound: query.originalSound || preferences.originalSound,
    cameraHeight: query.cameraHeight ?? preferences.cameraHeight,
  });
}

/**
 * @param {Ending} ending
 * @param {string} detail
 * @param {() => void} [onAgain]
 */
function end(ending, detail, onAgain = () => undefined) {
  showEnd(root, ending, detail, onAgain);
}
