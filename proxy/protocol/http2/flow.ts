/** Flow-control windows (RFC 9113 §5.2, §6.9). Plain numbers on the stream and the connection: no object a window. */

/** No window may grow beyond it. */
export const WINDOW_MAX = 0x7fff_ffff;

/** Every window before SETTINGS or WINDOW_UPDATE say otherwise. */
export const WINDOW_DEFAULT = 65_535;

/**
 * Whether bytes given back to a peer are worth a WINDOW_UPDATE now: from half a window on. Smaller updates cost
 * more frames than they help; larger ones would let the peer run dry.
 */
export function worthAnnouncing(givenBack: number, window: number): boolean {
  return givenBack * 2 >= window;
}
