// Messages, pings and closes between npm's ws and an echo of ours, with compression and without.
import assert from "node:assert/strict";
import { once } from "node:events";
import WebSocket from "ws";

const [port, compress] = process.argv.slice(2);
const open = async () => {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`, { perMessageDeflate: compress === "yes" });
  await once(socket, "open");
  assert.equal(socket.extensions, compress === "yes" ? "permessage-deflate" : "");
  return socket;
};
const echoed = async (socket, sent, options = {}) => {
  socket.send(sent, options);
  const [data, isBinary] = await once(socket, "message");
  assert.equal(isBinary, typeof sent !== "string");
  assert.ok(Buffer.from(sent).equals(data), `${sent.length} came back as ${data.length}`);
};

const socket = await open();
for (const size of [0, 1, 125, 126, 1000, 65535, 65536, 1 << 20]) {
  await echoed(socket, "ü".repeat(size / 2));
  await echoed(socket, Buffer.alloc(size, 7));
  await echoed(socket, Buffer.from(Array.from({ length: size % 5000 }, () => Math.random() * 256)));
}
socket.send("in ", { fin: false });
socket.ping("between");
socket.send("fragments", { fin: true });
const [[pong], [message]] = await Promise.all([once(socket, "pong"), once(socket, "message")]);
assert.equal(`${pong} ${message}`, "between in fragments");
socket.close(4001, "ende");
const [code] = await once(socket, "close");
assert.equal(code, 4001);

// Many messages at once, of many sockets: each has its own back, in order.
const sockets = await Promise.all(Array.from({ length: 50 }, open));
await Promise.all(sockets.map(async (each, number) => {
  const came = [];
  each.on("message", (data) => came.push(String(data)));
  const sent = Array.from({ length: 100 }, (_, i) => `${number}/${i}/`.repeat(1 + (i % 20)));
  for (const text of sent) each.send(text);
  while (came.length < sent.length) await once(each, "message");
  assert.deepEqual(came, sent);
  each.close();
  assert.equal((await once(each, "close"))[0], 1005);
}));

// What is wrong is answered with a code.
const wrong = await open();
wrong._socket.write(Buffer.from([0x81, 0x01, 0x61])); // not masked
assert.equal((await once(wrong, "close"))[0], 1002);
console.log("all right");
