/* Opens all connections, a window of them at a time, and notes the time of every thousand.
 *
 * A connection counts as opened when its first echo is back (`prove`), or the response to its
 * request for a WebSocket or a stream: a TCP connection is there for the client as soon as the
 * kernel has queued it, long before the server accepts it.
 *
 * Facts: connect() to one (source, destination, port) is fast up to half the ephemeral range, then
 * it searches. So sources 127.1.x.y take turns; IP_BIND_ADDRESS_NO_PORT leaves the port to connect.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "generator.h"

#define STUCK_NS 60000000000ull /* no progress for so long ends the run */

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

/* Starts connection `number`; returns its descriptor, already in the epoll. */
int connect_one(int number)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in source = {.sin_family = AF_INET}, target = {.sin_family = AF_INET};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    uint32_t index = options.first_source + number % options.sources;

    if (fd < 0)
        fail(strerror(errno), "the generator needs a descriptor a connection: raise ulimit -n");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    source.sin_addr.s_addr = htonl(0x7f010001u + ((index / 250) << 8) + index % 250);
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    target.sin_port = htons(options.port + number % options.ports);
    if (bind(fd, (struct sockaddr *)&source, sizeof source))
        fail(strerror(errno), "binding to a loopback source address failed");
    if (connect(fd, (struct sockaddr *)&target, sizeof target) && errno != EINPROGRESS)
        fail(strerror(errno), "is the server listening, and are there free ports?");
    event.data.u32 = number;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
        fail(strerror(errno), "epoll_ctl failed");
    return fd;
}

static bool is_connected(const struct connection *c)
{
    int error = 0;
    socklen_t length = sizeof error;

    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error)
        fail(strerror(error), "a connection could not be opened");
    return true;
}

/* Brings one connection a step on; true when it is open. */
static bool advance(struct connection *c, uint32_t events, bool prove, bool is_measured)
{
    bool is_ready = c->state == CONNECTING && events & (EPOLLOUT | EPOLLERR) && is_connected(c);

    if (is_ready && options.tls) {
        c->state = SECURING;
        tls_begin(c);
    }
    if (c->state == SECURING) {
        int done = tls_shake(c);

        if (done < 0)
            fail("a handshake has failed", "see the server's errors");
        is_ready = done;
    }
    if (is_ready) {
        if (says_hello(c)) {
            c->state = UPGRADING;
            say_hello(c);
            return false;
        }
        if (!prove || options.sse) {
            c->state = IDLE;
            return true;
        }
        c->state = PROVING;
        if (!request(c, c->start_ns))
            fail("a connection was lost while it was opened", "see the server's errors");
        return false;
    }
    if (c->state == UPGRADING) {
        if (!(events & (EPOLLIN | EPOLLRDHUP | EPOLLERR)) || !is_welcome(c))
            return false;
        c->state = IDLE;
        if (is_measured)
            histogram_add(&result.latency, now_ns() - c->start_ns);
        return true;
    }
    if (c->state != PROVING || !(events & (EPOLLIN | EPOLLRDHUP | EPOLLERR)))
        return false;
    switch (reply_of(c)) {
    case WHOLE:
        c->state = IDLE;
        if (is_measured)
            histogram_add(&result.latency, now_ns() - c->start_ns);
        return true;
    case WRONG:
    case END:
        fail("the first echo of a connection did not come back", "see the server's errors");
    default:
        return false;
    }
}

void open_all(bool prove, bool is_measured)
{
    struct epoll_event events[EVENTS];
    uint64_t begin = now_ns(), step = begin, last = begin;
    int started = 0;

    while (result.opened < options.connections) {
        int count;

        for (; started < options.connections && started - result.opened < options.window; started++) {
            connections[started].state = CONNECTING;
            connections[started].start_ns = now_ns();
            connections[started].fd = connect_one(started);
        }
        count = epoll_wait(epoll, events, EVENTS, 1000);
        if (count > 0)
            last = now_ns();
        else if (now_ns() - last > STUCK_NS)
            fail("no connection was opened for 60 s", "see the server's errors");
        for (int i = 0; i < count; i++) {
            if (!advance(&connections[events[i].data.u32], events[i].events, prove,
                         is_measured))
                continue;
            if (++result.opened % RAMP_STEP == 0) {
                uint64_t now = now_ns();

                result.steps[result.step_count++] = (now - step) / 1e9;
                step = now;
            }
        }
    }
    result.open_seconds = (now_ns() - begin) / 1e9;
}
