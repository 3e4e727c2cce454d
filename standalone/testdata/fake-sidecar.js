// A sidecar without a mesh, for tests of the runner: ready at once, passes TCP through, counts nothing.
import fs from "node:fs";
import http from "node:http";
import net from "node:net";

const bootstrap = JSON.parse(fs.readFileSync(process.argv[process.argv.indexOf("--bootstrap") + 1], "utf8"));
const metrics = `# TYPE http_client_request_duration_seconds histogram
http_client_request_duration_seconds_bucket{server_address="web.shop",server_port="80",weft_route="",weft_subset="v1",weft_peer="spiffe://cluster.local/ns/shop/sa/web",weft_tls="mtls",http_request_method="GET",http_response_status_code="200",error_type="",le="0.001"} 1
http_client_request_duration_seconds_bucket{server_address="web.shop",server_port="80",weft_route="",weft_subset="v1",weft_peer="spiffe://cluster.local/ns/shop/sa/web",weft_tls="mtls",http_request_method="GET",http_response_status_code="200",error_type="",le="+Inf"} 1
http_client_request_duration_seconds_count{server_address="web.shop",server_port="80",weft_route="",weft_subset="v1",weft_peer="spiffe://cluster.local/ns/shop/sa/web",weft_tls="mtls",http_request_method="GET",http_response_status_code="200",error_type=""} 1
`;
http
  .createServer((request, response) => response.end(request.url === "/metrics" && bootstrap.outbound.length > 0 ? metrics : "ok"))
  .listen(bootstrap.adminPort, bootstrap.podAddress);
http.createServer((request, response) => response.end(`${request.method} ${request.url}`)).listen(bootstrap.adminSocket);
for (const { port, appPort } of bootstrap.inbound) {
  net
    .createServer((socket) => {
      const app = net.connect(appPort, bootstrap.appAddress);
      socket.pipe(app).pipe(socket);
      socket.on("error", () => app.destroy());
      app.on("error", () => socket.destroy());
    })
    .listen(port, bootstrap.podAddress);
}
