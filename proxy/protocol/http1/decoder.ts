/** The two decoders of a HTTP/1.1 connection: requests of a client, responses of a server. */
export { EVENT, Http1Decoder, type Http1Error } from "./message.ts";
export { RequestDecoder } from "./request.ts";
export { ResponseDecoder } from "./response.ts";
