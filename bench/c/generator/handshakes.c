/* TLS handshakes: connect, shake hands, end, wait for the server's end; N at a time, or at a rate.
 *
 * A handshake counts when the server's first ticket is there (--tickets 0: when the client's part
 * is done, for servers that send none); it is the time from connect on. With a rate a handshake is due at
 * constant spacing, its time is from when it was due, and N is the most at a time.
 */
#define _GNU_SOURCE
#include <sys/epoll.h>
#include <sys/socket.h>
#include <stdlib.h>
#include <time.h>

#include "generator.h"

static int started;
static int *rest, rest_count; /* connections that are not in use, with a rate */
static uint64_t begin_ns, due_count;
static bool is_over;

static void begin(struct connection *c, uint64_t start_ns)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};

    c->state = CONNECTING;
    c->start_ns = start_ns;
    c->fd = connect_one(started++ & 0x7fffffff);
    event.data.u32 = c - connections;
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}

static void again(struct connection *c)
{
    finish(c);
    if (options.rate > 0)
        rest[rest_count++] = c - connections;
    else if (!is_over)
        begin(c, now_ns());
}

static void leave(struct connection *c, bool is_measured)
{
    if (is_measured) {
        result.requests++;
        histogram_add(&result.latency, now_ns() - c->start_ns);
    }
    c->state = ENDING;
    tls_say_goodbye(c);
    shutdown(c->fd, SHUT_WR);
}

static void advance(struct connection *c, uint32_t events, bool is_measured)
{
    if (c->state == CLOSED)
        return;
    if (c->state == CONNECTING && events & (EPOLLOUT | EPOLLERR)) {
        c->state = SECURING;
        tls_begin(c);
    }
    if (c->state == SECURING) {
        int done = tls_shake(c);

        if (done < 0) {
            result.errors++;
            again(c);
            return;
        }
        if (!done)
            return;
        if (!options.tickets) {
            leave(c, is_measured);
            return;
        }
        c->state = PROVING;
    }
    ssize_t count;

    while ((count = bytes_in(c, received, sizeof received)) > 0)
        ; /* an HTTP server may say what it thinks of no request */
    if (!count) {
        result.errors += c->state != ENDING;
        again(c);
        return;
    }
    if (c->state == PROVING && c->tickets)
        leave(c, is_measured);
}

static void begin_due(uint64_t now, bool is_measured)
{
    for (uint64_t due; (due = begin_ns + due_count * (1e9 / options.rate)) <= now; due_count++) {
        if (rest_count)
            begin(&connections[rest[--rest_count]], due);
        else
            result.unanswered += is_measured;
    }
}

static void loop(uint64_t end_ns, bool is_measured)
{
    struct epoll_event events[EVENTS];
    struct timespec timeout = {0};

    for (uint64_t now; (now = now_ns()) < end_ns;) {
        uint64_t next = end_ns;
        int count;

        if (options.rate > 0 && !is_over) {
            begin_due(now, is_measured);
            next = begin_ns + due_count * (1e9 / options.rate);
        }
        timeout.tv_nsec = next > now ? (next - now < 100000000 ? next - now : 100000000) : 0;
        count = epoll_pwait2(epoll, events, EVENTS, &timeout, NULL);
        for (int i = 0; i < count; i++)
            advance(&connections[events[i].data.u32], events[i].events, is_measured);
    }
}

void run_handshakes(void)
{
    if (!options.tls)
        fail("handshakes are of TLS", "--tls 1");
    rest = calloc(options.connections, sizeof *rest);
    begin_ns = now_ns();
    for (int i = 0; i < options.connections; i++) {
        if (options.rate > 0)
            rest[rest_count++] = i;
        else
            begin(&connections[i], begin_ns);
    }
    loop(now_ns() + options.warm_up * 1e9, false);
    result.resumed = 0;
    window_begin();
    loop(now_ns() + options.seconds * 1e9, true);
    window_end();
    is_over = true;
    loop(now_ns() + 200000000, false);
}
