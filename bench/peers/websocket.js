// The package ws of npm, as its documentation shows it. Usage: websocket.js PORT echo|broadcast
const { WebSocketServer, WebSocket } = require('ws');

const [port, task] = [Number(process.argv[2]), process.argv[3]];
const server = new WebSocketServer({
  host: '127.0.0.1', port, backlog: 65535, perMessageDeflate: false, clientTracking: task === 'broadcast',
});

server.on('connection', (socket) => {
  socket.on('error', () => {});
  if (task === 'echo') {
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    return;
  }
  socket.on('message', (data, isBinary) => {
    for (const client of server.clients) {
      if (client.readyState === WebSocket.OPEN) client.send(data, { binary: isBinary });
    }
  });
});
