/* Open loop: requests are due at constant spacing, over all connections in turn.
 *
 * Request k is due at begin + k / rate on connection k mod N. One that cannot be sent because its
 * connection still waits for a reply goes out with that reply, and its latency counts from when it
 * was due: a server that stalls is not asked less, and does not look better for it.
 */
#define _GNU_SOURCE
#include <sys/epoll.h>
#include <time.h>

#include "generator.h"

static uint64_t begin_ns, measured_ns, end_ns;

static uint64_t due_ns(uint64_t k)
{
    return begin_ns + (uint64_t)(k * (1e9 / options.rate));
}

/* When the next request of a connection is due. */
static uint64_t next_due_ns(const struct connection *c)
{
    return due_ns(c->turn * options.connections + (c - connections));
}

static void start(struct connection *c)
{
    uint64_t due = next_due_ns(c);

    c->turn++;
    c->state = WAITING;
    request(c, due);
}

static void answered(struct connection *c, uint64_t now)
{
    if (c->start_ns >= measured_ns && c->start_ns < end_ns) {
        result.requests++;
        histogram_add(&result.latency, now - c->start_ns);
    }
    c->state = IDLE;
    if (next_due_ns(c) <= now && next_due_ns(c) < end_ns)
        start(c);
}

static void take(struct connection *c)
{
    if (c->state != WAITING)
        return;
    switch (reply_of(c)) {
    case WHOLE:
        answered(c, now_ns());
        break;
    case WRONG:
        result.mismatches++; /* fall through */
    case END:
        result.errors++;
        finish(c);
        break;
    default:
        break;
    }
}

static void wait_and_take(uint64_t until_ns)
{
    struct epoll_event events[EVENTS];
    uint64_t now = now_ns(), left = until_ns > now && !options.spin ? until_ns - now : 0;
    struct timespec timeout = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
    int count = epoll_pwait2(epoll, events, EVENTS, &timeout, NULL);

    for (int i = 0; i < count; i++)
        take(&connections[events[i].data.u32]);
}

/* Sends what is due from request `k` on; returns the first one that is not due yet. */
static uint64_t send_due(uint64_t k)
{
    for (uint64_t now = now_ns(); due_ns(k) <= now && due_ns(k) < end_ns; k++) {
        struct connection *c = &connections[k % options.connections];

        if (c->state == IDLE && c->turn == k / options.connections)
            start(c);
        if (k % 64 == 63) /* do not starve the replies when we are behind */
            wait_and_take(0);
    }
    return k;
}

/* What was due in the window and is not answered: its latency so far, as a lower bound. */
static void count_unanswered(void)
{
    uint64_t now = now_ns();

    for (int i = 0; i < options.connections; i++) {
        struct connection *c = &connections[i];

        if (c->state == WAITING && c->start_ns >= measured_ns) {
            result.unanswered++;
            histogram_add(&result.latency, now - c->start_ns);
        }
        if (c->state == CLOSED)
            continue;
        for (; next_due_ns(c) < end_ns; c->turn++) {
            if (next_due_ns(c) >= measured_ns) {
                result.unanswered++;
                histogram_add(&result.latency, now - next_due_ns(c));
            }
        }
    }
}

void run_open_loop(void)
{
    uint64_t k = 0;
    bool is_measuring = false;

    if (options.rate <= 0)
        fail("an open loop needs a rate", "--rate requests per second");
    begin_ns = now_ns();
    measured_ns = begin_ns + options.warm_up * 1e9;
    end_ns = measured_ns + options.seconds * 1e9;
    for (uint64_t now = begin_ns; now < end_ns; now = now_ns()) {
        if (!is_measuring && now >= measured_ns) {
            is_measuring = true;
            window_begin();
        }
        k = send_due(k);
        wait_and_take(due_ns(k) < end_ns ? due_ns(k) : end_ns);
    }
    window_end();
    send_due(k); /* what fell due since the last look */
    while (now_ns() < end_ns + 500000000)
        wait_and_take(end_ns + 500000000);
    count_unanswered();
}
