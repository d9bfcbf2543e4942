// What programs do with ioredis: `node with_ioredis.mjs PORT`. It ends with 1 where something is wrong.
import assert from "node:assert/strict";
import { Redis } from "ioredis";

const port = Number(process.argv[2]);
const redis = new Redis(port, "127.0.0.1", { maxRetriesPerRequest: 1 });
const other = redis.duplicate();

assert.equal(await redis.set("k", "v", "EX", 100, "NX"), "OK");
assert.equal(await redis.set("k", "w", "NX"), null);
assert.equal(await redis.get("k"), "v");
assert.ok((await redis.ttl("k")) > 90);
const bytes = Buffer.from([0, 255, 13, 10, 128]);
await redis.set(bytes, bytes);
assert.deepEqual(await redis.getBuffer(bytes), bytes);
assert.equal(await redis.incrby("n", 41), 41);
assert.equal(await redis.incr("n"), 42);

const piped = await redis.pipeline().hset("h", { a: 1, b: 2 }).hgetall("h").incr("h").exec();
assert.deepEqual(piped.slice(0, 2), [[null, 2], [null, { a: "1", b: "2" }]]);
assert.match(piped[2][0].message, /^WRONGTYPE/);

assert.deepEqual(await redis.multi().set("m", 1).incr("m").exec(), [[null, "OK"], [null, 2]]);
await redis.watch("m");
await other.set("m", 7);
assert.equal(await redis.multi().incr("m").exec(), null);
await assert.rejects(redis.multi().nosuchcommand?.() ?? redis.call("nosuchcommand"), /unknown command/);

await redis.rpush("l", "a", "b", "c");
assert.deepEqual(await redis.lrange("l", 0, -1), ["a", "b", "c"]);
const waits = other.blpop("later", 5);
await redis.rpush("later", "x");
assert.deepEqual(await waits, ["later", "x"]);
await redis.sadd("s", "a", "b");
assert.deepEqual((await redis.smembers("s")).sort(), ["a", "b"]);
await redis.zadd("z", 1, "one", 2.5, "more", "inf", "most");
assert.deepEqual(await redis.zrange("z", 0, -1, "WITHSCORES"), ["one", "1", "more", "2.5", "most", "inf"]);

await redis.mset(Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`scan:${i}`, i])));
const found = new Set();
for await (const keys of redis.scanStream({ match: "scan:*", count: 50 })) keys.forEach((key) => found.add(key));
assert.equal(found.size, 500);

const heard = [];
const subscriber = redis.duplicate();
const both = new Promise((resolve) => {
  const note = (...said) => heard.push(said.join("|")) === 2 && resolve();
  subscriber.on("message", note);
  subscriber.on("pmessage", note);
});
assert.equal(await subscriber.subscribe("news"), 1);
assert.equal(await subscriber.psubscribe("n*"), 2);
assert.equal(await redis.publish("news", "hello"), 2);
await both;
assert.deepEqual(heard, ["news|hello", "n*|news|hello"]);
assert.equal(await subscriber.unsubscribe("news"), 1);

assert.match(await redis.info("server"), /redis_version:7/);
for (const client of [redis, other, subscriber]) assert.equal(await client.quit(), "OK");
console.log("all right");
