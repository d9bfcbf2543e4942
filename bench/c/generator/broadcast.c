/* Broadcast and hold: many connections that receive, or do nothing.
 *
 * A round: connection 0 sends one message (--burst: several at once), the server sends it to all,
 * and when all have it the next round begins. A delivery is one message at one connection; latency
 * is that of a round. With --sse connection 0 posts it, and what it has to have is the response.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "generator.h"

/* Takes what came at a connection; true when it has the whole message with it. */
static bool takes(struct connection *c, size_t count)
{
    if (options.sse)
        return has_all_events(c, count);
    result.mismatches += !is_burst_part(c->got, count);
    c->got += count;
    return c->got == burst_reply_size();
}

/* Waits until every connection has the message; false if that takes more than 20 s. */
static bool all_have_it(void)
{
    struct epoll_event events[EVENTS];
    uint64_t begin = now_ns();
    int missing = options.connections;

    for (int i = 0; i < options.connections; i++) {
        connections[i].state = WAITING;
        connections[i].got = connections[i].turn = 0;
    }
    while (missing) {
        int count = epoll_wait(epoll, events, EVENTS, options.spin ? 0 : 100);

        if (count <= 0 && now_ns() - begin > 20000000000ull)
            return false;
        for (int i = 0; i < count; i++) {
            struct connection *c = &connections[events[i].data.u32];
            ssize_t n = recv(c->fd, received, sizeof received, 0);

            if (n > 0 && !(n = without_pings(c, n)))
                continue;
            if (n > 0 && c->state == WAITING && takes(c, n)) {
                c->state = IDLE;
                missing--;
            } else if (n > 0 && c->state == IDLE && !options.sse) {
                result.mismatches++;
            } else if (!(n > 0 || (n < 0 && errno == EAGAIN))) {
                result.errors++;
                return false;
            }
        }
    }
    return true;
}

static void rounds(uint64_t end_ns, bool is_measured)
{
    do {
        uint64_t begin = now_ns();

        if (!(options.sse ? publish_burst : request_burst)(&connections[0]))
            fail("the triggering connection was lost", "see the server's errors");
        if (!all_have_it()) {
            result.unanswered++;
            return;
        }
        if (is_measured) {
            result.requests += (uint64_t)options.connections * options.burst;
            histogram_add(&result.latency, now_ns() - begin);
        }
    } while (now_ns() < end_ns);
}

void run_broadcast(void)
{
    usleep(200000); /* the kernel has the connections; the server may still be accepting them */
    rounds(now_ns() + options.warm_up * 1e9, false);
    window_begin();
    rounds(now_ns() + options.seconds * 1e9, true);
    window_end();
}

void run_hold(void)
{
    char line[16];

    printf("held\n");
    fflush(stdout);
    while (read(0, line, sizeof line) > 0)
        ;
}
