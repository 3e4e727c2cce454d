/** SETTINGS (RFC 9113 §6.5): what we announce, and what a peer may. */
import {
  FLOW_CONTROL_ERROR,
  FRAME_PAYLOAD_DEFAULT,
  PROTOCOL_ERROR,
  readUint32,
  SETTING_ENABLE_PUSH,
  SETTING_HEADER_TABLE_SIZE,
  SETTING_INITIAL_WINDOW_SIZE,
  SETTING_MAX_CONCURRENT_STREAMS,
  SETTING_MAX_FRAME_SIZE,
  SETTING_MAX_HEADER_LIST_SIZE,
} from "./frames.ts";
import { WINDOW_DEFAULT, WINDOW_MAX } from "./flow.ts";
import { type Http2Limits, STREAMS_BEFORE_SETTINGS } from "./limits.ts";

/** Extended CONNECT (RFC 8441). We announce nothing of it; a peer may only say 0 or 1. */
const SETTING_ENABLE_CONNECT_PROTOCOL = 8;

/** Ours, as id, value, id, value… What is left out keeps its default. */
export function ownSettings(limits: Http2Limits, server: boolean): number[] {
  const role = server ? [SETTING_MAX_CONCURRENT_STREAMS, limits.maxConcurrentStreams] : [SETTING_ENABLE_PUSH, 0];
  return [...role, SETTING_INITIAL_WINDOW_SIZE, limits.streamWindow, SETTING_MAX_HEADER_LIST_SIZE, limits.headerListBytes];
}

/** What the peer has announced so far. */
export class PeerSettings {
  headerTableSize = 4096;
  maxConcurrentStreams = STREAMS_BEFORE_SETTINGS;
  initialWindow = WINDOW_DEFAULT;
  frameMax = FRAME_PAYLOAD_DEFAULT;
  /** The code to end the connection with when `read` found something wrong. */
  problemCode = PROTOCOL_ERROR;

  /**
   * Reads one frame's payload, of whole settings; "" or what is wrong. Only a frame's last value of each
   * counts, so that thousands of window sizes in one frame cost no more than one.
   */
  read(payload: Uint8Array, start: number, end: number, fromServer: boolean, first: boolean): string {
    // A server that says nothing of it sets no limit.
    if (first) this.maxConcurrentStreams = WINDOW_MAX;
    for (let at = start; at < end; at += 6) {
      const id = (payload[at]! << 8) | payload[at + 1]!;
      const problem = this.set(id, readUint32(payload, at + 2), fromServer);
      if (problem !== "") return problem;
    }
    return "";
  }

  private set(id: number, value: number, fromServer: boolean): string {
    this.problemCode = PROTOCOL_ERROR;
    switch (id) {
      case SETTING_HEADER_TABLE_SIZE:
        this.headerTableSize = value;
        return "";
      case SETTING_ENABLE_PUSH:
        return value > (fromServer ? 0 : 1) ? "ENABLE_PUSH that none may set" : "";
      case SETTING_MAX_CONCURRENT_STREAMS:
        this.maxConcurrentStreams = value;
        return "";
      case SETTING_INITIAL_WINDOW_SIZE:
        this.problemCode = FLOW_CONTROL_ERROR;
        if (value > WINDOW_MAX) return "INITIAL_WINDOW_SIZE too large";
        this.initialWindow = value;
        return "";
      case SETTING_MAX_FRAME_SIZE:
        if (value < FRAME_PAYLOAD_DEFAULT || value > 0xff_ffff) return "MAX_FRAME_SIZE out of range";
        this.frameMax = value;
        return "";
      case SETTING_ENABLE_CONNECT_PROTOCOL:
        return value > 1 ? "ENABLE_CONNECT_PROTOCOL out of range" : "";
      default:
        return "";
    }
  }
}
