/**
 * What a call's media is like, from getStats. The values are called as in the server's statistics, so that both can be laid
 * side by side; what only a browser knows has names of its own.
 */

/**
 * @import { Call } from "./call.js"
 * @import { Source } from "./protocol.js"
 */

/**
 * Counters are totals since the connection was made. Missing: not known, or not known yet.
 * @typedef {object} Values
 * @property {string} [codec]
 * @property {string} [resolution] "1280×720"
 * @property {number} [fps] decoded, or sent
 * @property {number} [bitrate_bps] in the last second
 * @property {number} [target_bps] what the encoder aims at
 * @property {string} [limited_by] why the picture is smaller than it could be: "cpu", "bandwidth", "other"
 * @property {number} [packets] received, or sent
 * @property {number} [lost] packets: those that were missed here, or that the server misses
 * @property {number} [loss_percent] in the last second
 * @property {number} [jitter_ms]
 * @property {number} [round_trip_ms]
 * @property {number} [nacked] requests for lost packets: sent, or answered by us
 * @property {number} [repaired] packets that were sent again
 * @property {number} [keyframe_requests]
 * @property {number} [freezes] how often the picture stood still
 * @property {number} [frozen_ms]
 * @property {number} [concealed_percent] of the sound that was made up
 */

/**
 * @typedef {object} TrackValues
 * @property {string} user_id
 * @property {string} user_name
 * @property {Source} source
 * @property {boolean} own sent by this tab
 * @property {Values} values
 */

/**
 * @typedef {object} CallValues
 * @property {{ round_trip_ms?: number, available_bps?: number, protocol?: string }} path what all tracks share
 * @property {TrackValues[]} tracks own first, then in the order of arrival
 */

/** @typedef {Record<string, any> & { id: string, type: string, timestamp: number }} Row one object of an RTCStatsReport */

/** Reads a call's statistics again and again; rates are those between two readings. */
export class CallStatistics {
  #call;
  /** @type {Map<string, Row>} rows of the last reading by id */
  #before = new Map();

  /** @param {Call} call */
  constructor(call) {
    this.#call = call;
  }

  /** @returns {Promise<CallValues>} */
  async read() {
    const report = await this.#call.stats();
    /** @type {Map<string, Row>} */
    const rows = new Map();
    report?.forEach((row) => rows.set(row.id, row));
    /** @type {TrackValues[]} */
    const own = [];
    /** @type {TrackValues[]} */
    const others = [];
    const path = pathOf(rows);
    for (const row of rows.values()) {
      if (row.type === "outbound-rtp") own.push(...this.#sent(row, rows));
      else if (row.type === "inbound-rtp") others.push(...this.#received(row, rows, path.round_trip_ms));
    }
    this.#before = rows;
    const order = [...this.#call.roster.participants.keys()];
    others.sort((a, b) => order.indexOf(a.user_id) - order.indexOf(b.user_id) || b.source.localeCompare(a.source));
    return { path, tracks: [...own, ...others] };
  }

  /**
   * @param {Row} row
   * @param {Map<string, Row>} rows
   * @returns {TrackValues[]}
   */
  #sent(row, rows) {
    const source = this.#call.sentSource(row.mid);
    if (!source || !row.packetsSent) return [];
    const remote = rows.get(row.remoteId);
    const values = {
      ...this.#common(row, rows),
      bitrate_bps: this.#rate(row, "bytesSent", 8),
      target_bps: row.targetBitrate,
      limited_by: row.qualityLimitationReason === "none" ? undefined : row.qualityLimitationReason,
      packets: row.packetsSent,
      lost: remote?.packetsLost,
      loss_percent: remote?.fractionLost === undefined ? undefined : 100 * remote.fractionLost,
      jitter_ms: milliseconds(remote?.jitter),
      round_trip_ms: milliseconds(remote?.roundTripTime),
      repaired: row.retransmittedPacketsSent,
    };
    return [this.#track(this.#call.userId, source, true, values)];
  }

  /**
   * @param {Row} row
   * @param {Map<string, Row>} rows
   * @param {number | undefined} roundTrip
   * @returns {TrackValues[]}
   */
  #received(row, rows, roundTrip) {
    const slot = this.#call.roster.slots.get(row.mid);
    if (!slot?.user_id || !slot.source || !row.packetsReceived) return [];
    const received = this.#growth(row, "packetsReceived");
    const lost = this.#growth(row, "packetsLost");
    const values = {
      ...this.#common(row, rows),
      bitrate_bps: this.#rate(row, "bytesReceived", 8),
      packets: row.packetsReceived,
      lost: row.packetsLost,
      loss_percent: received + lost > 0 ? Math.max(0, (100 * lost) / (received + lost)) : undefined,
      jitter_ms: milliseconds(row.jitter),
      round_trip_ms: roundTrip,
      repaired: row.retransmittedPacketsReceived,
      freezes: row.freezeCount,
      frozen_ms: milliseconds(row.totalFreezesDuration),
      concealed_percent: row.totalSamplesReceived ? (100 * row.concealedSamples) / row.totalSamplesReceived : undefined,
    };
    return [this.#track(slot.user_id, slot.source, false, values)];
  }

  /**
   * What is called alike in both directions.
   * @param {Row} row
   * @param {Map<string, Row>} rows
   * @returns {Values}
   */
  #common(row, rows) {
    const video = row.kind === "video";
    return {
      codec: rows.get(row.codecId)?.mimeType?.replace(/^.*\//, ""),
      resolution: row.frameWidth ? `${row.frameWidth}×${row.frameHeight}` : undefined,
      fps: row.framesPerSecond ?? (video ? this.#rate(row, row.type === "inbound-rtp" ? "framesDecoded" : "framesSent") : undefined),
      nacked: row.nackCount,
      keyframe_requests: video ? (row.pliCount ?? 0) + (row.firCount ?? 0) : undefined,
    };
  }

  /**
   * @param {string} userId
   * @param {Source} source
   * @param {boolean} own
   * @param {Values} values
   * @returns {TrackValues}
   */
  #track(userId, source, own, values) {
    const name = this.#call.roster.participants.get(userId)?.name ?? userId;
    return { user_id: userId, user_name: name, source, own, values };
  }

  /**
   * @param {Row} row
   * @param {string} counter
   * @returns {number} since the last reading
   */
  #growth(row, counter) {
    return (row[counter] ?? 0) - (this.#before.get(row.id)?.[counter] ?? 0);
  }

  /**
   * @param {Row} row
   * @param {string} counter
   * @param {number} [factor]
   * @returns {number | undefined} per second
   */
  #rate(row, counter, factor = 1) {
    const before = this.#before.get(row.id);
    if (!before || row.timestamp <= before.timestamp) return undefined;
    return (1000 * factor * this.#growth(row, counter)) / (row.timestamp - before.timestamp);
  }
}

/** @param {number | undefined} seconds */
const milliseconds = (seconds) => (seconds === undefined ? undefined : 1000 * seconds);

/**
 * @param {Map<string, Row>} rows
 * @returns {CallValues["path"]}
 */
function pathOf(rows) {
  const all = [...rows.values()];
  const chosen = all.find(({ type }) => type === "transport")?.selectedCandidatePairId;
  // Firefox has no transport row, and says so in the pair.
  const pair = rows.get(chosen) ?? all.find(({ type, selected }) => type === "candidate-pair" && selected);
  const local = rows.get(pair?.localCandidateId);
  return {
    round_trip_ms: milliseconds(pair?.currentRoundTripTime),
    available_bps: pair?.availableOutgoingBitrate,
    protocol: local?.candidateType === "relay" ? `TURN ${local.relayProtocol ?? ""}`.trim() : local?.protocol?.toUpperCase(),
  };
}
