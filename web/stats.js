/**
 * What a call's media is like, from getStats, in the form of the server's statistics of a participant's media: what both
 * count has the same name in both, so that the two can be laid side by side; what only a browser knows has names of its own.
 */

import { reasonOf } from "./quality.js";

/**
 * @import { Call } from "./call.js"
 * @import { Source } from "./protocol.js"
 */

/**
 * Counters are totals since the connection was made. Missing: not known, or not known yet.
 * @typedef {object} Values of one track
 * @property {string} [codec]
 * @property {number} [bitrate] bit/s of payload in the last second
 * @property {number} [packets] received, or sent; repairs are not in it, but a browser's probes of the link are
 * @property {number} [octets] of their payload
 * @property {number} [lost] packets: those that were missed here, or that the server missed
 * @property {number} [loss] part of the packets that were lost lately, 0 to 1
 * @property {number} [jitter_ms]
 * @property {number} [repaired] packets that were sent again
 * @property {number} [keyframe_requests] that came to us, or that we sent
 * @property {string} [resolution] "1280×720"; from here on a browser's own
 * @property {number} [fps] decoded, or sent
 * @property {number} [target_bitrate] bit/s that the encoder aims at
 * @property {string} [limited_by] why the picture is smaller than it could be: "cpu", "bandwidth", "other"
 * @property {string} [layers] the sizes that are sent at a time, and how they are scalable
 * @property {string} [reason] why the picture is no better, in the words of the page's language
 * @property {number} [nacks] messages that ask for lost packets: sent, or answered by us. The server counts the packets
 * @property {number} [freezes] how often the picture stood still
 * @property {number} [frozen_ms]
 * @property {number} [concealed] part of the sound that was made up, 0 to 1
 */

/** @typedef {{ user_id: string, user_name: string, source: Source }} Origin */
/** @typedef {Origin & Values} UpTrackValues sent by this tab */
/** @typedef {Origin & Values & { mid: string, kind: string, track_id: string | null }} DownTrackValues */

/**
 * @typedef {object} TransportValues what all tracks share
 * @property {number} [round_trip_ms]
 * @property {number} [available_bitrate] bit/s that the link takes, as the browser thinks
 * @property {string} [protocol] "UDP", "TURN udp"
 */

/**
 * @typedef {object} CallValues
 * @property {TransportValues} transport
 * @property {UpTrackValues[]} up_tracks
 * @property {DownTrackValues[]} down_tracks in the order of their owners' arrival
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
    /** @type {Map<Source, Row[]>} */
    const sent = new Map();
    /** @type {DownTrackValues[]} */
    const down = [];
    for (const row of rows.values()) {
      const source = row.type === "outbound-rtp" && row.packetsSent ? this.#call.sentSource(row.mid) : null;
      if (source) sent.set(source, [...(sent.get(source) ?? []), row]);
      else if (row.type === "inbound-rtp") down.push(...this.#received(row, rows));
    }
    const up = [...sent].map(([source, streams]) => this.#sent(source, streams, rows));
    this.#before = rows;
    const order = [...this.#call.roster.participants.keys()];
    down.sort((a, b) => order.indexOf(a.user_id) - order.indexOf(b.user_id) || b.source.localeCompare(a.source));
    return { transport: transportOf(rows), up_tracks: up, down_tracks: down };
  }

  /**
   * @param {Source} source
   * @param {Row[]} streams one for each size that was ever sent: what they count is added up, the rest is that of the largest
   * @param {Map<string, Row>} rows
   * @returns {UpTrackValues}
   */
  #sent(source, streams, rows) {
    const sizes = streams.filter(({ active }) => active !== false).sort((a, b) => (b.frameWidth ?? 0) - (a.frameWidth ?? 0));
    const main = sizes[0] ?? /** @type {Row} */ (streams[0]);
    const remotes = streams.map(({ remoteId }) => rows.get(remoteId));
    const remote = rows.get(main.remoteId);
    return {
      ...this.#origin(this.#call.userId, source),
      ...this.#common(main, rows),
      octets: sum(streams, octets),
      nacks: sum(streams, ({ nackCount }) => nackCount),
      keyframe_requests: main.kind === "video" ? sum(streams, keyframeRequests) : undefined,
      bitrate: sum(streams, (row) => this.#rate(row, (one) => 8 * octets(one))),
      target_bitrate: sum(sizes, ({ targetBitrate }) => targetBitrate),
      limited_by: main.qualityLimitationReason === "none" ? undefined : main.qualityLimitationReason,
      packets: sum(streams, (row) => row.packetsSent - (row.retransmittedPacketsSent ?? 0)),
      lost: sum(remotes, (row) => row?.packetsLost),
      loss: remote?.fractionLost,
      jitter_ms: milliseconds(remote?.jitter),
      repaired: sum(streams, ({ retransmittedPacketsSent }) => retransmittedPacketsSent),
      layers: main.kind === "video" ? layersOf(sizes) : undefined,
    };
  }

  /**
   * @param {Row} row
   * @param {Map<string, Row>} rows
   * @returns {DownTrackValues[]}
   */
  #received(row, rows) {
    const slot = this.#call.roster.slots.get(row.mid);
    if (!slot?.user_id || !slot.source || !row.packetsReceived) return [];
    const received = this.#growth(row, (one) => one.packetsReceived);
    const lost = this.#growth(row, (one) => one.packetsLost);
    return [
      {
        mid: slot.mid,
        kind: row.kind,
        track_id: slot.track_id,
        ...this.#origin(slot.user_id, slot.source),
        ...this.#common(row, rows),
        bitrate: this.#rate(row, (one) => 8 * octets(one)),
        packets: row.packetsReceived - (row.retransmittedPacketsReceived ?? 0),
        lost: row.packetsLost,
        loss: received + lost > 0 ? Math.max(0, lost / (received + lost)) : undefined,
        jitter_ms: milliseconds(row.jitter),
        repaired: row.retransmittedPacketsReceived,
        freezes: row.freezeCount,
        frozen_ms: milliseconds(row.totalFreezesDuration),
        reason: this.#reason(slot.mid, slot.user_id),
        concealed: row.totalSamplesReceived ? row.concealedSamples / row.totalSamplesReceived : undefined,
      },
    ];
  }

  /**
   * @param {string} mid
   * @param {string} userId
   */
  #reason(mid, userId) {
    const quality = this.#call.roster.quality.get(mid);
    return quality && reasonOf(quality, this.#call.roster.participants.get(userId)?.name ?? userId);
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
      octets: octets(row),
      resolution: row.frameWidth ? `${row.frameWidth}×${row.frameHeight}` : undefined,
      fps: row.framesPerSecond ?? (video ? this.#rate(row, (one) => one.framesDecoded ?? one.framesSent) : undefined),
      nacks: row.nackCount,
      keyframe_requests: video ? keyframeRequests(row) : undefined,
    };
  }

  /**
   * @param {string} userId
   * @param {Source} source
   * @returns {Origin}
   */
  #origin(userId, source) {
    return { user_id: userId, user_name: this.#call.roster.participants.get(userId)?.name ?? userId, source };
  }

  /**
   * @param {Row} row
   * @param {(row: Row) => number | undefined} count
   * @returns {number} since the last reading
   */
  #growth(row, count) {
    const before = this.#before.get(row.id);
    return (count(row) ?? 0) - ((before && count(before)) ?? 0);
  }

  /**
   * @param {Row} row
   * @param {(row: Row) => number | undefined} count
   * @returns {number | undefined} per second
   */
  #rate(row, count) {
    const before = this.#before.get(row.id);
    if (!before || row.timestamp <= before.timestamp) return undefined;
    return (1000 * this.#growth(row, count)) / (row.timestamp - before.timestamp);
  }
}

/** @param {Row} row */
function octets(row) {
  return (
    (row.bytesSent ?? row.bytesReceived ?? 0) - (row.retransmittedBytesSent ?? row.retransmittedBytesReceived ?? 0)
  );
}

/** @param {Row} row */
const keyframeRequests = ({ pliCount = 0, firCount = 0 }) => pliCount + firCount;

/**
 * @param {Row[]} sizes the largest first
 * @returns {string} "1280×720 640×360 L1T3"
 */
function layersOf(sizes) {
  const modes = new Set(sizes.map(({ scalabilityMode }) => scalabilityMode).filter(Boolean));
  return [...sizes.filter(({ frameWidth }) => frameWidth).map((row) => `${row.frameWidth}×${row.frameHeight}`), ...modes].join(" ");
}

/**
 * @template T
 * @param {T[]} rows
 * @param {(row: T) => number | undefined} count
 * @returns {number | undefined} undefined when none of them has counted
 */
function sum(rows, count) {
  const counts = rows.map(count).filter((value) => value !== undefined);
  return counts.length > 0 ? counts.reduce((total, value) => total + value, 0) : undefined;
}

/** @param {number | undefined} seconds */
const milliseconds = (seconds) => (seconds === undefined ? undefined : 1000 * seconds);

/**
 * @param {Map<string, Row>} rows
 * @returns {TransportValues}
 */
function transportOf(rows) {
  const all = [...rows.values()];
  const chosen = all.find(({ type }) => type === "transport")?.selectedCandidatePairId;
  // Firefox has no transport row, and says so in the pair.
  const pair = rows.get(chosen) ?? all.find(({ type, selected }) => type === "candidate-pair" && selected);
  const local = rows.get(pair?.localCandidateId);
  return {
    round_trip_ms: milliseconds(pair?.currentRoundTripTime),
    available_bitrate: pair?.availableOutgoingBitrate,
    protocol: local?.candidateType === "relay" ? `TURN ${local.relayProtocol ?? ""}`.trim() : local?.protocol?.toUpperCase(),
  };
}
