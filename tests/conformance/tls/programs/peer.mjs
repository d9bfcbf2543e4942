// Node's tls as a client and as a server: as peer.go. Arguments: a mode, and options as JSON.
import { createServer as createHttps } from "node:https";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect, createServer } from "node:tls";

const [mode, words] = process.argv.slice(2);
const asked = JSON.parse(words);
const SIZES = [1, 100, 16383, 16384, 16385, 100000];

const read = (name) => (asked[name] ? readFileSync(asked[name]) : undefined);
const options = {
  ca: read("ca"),
  cert: read("cert"),
  key: read("key"),
  ciphers: asked.cipher,
  minVersion: asked.version,
  maxVersion: asked.version,
};

function fail(why) {
  console.log(`failed: ${why}`);
  process.exit(1);
}

async function client(session) {
  const place = { host: "127.0.0.1", port: asked.port, servername: "localhost" };
  const socket = connect({ ...options, ...place, session, allowHalfOpen: true });
  socket.on("error", (error) => fail(error.message));
  let kept;
  socket.on("session", (made) => (kept = made));
  let came = Buffer.alloc(0);
  let wake = () => {};
  let ended = false;
  socket.on("data", (piece) => ((came = Buffer.concat([came, piece])), wake()));
  socket.on("end", () => ((ended = true), wake()));
  await new Promise((resolve) => socket.once("secureConnect", resolve));
  const [isReused, { name }] = [socket.isSessionReused(), socket.getCipher()];
  for (const size of SIZES) {
    const sent = randomBytes(size);
    socket.write(sent);
    while (came.length < size && !ended) await new Promise((resolve) => (wake = resolve));
    if (!came.equals(sent)) fail(`an echo of ${size} bytes is another`);
    came = Buffer.alloc(0);
  }
  socket.end();
  while (!ended) await new Promise((resolve) => (wake = resolve));
  if (came.length) fail("more came");
  return { isReused, name, kept };
}

async function beClient() {
  let found = await client();
  if (asked.resume) found = await client(found.kept);
  console.log(`good ${found.name} ${found.isReused}`);
  process.exit(0);
}

function beServer() {
  const asks = { requestCert: Boolean(asked.ask), rejectUnauthorized: Boolean(asked.ask) };
  const server = createServer({ ...options, ...asks, allowHalfOpen: true });
  const counts = { good: 0, cut: 0, refused: 0, resumed: 0 };
  server.on("tlsClientError", () => (counts.refused += 1));
  server.on("secureConnection", (socket) => {
    counts.resumed += Number(socket.isSessionReused());
    socket.on("error", () => (counts.cut += 1));
    socket.on("end", () => ((counts.good += 1), socket.end()));
    socket.pipe(socket, { end: false });
  });
  listen(server, counts);
}

// A stream of events, each the same, to whoever asks.
function beEvents() {
  const server = createHttps(options, (request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    const timer = setInterval(() => response.write("data: tick\n\n"), 50);
    response.on("close", () => clearInterval(timer));
  });
  listen(server, {});
}

function listen(server, counts) {
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));
  process.stdin.resume();
  process.stdin.on("end", () => {
    console.log(Object.entries(counts).flat().join(" "));
    process.exit(0);
  });
}

({ client: beClient, server: beServer, events: beEvents })[mode]();
