// What programs do with redis (node-redis), in RESP 2 or 3: `node with_redis.mjs PORT 3`.
import assert from "node:assert/strict";
import { createClient } from "redis";

const [port, RESP] = process.argv.slice(2).map(Number);
const made = () => createClient({ url: `redis://127.0.0.1:${port}/3`, RESP, name: "smoke" });
const redis = await made().connect();
const other = await redis.duplicate().connect();

assert.equal(await redis.ping(), "PONG");
assert.equal(await redis.clientGetName(), "smoke");
assert.equal(await redis.set("k", "v", { expiration: { type: "PX", value: 100_000 } }), "OK");
assert.equal(await redis.get("k"), "v");
assert.ok((await redis.pTTL("k")) > 90_000);
assert.equal(await redis.get("none"), null);
assert.equal(await redis.incrBy("n", 41), 41);
assert.equal(await redis.incrByFloat("f", 1.25), "1.25");

assert.equal(await redis.hSet("h", { a: 1, b: 2 }), 2);
assert.deepEqual({ ...(await redis.hGetAll("h")) }, { a: "1", b: "2" });
await assert.rejects(redis.incr("h"), /WRONGTYPE/);

assert.deepEqual(await redis.multi().set("m", "1").incr("m").get("m").exec(), ["OK", 2, "2"]);
await redis.watch("m");
await other.set("m", "7");
await assert.rejects(redis.multi().incr("m").exec(), /watch/i);

await redis.rPush("l", ["a", "b", "c"]);
assert.deepEqual(await redis.lRange("l", 0, -1), ["a", "b", "c"]);
const waits = other.blPop("later", 5);
await redis.rPush("later", "x");
assert.deepEqual({ ...(await waits) }, { key: "later", element: "x" });
await redis.sAdd("s", ["a", "b"]);
assert.deepEqual([...(await redis.sMembers("s"))].sort(), ["a", "b"]);
await redis.zAdd("z", [{ score: 1, value: "one" }, { score: 2.5, value: "more" }]);
assert.deepEqual(
  (await redis.zRangeWithScores("z", 0, -1)).map(({ score, value }) => [value, score]),
  [["one", 1], ["more", 2.5]],
);
assert.equal(await redis.zScore("z", "more"), 2.5);

await redis.mSet(Array.from({ length: 500 }, (_, i) => [`scan:${i}`, String(i)]));
const found = new Set();
for await (const keys of redis.scanIterator({ MATCH: "scan:*", COUNT: 50 })) [keys].flat().forEach((key) => found.add(key));
assert.equal(found.size, 500);

const heard = [];
const subscriber = await redis.duplicate().connect();
const both = new Promise((resolve) => {
  const note = (message, channel) => heard.push(`${channel}: ${message}`) === 2 && resolve();
  subscriber.subscribe("news", note).then(() => subscriber.pSubscribe("n*", note)).then(() => redis.publish("news", "hello"));
});
await both;
assert.deepEqual(heard, ["news: hello", "news: hello"]);
await subscriber.unsubscribe("news");
await subscriber.pUnsubscribe("n*");

for (const client of [redis, other, subscriber]) await client.close();
console.log("all right");
