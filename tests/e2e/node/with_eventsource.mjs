// A Mercure subscriber and publisher in JavaScript: with_eventsource.mjs PACKAGE OPTIONS-AS-JSON
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const [, , name, options] = process.argv;
const { port, publisher, subscriber } = JSON.parse(options);
const url = new URL(`http://127.0.0.1:${port}/.well-known/mercure`);

async function publish(fields) {
  const response = await fetch(url, {
    method: "POST",
    headers: { Authorization: `Bearer ${publisher}` },
    body: new URLSearchParams(fields),
  });
  assert.equal(response.status, 200);
  return response.text();
}

async function made(from, token) {
  const headers = { Authorization: `Bearer ${token}` };
  if (name === "event-source-polyfill") {
    const { EventSourcePolyfill } = createRequire(import.meta.url)(name);
    return new EventSourcePolyfill(from.href, { headers });
  }
  const { EventSource } = await import(name);
  const withToken = (input, init) =>
    fetch(input, { ...init, headers: { ...init.headers, ...headers } });
  return new EventSource(from.href, { fetch: withToken });
}

function events(source, count, type = "message") {
  return new Promise((resolve, reject) => {
    const found = [];
    source.addEventListener(type, (event) => {
      found.push(event);
      if (found.length === count) resolve(found);
    });
    source.addEventListener("error", (event) => reject(event));
  });
}

const opened = (source) => new Promise((resolve) => source.addEventListener("open", resolve));

url.searchParams.append("topic", "/u/{id}");
url.searchParams.append("topic", "news");
const source = await made(url, subscriber);
const heard = events(source, 2);
const named = events(source, 1, "score");
await opened(source);
await publish([["topic", "other"], ["data", "not for me"]]);
const id = await publish([["topic", "/u/7"], ["data", "two\nlines"], ["private", "on"]]);
await publish([["topic", "news"], ["data", "ü"], ["id", "urn:x:2"]]);
await publish([["topic", "news"], ["data", "1:0"], ["type", "score"]]);
const [first, second] = await heard;
assert.deepEqual([first.data, first.lastEventId], ["two\nlines", id]);
assert.deepEqual([second.data, second.lastEventId], ["ü", "urn:x:2"]);
assert.equal((await named)[0].data, "1:0");
source.close();

url.searchParams.append("lastEventID", id);
const late = await made(url, subscriber);
assert.equal((await events(late, 1))[0].data, "ü");
late.close();
console.log("all right");
process.exit(0);
