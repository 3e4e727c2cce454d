/** Every number that bounds what a peer can make a connection hold or do. */
export interface Http2Limits {
  /** Most streams that the peer may have open at once; announced as SETTINGS_MAX_CONCURRENT_STREAMS. */
  readonly maxConcurrentStreams: number;
  /** Bytes of body that a stream may hold for an owner who has not passed them on. */
  readonly streamWindow: number;
  /** Bytes of body in flight on the whole connection. Credited on receipt, so that it only smooths the pipe. */
  readonly connectionWindow: number;
  /**
   * Most octets of a decoded list of fields, 32 more a field counted (RFC 9113 §6.5.2), and of an encoded one.
   * Default 80 KiB: a head of 64 KiB that passed as HTTP/1.1 must pass here, where a field counts 28 octets
   * more, and the proxies' own fields with it.
   */
  readonly headerListBytes: number;
  /** Most fields of a list, pseudo-headers included. Default 216: an app's 200 and ours. */
  readonly fields: number;
  /** Most CONTINUATION frames of one block. */
  readonly continuations: number;
  /** Queued bytes of a stream beyond which `writeData` answers false. `onWritable` comes at half of it. */
  readonly sendQueueHighWater: number;
  /** Streams that may end badly at once: reset by the client while we work for it, or malformed. */
  readonly resetBurst: number;
  /** …and as many more a second. A stream that ends well earns a quarter of one back. */
  readonly resetsPerSecond: number;
  /** Control frames (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA…) that may come at once. */
  readonly controlBurst: number;
  /** …and as many more a second. A DATA frame that we sent earns four, since it may be answered by updates. */
  readonly controlsPerSecond: number;
  /** Control octets that may wait for a peer that does not read. */
  readonly controlQueueBytes: number;
  /** DATA frames of one stream that may wait for its owner: small ones cost more than their bytes. */
  readonly unconsumedFrames: number;
}

/** The limits of both roles, unless the shell says otherwise. */
export const DEFAULT_LIMITS: Http2Limits = {
  maxConcurrentStreams: 1000,
  streamWindow: 256 * 1024,
  connectionWindow: 16 * 1024 * 1024,
  headerListBytes: 80 * 1024,
  fields: 216,
  continuations: 64,
  sendQueueHighWater: 256 * 1024,
  resetBurst: 200,
  resetsPerSecond: 100,
  controlBurst: 1000,
  controlsPerSecond: 200,
  controlQueueBytes: 64 * 1024,
  unconsumedFrames: 16_384,
};

/** Streams that a client opens at most before the server's SETTINGS have come (RFC 9113 §6.5.2 recommends no less). */
export const STREAMS_BEFORE_SETTINGS = 100;
/** Body bytes of one stream in one turn of output. */
export const STREAM_TURN_BYTES = 64 * 1024;
/** Bytes that `take` gives at most, unless told. */
export const TAKE_BYTES_DEFAULT = 256 * 1024;
/** Interim responses of one stream: to be sent and not yet taken, or received. */
export const INTERIMS_MAX = 16;
/** Streams reset by us whose late frames are still expected. */
export const RECENT_RESETS = 1024;
