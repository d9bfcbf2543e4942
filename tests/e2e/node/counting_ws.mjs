// An echo of npm's ws that counts: connections and messages. Any request of HTTP is told how many.
import http from "node:http";
import { WebSocketServer } from "ws";

const counts = { connections: 0, requests: 0 };
const server = http.createServer((_, response) => response.end(JSON.stringify(counts)));
new WebSocketServer({ server }).on("connection", (socket) => {
  counts.connections += 1;
  socket.on("message", (data, isBinary) => {
    counts.requests += 1;
    socket.send(data, { binary: isBinary });
  });
});
server.listen(Number(process.argv[2]), "127.0.0.1", 511);
