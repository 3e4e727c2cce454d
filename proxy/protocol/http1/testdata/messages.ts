/** Wire bytes both well-formed and not, for tests that hold for every message. */

const lines = (...all: string[]): string => `${all.join("\r\n")}\r\n`;

/** Name and octets (latin1) of what a client sends on one connection. */
export const REQUESTS: readonly (readonly [string, string])[] = [
  ["a plain GET", lines("GET / HTTP/1.1", "Host: a", "")],
  ["a GET with fields", lines("GET /p?q=1 HTTP/1.1", "Host: a.b:80", "Accept: */*", "X-Empty:", "X-Pad: \t v w \t", "")],
  ["two empty lines first", `\r\n\r\n${lines("GET / HTTP/1.1", "Host: a", "")}`],
  ["a POST with a length", `${lines("POST /x HTTP/1.1", "Host: a", "Content-Length: 5", "")}hello`],
  ["a POST of nothing", lines("POST /x HTTP/1.1", "Host: a", "Content-Length: 0", "")],
  ["a chunked POST", `${lines("POST /x HTTP/1.1", "Host: a", "Transfer-Encoding: Chunked", "")}3\r\nabc\r\n00a\r\n0123456789\r\n0\r\n\r\n`],
  ["chunk extensions", `${lines("PUT /x HTTP/1.1", "Host: a", "transfer-encoding: chunked", "")}3;a;b=c;d="e \\" f"\r\nabc\r\n0;z\r\n\r\n`],
  ["trailers", `${lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "")}1\r\nx\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\n`],
  ["forbidden trailers only", `${lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "")}0\r\nAuthorization: x\r\n\r\n`],
  [
    "a pipeline",
    `${lines("GET /1 HTTP/1.1", "Host: a", "")}${lines("POST /2 HTTP/1.1", "Host: a", "Content-Length: 2", "")}ok${lines("GET /3 HTTP/1.1", "Host: a", "")}`,
  ],
  ["HTTP/1.0 without Host", lines("GET / HTTP/1.0", "")],
  ["HTTP/1.0 kept alive", lines("GET / HTTP/1.0", "Host: a", "Connection: Keep-Alive", "")],
  ["an absolute target", lines("GET http://b:81/x?y HTTP/1.1", "Host: a", "")],
  ["an expectation", `${lines("POST / HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 1", "")}x`],
  ["connection options", lines("GET / HTTP/1.1", "Host: a", "Connection: x-a, close, cookie", "X-A: 1", "X-B: 2", "Cookie: c", "TE: trailers", "")],
  ["OPTIONS *", lines("OPTIONS * HTTP/1.1", "Host: a", "")],
  ["an upgrade", lines("GET /ws HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: websocket", "")],
  ["octets above 0x7f", lines("GET /\xe9 HTTP/1.1", "Host: a", "X: \xff\x80", "")],
  ["a length and a coding", `${lines("POST / HTTP/1.1", "Host: a", "Content-Length: 3", "Transfer-Encoding: chunked", "")}0\r\n\r\n`],
  ["a bare LF", "GET / HTTP/1.1\nHost: a\n\n"],
  ["a bare CR", lines("GET / HTTP/1.1", "Host: a\rX: y", "")],
  ["a bad method, and NUL later", lines("G(T / HTTP/1.1", "Host: a\x00", "")],
  ["a NUL, and a bad version later", lines("GET /\x00 HTTP/9.1", "Host: a", "")],
  ["obs-fold", lines("GET / HTTP/1.1", "Host: a", "X: y", " z", "")],
  ["a TLS ClientHello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"],
  ["a bad chunk size", `${lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "")}+5\r\nhello\r\n0\r\n\r\n`],
  ["chunk data too long", `${lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "")}2\r\nabc\r\n0\r\n\r\n`],
  ["a bad trailer", `${lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "")}0\r\nX : 1\r\n\r\n`],
  ["too many empty lines", "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"],
  ["a cut head", "GET / HTTP/1.1\r\nHost"],
  ["a cut body", `${lines("POST / HTTP/1.1", "Host: a", "Content-Length: 9", "")}hello`],
];

/** Name, method of the request, whether it asked for an upgrade, and what the server sends until it closes. */
export const RESPONSES: readonly (readonly [string, string, boolean, string])[] = [
  ["a length", "GET", false, `${lines("HTTP/1.1 200 OK", "Content-Length: 5", "X-A: b", "")}hello`],
  ["no reason", "GET", false, lines("HTTP/1.1 200 ", "Content-Length: 0", "")],
  ["no reason and no space", "GET", false, lines("HTTP/1.1 200", "Content-Length: 0", "")],
  ["chunks and trailers", "GET", false, `${lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "")}5\r\nhello\r\n0\r\nGrpc-Status: 0\r\n\r\n`],
  ["until close", "GET", false, `${lines("HTTP/1.1 200 OK", "")}all of this`],
  ["HTTP/1.0 until close", "GET", false, `${lines("HTTP/1.0 200 OK", "Connection: keep-alive", "")}x`],
  ["HEAD", "HEAD", false, lines("HTTP/1.1 200 OK", "Content-Length: 500", "")],
  ["304", "GET", false, lines("HTTP/1.1 304 Not Modified", "Content-Length: 500", "ETag: x", "")],
  ["204", "GET", false, lines("HTTP/1.1 204 No Content", "Content-Length: 0", "")],
  ["interim responses", "POST", false, `${lines("HTTP/1.1 100 Continue", "")}${lines("HTTP/1.1 103", "Link: x", "")}${lines("HTTP/1.1 200 OK", "Content-Length: 0", "")}`],
  ["a switch", "GET", true, `${lines("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: ws", "")}`],
  ["a switch nobody asked for", "GET", false, lines("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: ws", "")],
  ["unsolicited bytes", "GET", false, `${lines("HTTP/1.1 200 OK", "Content-Length: 0", "")}HTTP/1.1 200 OK\r\n`],
  ["a length and a coding", "GET", false, lines("HTTP/1.1 200 OK", "Content-Length: 5", "Transfer-Encoding: chunked", "")],
  ["a cut body", "GET", false, `${lines("HTTP/1.1 200 OK", "Content-Length: 6", "")}hello`],
  ["a cut chunk", "GET", false, `${lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "")}5\r\nhel`],
  ["nothing", "GET", false, ""],
  ["HTTP/2", "GET", false, lines("HTTP/2.0 200 OK", "")],
  ["a status of two digits", "GET", false, lines("HTTP/1.1 20 OK", "")],
];
