/* Connect and close: N at a time connect, echo once, end the stream, wait for the server's end.
 *
 * A cycle is over when the server has closed too. The closed side keeps its port in TIME_WAIT for
 * a minute, so source addresses take turns.
 */
#define _GNU_SOURCE
#include <sys/epoll.h>
#include <sys/socket.h>

#include "generator.h"

static int started;

static void begin(struct connection *c)
{
    int number = c - connections;

    /* connect_one takes the source and port from the number, the place from the connection */
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};

    c->state = CONNECTING;
    c->start_ns = now_ns();
    c->fd = connect_one(started++ & 0x7fffffff);
    event.data.u32 = number;
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}

static void lost(struct connection *c)
{
    result.errors++;
    finish(c);
    begin(c);
}

static void advance(struct connection *c, uint32_t events, bool is_measured)
{
    uint64_t cycle_ns = c->start_ns;

    if (c->state == CONNECTING && events & (EPOLLOUT | EPOLLERR)) {
        c->state = PROVING;
        if (!request(c, cycle_ns))
            begin(c);
        return;
    }
    switch (reply_of(c)) {
    case WHOLE:
        if (c->state == PROVING) {
            c->state = ENDING;
            c->got = 0;
            shutdown(c->fd, SHUT_WR);
        }
        break;
    case END:
        if (c->state != ENDING) {
            lost(c);
            break;
        }
        if (is_measured) {
            result.requests++;
            histogram_add(&result.latency, now_ns() - cycle_ns);
        }
        finish(c);
        begin(c);
        break;
    case WRONG:
        result.mismatches++;
        lost(c);
        break;
    default:
        break;
    }
}

static void loop(uint64_t end_ns, bool is_measured)
{
    struct epoll_event events[EVENTS];

    while (now_ns() < end_ns) {
        int count = epoll_wait(epoll, events, EVENTS, 100);

        for (int i = 0; i < count; i++)
            advance(&connections[events[i].data.u32], events[i].events, is_measured);
    }
}

void run_churn(void)
{
    for (int i = 0; i < options.connections; i++)
        begin(&connections[i]);
    loop(now_ns() + options.warm_up * 1e9, false);
    window_begin();
    loop(now_ns() + options.seconds * 1e9, true);
    window_end();
}
