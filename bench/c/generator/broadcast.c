/* Broadcast and hold: many connections that receive, or do nothing.
 *
 * A round: connection 0 sends one message, the server sends it to all, and when all have it the
 * next round begins. A delivery is one message at one connection; latency is that of a round. With
 * --sse connection 0 posts it, and what it has to have is the response.
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
        return is_event_or_response(c, sent_last(), count);
    result.mismatches += !is_message_part(c->got, count);
    c->got += count;
    return c->got == reply_size();
}

/* Waits until every connection has the message; false if that takes more than 20 s. */
static bool all_have_it(void)
{
    struct epoll_event events[EVENTS];
    uint64_t begin = now_ns();
    int missing = options.connections;

    for (int i = 0; i < options.connections; i++)
        connections[i].state = WAITING;
    while (missing) {
        int count = epoll_wait(epoll, events, EVENTS, options.spin ? 0 : 100);

        if (count <= 0 && now_ns() - begin > 20000000000ull)
            return false;
        for (int i = 0; i < count; i++) {
            struct connection *c = &connections[events[i].data.u32];
            ssize_t n = recv(c->fd, received, sizeof received, 0);

            if (n > 0 && c->state == WAITING && takes(c, n)) {
                c->state = IDLE;
                c->got = 0;
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

static bool trigger(uint64_t begin)
{
    if (!options.sse)
        return request(&connections[0], begin);
    prepare_message(&connections[0]);
    return publish(&connections[0], sent_last());
}

static void rounds(uint64_t end_ns, bool is_measured)
{
    do {
        uint64_t begin = now_ns();

        if (!trigger(begin))
            fail("the triggering connection was lost", "see the server's errors");
        if (!all_have_it()) {
            result.unanswered++;
            return;
        }
        if (is_measured) {
            result.requests += options.connections;
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
