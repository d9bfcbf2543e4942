/* The arbiter of the benchmark: what its parts share. One thread, one edge-triggered epoll.
 *
 * A request is `payload` bytes: the connection's number and a sequence number, then a fixed
 * pattern. Its reply has to be the same bytes; every byte is compared. With --websocket they are a
 * text message, masked with another mask each time, and the reply is an unmasked one.
 */
#ifndef GENERATOR_H
#define GENERATOR_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <sys/types.h>

#include "cpu.h"
#include "histogram.h"

#define EVENTS 1024
#define PAYLOAD_MAX 8192 /* a first send of so much is always taken whole */
#define BUFFER 65536
#define BURST_BYTES (1 << 20)
#define BURST_MAX 64
#define RAMP_STEP 1000

enum state { CLOSED, CONNECTING, SECURING, UPGRADING, PROVING, IDLE, WAITING, ENDING };

struct connection {
    int fd;
    enum state state;
    uint32_t got;      /* bytes of the reply so far */
    uint32_t sequence; /* of the request that is in flight */
    uint64_t start_ns; /* of that request: when it was due in an open loop, else when it was sent */
    uint64_t turn;     /* open loop: requests started so far; events of a burst that came */
    void *tls;         /* an SSL of OpenSSL, with --tls */
    int tickets;       /* that came on it */
};

struct options {
    const char *mode;
    const char *websocket, *sse; /* target of the request that each connection begins with */
    const char *publish;         /* of the POST of a broadcast by --sse */
    const char *keys;            /* a file of lines KEY ACCEPT, as the handshake has them */
    int port, ports, connections, in_flight, payload, window, sources,
        first_source, server_pid, other_pid, cpu, burst, tls, resume, tickets;
    double seconds, warm_up, rate;
    bool spin;
};

struct result {
    uint64_t requests, errors, mismatches, unanswered, resumed;
    double seconds;
    struct cpu server, own;
    struct histogram latency;
    int opened;
    double open_seconds;
    double *steps; /* seconds of each RAMP_STEP connections that were opened */
    int step_count;
};

extern struct options options;
extern struct result result;
extern struct connection *connections;
extern int epoll;
extern char received[BUFFER];

uint64_t now_ns(void);
void fail(const char *what, const char *remedy) __attribute__((noreturn));

/* exchange.c: one request and its reply */
enum reply { NOTHING, PART, WHOLE, WRONG, END };
void exchange_prepare(void);
void prepare_message(struct connection *c);
bool request_burst(struct connection *c);
uint32_t burst_reply_size(void);
bool is_burst_part(uint32_t offset, size_t count);
bool request(struct connection *c, uint64_t start_ns);
enum reply reply_of(struct connection *c);
const char *sent_last(void);
uint32_t reply_size(void);
size_t without_pings(struct connection *c, size_t count);
void finish(struct connection *c);

/* tls.c: bytes of a connection, with TLS or without */
void tls_prepare(void);
void tls_begin(struct connection *c);
int tls_shake(struct connection *c);
void tls_say_goodbye(struct connection *c);
void tls_end(struct connection *c);
ssize_t bytes_in(struct connection *c, char *into, size_t size);
ssize_t bytes_out(struct connection *c, const void *bytes, size_t size);

/* http.c: what a WebSocket and a stream of events begin with, publishing, events */
void http_prepare(void);
bool says_hello(const struct connection *c);
void say_hello(struct connection *c);
bool is_welcome(struct connection *c);
bool publish_burst(struct connection *c);
bool has_all_events(struct connection *c, size_t count);

/* open.c */
int connect_one(int number);
void open_all(bool prove, bool is_measured);

/* the window that is measured */
void window_begin(void);
void window_end(void);

/* the modes: closed.c, open_loop.c, churn.c, handshakes.c, broadcast.c */
void run_closed(void);
void run_open_loop(void);
void run_churn(void);
void run_handshakes(void);
void run_broadcast(void);
void run_hold(void);

#endif
