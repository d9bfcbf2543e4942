/* Closed loop: `in_flight` of the open connections have a request in flight at any time.
 *
 * A reply frees its connection to the end of a queue, and the one at its head gets the next
 * request. So all open connections take turns; with all of them in flight the queue is empty and
 * every connection answers its own reply.
 */
#define _GNU_SOURCE
#include <sys/epoll.h>

#include "generator.h"

static uint32_t *queue;
static uint64_t head, tail;

static void start_next(uint64_t now)
{
    while (head != tail) {
        struct connection *c = &connections[queue[head++ % options.connections]];

        c->state = WAITING;
        if (request(c, now))
            return;
    }
}

static void answered(struct connection *c, uint64_t now, bool is_measured, bool go_on)
{
    if (is_measured) {
        result.requests++;
        histogram_add(&result.latency, now - c->start_ns);
    }
    c->state = IDLE;
    queue[tail++ % options.connections] = c - connections;
    if (go_on)
        start_next(now_ns());
}

/* Runs until `end_ns`, or, when it does not go on, until nothing is in flight. */
static void loop(uint64_t end_ns, bool is_measured, bool go_on)
{
    struct epoll_event events[EVENTS];
    uint64_t now = now_ns();

    while (now < end_ns && (go_on || tail - head < (uint64_t)options.connections)) {
        int count = epoll_wait(epoll, events, EVENTS, options.spin ? 0 : 100);

        now = now_ns();
        for (int i = 0; i < count; i++) {
            struct connection *c = &connections[events[i].data.u32];

            if (c->state != WAITING)
                continue;
            switch (reply_of(c)) {
            case WHOLE:
                answered(c, now_ns(), is_measured, go_on);
                break;
            case WRONG:
                result.mismatches++; /* fall through */
            case END:
                result.errors++;
                finish(c);
                if (go_on)
                    start_next(now_ns());
                break;
            default:
                break;
            }
        }
    }
}

void run_closed(void)
{
    queue = calloc(options.connections, sizeof *queue);
    for (int i = 0; i < options.connections; i++)
        queue[tail++] = i;
    for (int i = 0; i < options.in_flight; i++)
        start_next(now_ns());
    loop(now_ns() + options.warm_up * 1e9, false, true);
    window_begin();
    loop(now_ns() + options.seconds * 1e9, true, true);
    window_end();
    loop(now_ns() + 2000000000ull, false, false); /* let what is in flight come back */
    for (int i = 0; i < options.connections; i++)
        result.unanswered += connections[i].state == WAITING;
}
