/* The arbiter of the benchmark: what its parts share. One thread, one edge-triggered epoll.
 *
 * A request is `payload` bytes: the connection's number and a sequence number, then a fixed
 * pattern. Its reply has to be the same bytes; every byte is compared.
 */
#ifndef GENERATOR_H
#define GENERATOR_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

#include "cpu.h"
#include "histogram.h"

#define EVENTS 1024
#define PAYLOAD_MAX 8192 /* a first send of so much is always taken whole */
#define BUFFER 65536
#define RAMP_STEP 1000

enum state { CLOSED, CONNECTING, PROVING, IDLE, WAITING, ENDING };

struct connection {
    int fd;
    enum state state;
    uint32_t got;      /* bytes of the reply so far */
    uint32_t sequence; /* of the request that is in flight */
    uint64_t start_ns; /* of that request: when it was due in an open loop, else when it was sent */
    uint64_t turn;     /* open loop: requests started so far */
};

struct options {
    const char *mode;
    int port, ports, connections, in_flight, payload, window, sources,
        first_source, server_pid, cpu;
    double seconds, warm_up, rate;
    bool spin;
};

struct result {
    uint64_t requests, errors, mismatches, unanswered;
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
bool request(struct connection *c, uint64_t start_ns);
enum reply reply_of(struct connection *c);
bool is_message_part(uint32_t offset, size_t count);
void finish(struct connection *c);

/* open.c */
int connect_one(int number);
void open_all(bool prove, bool is_measured);

/* the window that is measured */
void window_begin(void);
void window_end(void);

/* the modes: closed.c, open_loop.c, churn.c, broadcast.c */
void run_closed(void);
void run_open_loop(void);
void run_churn(void);
void run_broadcast(void);
void run_hold(void);

#endif
