/** What the browser lets us open: constraints, the reasons why it does not, and the lists of devices. */

/** @typedef {"microphone" | "camera"} Input */

/**
 * Why there is no picture or sound of one's own.
 * denied: the person or a policy said no · not-found: no such device · busy: another program has it · insecure: the page
 * did not come over https · lost: unplugged or taken away · silenced: open, but the system lets nothing through (a phone
 * call, a switch on the device, another program) · failed: anything else
 * @typedef {"denied" | "not-found" | "busy" | "insecure" | "lost" | "silenced" | "failed"} MediaProblem
 */

/**
 * @typedef {object} DeviceLists
 * @property {MediaDeviceInfo[]} microphones
 * @property {MediaDeviceInfo[]} cameras
 * @property {MediaDeviceInfo[]} speakers empty where the browser cannot choose one
 */

/** @type {Record<string, MediaProblem>} by name of the DOMException that getUserMedia rejects with */
const PROBLEM_BY_NAME = {
  NotAllowedError: "denied",
  SecurityError: "denied",
  NotFoundError: "not-found",
  DevicesNotFoundError: "not-found",
  OverconstrainedError: "not-found",
  NotReadableError: "busy",
  TrackStartError: "busy",
  AbortError: "busy",
};

/**
 * @param {unknown} error
 * @returns {MediaProblem}
 */
export function problemOf(error) {
  return (error instanceof Error && PROBLEM_BY_NAME[error.name]) || "failed";
}

/** Browsers show devices to secure pages only; elsewhere `mediaDevices` does not exist. */
export const canCapture = () => window.isSecureContext && navigator.mediaDevices !== undefined;
export const canShareScreen = () => canCapture() && "getDisplayMedia" in navigator.mediaDevices;
export const canChooseSpeaker = () => "setSinkId" in HTMLMediaElement.prototype;

/**
 * @param {string} deviceId this and no other; "": whichever the browser likes
 * @param {boolean} original without the browser's processing, for music and for measurements
 * @returns {MediaTrackConstraints}
 */
export function microphoneConstraints(deviceId, original) {
  return {
    ...(deviceId && { deviceId: { exact: deviceId } }),
    echoCancellation: !original,
    noiseSuppression: !original,
    autoGainControl: !original,
  };
}

/**
 * @param {string} deviceId this and no other; "": the one that faces the person
 * @param {number} height lines
 * @returns {MediaTrackConstraints}
 */
export function cameraConstraints(deviceId, height) {
  return {
    ...(deviceId ? { deviceId: { exact: deviceId } } : { facingMode: { ideal: "user" } }),
    width: { ideal: Math.round((height * 16) / 9) },
    height: { ideal: height },
    frameRate: { ideal: 30, max: 30 },
  };
}

/**
 * Follow the permission for a device, where the browser tells about it.
 * @param {Input} input
 * @param {(state: PermissionState) => void} onChange
 */
export async function watchPermission(input, onChange) {
  try {
    const status = await navigator.permissions.query({ name: input });
    status.onchange = () => onChange(status.state);
  } catch (error) {
    console.info("permissions:", error); // an older browser does not know these names
  }
}

/** @returns {Promise<DeviceLists>} devices without an id (no permission yet) are left out */
export async function listDevices() {
  const all = canCapture() ? await navigator.mediaDevices.enumerateDevices().catch(() => []) : [];
  /** @param {MediaDeviceKind} kind */
  const of = (kind) => all.filter((device) => device.kind === kind && device.deviceId !== "");
  return {
    microphones: of("audioinput"),
    cameras: of("videoinput"),
    speakers: canChooseSpeaker() ? of("audiooutput") : [],
  };
}
