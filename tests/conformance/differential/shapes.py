"""The shapes of all commands that are compared, by group; `grammar` says how one is read.

Lines of one group that are joined by `;` stay together: a command whose reply is drawn follows one
that shows what there was to draw from, and a key that then differs is removed. {=t} is one key of
that type for all of a line. {x} is a sorted set with one score only: of others, Redis's answers to
lexical ranges hang on the levels that its skip list has drawn. *3 in front: as likely as three.
"""

from __future__ import annotations

SHAPES: dict[str, str] = {
    "strings": """
        SET {s} {v}
        SET {s} {v} [NX|XX] [GET] [EX {sec}|PX {ms}|EXAT {at}|PXAT {at_ms}|KEEPTTL]
        SET {s} {int}
        SET {=s} {v} PXAT {some} ; EXISTS {=s}
        SET {s} {v} EX {past}
        GET {s}
        GET {s}
        GETEX {s} [EX {sec}|PX {ms}|EXAT {at}|PXAT {at_ms}|PERSIST|EXAT {past_at}]
        GETDEL {s}
        GETSET {s} {v}
        MGET ({s})+
        MSET ({s} {v})+
        MSETNX ({s} {v})+
        SETNX {s} {v}
        SETEX {s} {sec} {v}
        PSETEX {s} {ms} {v}
        APPEND {s} {v}
        STRLEN {s}
        GETRANGE {s} {index} {index}
        SUBSTR {s} {index} {index}
        SETRANGE {s} {offset} {v}
        INCR {s}
        DECR {s}
        INCRBY {s} {int}
        DECRBY {s} {int}
        INCRBYFLOAT {s} {real}
        SET {=s} {real} ; INCRBYFLOAT {=s} {real}
        SET {=s} {int} ; INCRBY {=s} {int} ; DECRBY {=s} {int} ; INCR {=s} ; DECR {=s}
    """,
    "bits": """
        SETBIT {s} {bits} {bit}
        GETBIT {s} {bits}
        BITCOUNT {s} [{index} {index} [BYTE|BIT]]
        BITPOS {s} {bit} [{index} [{index} [BYTE|BIT]]]
        BITOP <AND|OR|XOR> {s} ({s})+
        BITOP NOT {s} {s}
        BITFIELD {s} (GET {field}|SET {field} {int}|INCRBY {field} {int}|OVERFLOW <SAT|FAIL>)+
        BITFIELD_RO {s} (GET {field})+
    """,
    "keys": """
        DEL ({k})+
        UNLINK ({k})+
        EXISTS ({k})+
        TYPE {k}
        TOUCH ({k})+
        EXPIRE {k} {sec} [NX|XX|GT|LT]
        PEXPIRE {k} {ms} [NX|XX|GT|LT]
        EXPIREAT {k} {at} [NX|XX|GT|LT]
        PEXPIREAT {k} {at_ms} [NX|XX|GT|LT]
        EXPIRE {k} {past} [NX|XX|GT|LT]
        PEXPIREAT {k} {past_at} [XX|LT]
        TTL {k}
        PTTL {k}
        EXPIRETIME {k}
        PEXPIRETIME {k}
        PERSIST {k}
        KEYS {pattern}
        KEYS * ; RANDOMKEY
        RENAME {k} {k}
        RENAMENX {k} {k}
        COPY {k} {k} [REPLACE]
        COPY {k} {k} [DB {db}] [REPLACE]
        DBSIZE
        OBJECT ENCODING {k}
        OBJECT ENCODING {k}
        OBJECT REFCOUNT {k}
        OBJECT IDLETIME {k}
        OBJECT FREQ {k}
        MEMORY USAGE {k} [SAMPLES {count}]
        SELECT {db}
        SELECT 0
        SELECT 0
        MOVE {k} {db}
        SWAPDB {db} {db}
        FLUSHDB [ASYNC|SYNC]
    """,
    "hashes": """
        *3 HSET {h} ({f} {v})+
        HMSET {h} ({f} {v})+
        HSETNX {h} {f} {v}
        HGET {h} {f}
        HMGET {h} ({f})+
        HGETALL {h}
        HKEYS {h}
        HVALS {h}
        HLEN {h}
        HEXISTS {h} {f}
        HSTRLEN {h} {f}
        HDEL {h} ({f})+
        HINCRBY {h} {f} {int}
        HINCRBYFLOAT {h} {f} {real}
        HSET {=h} f1 {real} ; HINCRBYFLOAT {=h} f1 {real}
        HGETALL {=h} ; HRANDFIELD {=h} [{count} [WITHVALUES]]
        HGETALL {=h} ; HRANDFIELD {=h} {minus} [WITHVALUES]
        OBJECT ENCODING {h}
    """,
    "lists": """
        *4 LPUSH {l} ({e})+
        *4 RPUSH {l} ({e})+
        RPUSH {l} ({v})+
        LPUSHX {l} ({e})+
        RPUSHX {l} ({e})+
        LPOP {l} [{count}]
        RPOP {l} [{count}]
        LLEN {l}
        LRANGE {l} {index} {index}
        LRANGE {l} 0 -1
        LINDEX {l} {index}
        LSET {l} {index} {e}
        LINSERT {l} <BEFORE|AFTER> {e} {e}
        LREM {l} {index} {e}
        LTRIM {l} {index} {index}
        LPOS {l} {e} [RANK {index}] [COUNT {count}] [MAXLEN {count}]
        RPOPLPUSH {l} {l}
        LMOVE {l} {l} <LEFT|RIGHT> <LEFT|RIGHT>
        LMPOP {keys:l} <LEFT|RIGHT> [COUNT {count}]
        OBJECT ENCODING {l}
    """,
    "sets": """
        *8 SADD {t} ({m})+
        *3 SADD {t} ({step})+
        SREM {t} ({m})+
        SCARD {t}
        SMEMBERS {t}
        SISMEMBER {t} {m}
        SMISMEMBER {t} ({m})+
        SMOVE {t} {t} {m}
        SINTER ({t})+
        SUNION ({t})+
        SDIFF ({t})+
        SINTERSTORE {t} ({t})+
        SUNIONSTORE {t} ({t})+
        SDIFFSTORE {t} ({t})+
        SINTERCARD {keys:t} [LIMIT {count}]
        SMEMBERS {=t} ; SRANDMEMBER {=t} [{count}]
        SMEMBERS {=t} ; SRANDMEMBER {=t} {minus}
        SMEMBERS {=t} ; SPOP {=t} [{count}] ; DEL {=t}
        OBJECT ENCODING {t}
    """,
    "sorted_sets": """
        *12 ZADD {z} ({score} {m})+
        ZADD {z} [NX|XX] [GT|LT] [CH] [INCR] {score} {m}
        ZADD {z} [NX|XX] [GT|LT] [CH] ({score} {m})+
        ZINCRBY {z} {score} {m}
        ZREM {z} ({m})+
        ZCARD {z}
        ZCOUNT {z} {bound} {bound}
        ZSCORE {z} {m}
        ZMSCORE {z} ({m})+
        ZRANK {z} {m}
        ZREVRANK {z} {m}
        ZRANGE {z} {index} {index} [REV] [WITHSCORES]
        ZRANGE {z} 0 -1 WITHSCORES
        ZRANGE {z} {bound} {bound} BYSCORE [REV] [LIMIT {index} {index}] [WITHSCORES]
        ZREVRANGE {z} {index} {index} [WITHSCORES]
        ZRANGEBYSCORE {z} {bound} {bound} [WITHSCORES] [LIMIT {index} {index}]
        ZREVRANGEBYSCORE {z} {bound} {bound} [WITHSCORES] [LIMIT {index} {index}]
        ZRANGESTORE {z} {z} {index} {index} [REV]
        ZRANGESTORE {z} {z} {bound} {bound} BYSCORE [REV] [LIMIT {index} {index}]
        ZREMRANGEBYRANK {z} {index} {index}
        ZREMRANGEBYSCORE {z} {bound} {bound}
        ZPOPMIN {z} [{count}]
        ZPOPMAX {z} [{count}]
        ZMPOP {keys:z} <MIN|MAX> [COUNT {count}]
        ZUNION {keys:z} [{weights}] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]
        ZINTER {keys:z} [{weights}] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]
        ZDIFF {keys:z} [WITHSCORES]
        ZUNIONSTORE {z} {keys:z} [{weights}] [AGGREGATE SUM|MIN|MAX]
        ZINTERSTORE {z} {keys:z} [{weights}] [AGGREGATE SUM|MIN|MAX]
        ZUNIONSTORE {z} 2 {t} {z} WEIGHTS {real} {real}
        ZINTERSTORE {z} 2 {t} {z}
        ZDIFFSTORE {z} {keys:z}
        ZINTERCARD {keys:z} [LIMIT {count}]
        ZRANGE {=z} 0 -1 WITHSCORES ; ZRANDMEMBER {=z} [{count} [WITHSCORES]]
        ZRANGE {=z} 0 -1 WITHSCORES ; ZRANDMEMBER {=z} {minus} [WITHSCORES]
        OBJECT ENCODING {z}
    """,
    "sorting": """
        *3 RPUSH {l} ({number})+
        RPUSH {l} ({e})+
        SET {s} {number}
        HSET {h} f1 {number}
        SADD {t} ({number})+
        ZADD {z} ({score} {number})+
        SORT {l} [LIMIT {index} {index}] [ASC|DESC] [STORE {l}]
        SORT <{l}|{t}|{z}> [LIMIT {index} {index}] [ASC|DESC] ALPHA [STORE {l}]
        SORT <{l}|{t}|{z}> BY <s*|h*->f1|z*|none*> [LIMIT {count} {count}] [GET #] [DESC]
        SORT {l} BY s* [GET #] [GET s*] [GET h*->f1] [STORE {l}]
        SORT {x} BY nosort [LIMIT {count} {count}] [GET #] [GET s*] [DESC]
        SORT_RO {l} [BY s*] [LIMIT {index} {index}] [ASC|DESC]
        LRANGE {l} 0 -1
    """,
    "lexical": """
        *5 ZADD {x} (0 {m})+
        ZREM {x} ({m})+
        ZRANGE {x} {index} {index} WITHSCORES
        ZLEXCOUNT {x} {lex} {lex}
        ZRANGE {x} {lex} {lex} BYLEX [REV] [LIMIT {index} {index}]
        ZRANGEBYLEX {x} {lex} {lex} [LIMIT {index} {index}]
        ZREVRANGEBYLEX {x} {lex} {lex} [LIMIT {index} {index}]
        ZRANGESTORE {x} {x} {lex} {lex} BYLEX [REV] [LIMIT {index} {index}]
        ZREMRANGEBYLEX {x} {lex} {lex}
        OBJECT ENCODING {x}
    """,
    "server": """
        PING [{v}]
        ECHO {v}
        CLIENT SETNAME {m}
        CLIENT GETNAME
        CLIENT ID
        CLIENT UNBLOCK 1234567 [TIMEOUT|ERROR]
        CLIENT NO-EVICT <ON|OFF>
        COMMAND GETKEYS SET {s} {v}
        COMMAND GETKEYS ZUNIONSTORE {z} {keys:z}
        COMMAND GETKEYS MSET ({s} {v})+
        COMMAND GETKEYS LMPOP {keys:l} LEFT
        COMMAND GETKEYS PING
        WAIT 0 0 ; PING
        PUBLISH {channel} {v}
        PUBSUB NUMSUB ({channel})+
        PUBSUB NUMPAT
        PUBSUB CHANNELS [{pattern}]
        RESET
        NOSUCHCOMMAND ({m})+
        CLIENT NOSUCH
        OBJECT NOSUCH {k}
        CONFIG NOSUCH
        TIME
    """,
}

# Of a node of a cluster alone.
CLUSTER = """
    CLUSTER KEYSLOT {k}
    CLUSTER KEYSLOT {v}
    CLUSTER COUNTKEYSINSLOT [5061|{int}]
    CLUSTER REPLICAS {m}
    CLUSTER NOSUCH
    READONLY
    READWRITE
    ASKING
    SPUBLISH {channel} {v}
"""

# The reply may be late: each is the last of its turn. No time that ends within a sequence.
BLOCKING = """
    BLPOP ({l})+ 0
    BRPOP ({l})+ 0
    BLMPOP 0 {keys:l} <LEFT|RIGHT> [COUNT {count}]
    BRPOPLPUSH {l} {l} 0
    BLMOVE {l} {l} <LEFT|RIGHT> <LEFT|RIGHT> 0
    BZPOPMIN ({z})+ 0
    BZPOPMAX ({z})+ 0
    BZMPOP 0 {keys:z} <MIN|MAX> [COUNT {count}]
    BLPOP {k} -1
    BRPOP {l} x
    BZPOPMIN {z} 1e300
    BLPOP ({l})+ 1000
    BZPOPMAX ({z})+ 1000.5
"""

# The reply comes when the time is over.
TIMED = """
    BLPOP {none} 0.01
    BRPOP {none} {none} .01
    BLMPOP 0.01 1 {none} LEFT
    BRPOPLPUSH {none} {l} 0.01
    BLMOVE {none} {l} LEFT RIGHT 0.01
    BZPOPMIN {none} 0.01
    BZMPOP 0.01 1 {none} MIN
"""

SUBSCRIBING = """
    SUBSCRIBE ({channel})+
    UNSUBSCRIBE ({channel})+
    PSUBSCRIBE ({channels})+
    PUNSUBSCRIBE ({channels})+
    SSUBSCRIBE ({channel})+
    SUNSUBSCRIBE ({channel})+
    PING
    PING {v}
"""

# Read to the end of the iteration, and compared as a whole.
SCANNING = """
    SCAN [MATCH {pattern}] [COUNT {some}] [TYPE {type}]
    HSCAN {h} [MATCH {pattern}] [COUNT {some}]
    SSCAN {t} [MATCH {pattern}] [COUNT {some}]
    ZSCAN {z} [MATCH {pattern}] [COUNT {some}]
"""
