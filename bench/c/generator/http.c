/* What a WebSocket and a stream of events begin with; publishing by POST; events in a stream.
 *
 * Keys and the right answers to them come from a file, so that no handshake is like the last one
 * and none is believed. With --sse, connection 0 publishes and all others have a stream.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "generator.h"

#define KEYS_MAX 65536
#define KEY 24
#define ACCEPT 28

static char keys[KEYS_MAX][KEY + 1], accepts[KEYS_MAX][ACCEPT + 1];
static int key_count, used;

void http_prepare(void)
{
    FILE *file = options.websocket && options.keys ? fopen(options.keys, "r") : NULL;

    if (options.sse)
        return;
    if (!file)
        fail("--websocket needs --keys", "a file of lines KEY ACCEPT");
    while (key_count < KEYS_MAX &&
           fscanf(file, "%24s %28s", keys[key_count], accepts[key_count]) == 2)
        key_count++;
    fclose(file);
    if (!key_count)
        fail("there are no keys", options.keys);
}

bool says_hello(const struct connection *c)
{
    return options.websocket || (options.sse && c != connections);
}

void say_hello(struct connection *c)
{
    char text[1024];
    int size;

    if (options.websocket) {
        c->sequence = used++ % key_count;
        size = snprintf(text, sizeof text,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: bench\r\n"
                        "Origin: http://127.0.0.1:%d\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Key: %s\r\n"
                        "Sec-WebSocket-Version: 13\r\n\r\n",
                        options.websocket, options.port, options.port, keys[c->sequence]);
    } else {
        size = snprintf(text, sizeof text,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: bench\r\n"
                        "Accept: text/event-stream\r\n\r\n", options.sse, options.port);
    }
    if (send(c->fd, text, size, MSG_NOSIGNAL) != size)
        fail("a connection was lost while it was opened", "see the server's errors");
}

/* Whether the response's head has come; it is taken, what is behind it is left. Never returns if
 * it is not the right one. */
bool is_welcome(struct connection *c)
{
    ssize_t count = recv(c->fd, received, sizeof received - 1, MSG_PEEK);
    char *end;

    if (count < 0 && errno == EAGAIN)
        return false;
    if (count <= 0)
        fail("the server ended a connection that was opened", "see its errors");
    received[count] = 0;
    end = strstr(received, "\r\n\r\n");
    if (!end)
        return false;
    end[2] = 0;
    if (options.websocket ? strncmp(received, "HTTP/1.1 101 ", 13) ||
                                !strstr(received, accepts[c->sequence])
                          : strncmp(received, "HTTP/1.1 200 ", 13) ||
                                !strcasestr(received, "text/event-stream"))
        fail("the response is not the right one", received);
    if (recv(c->fd, received, end + 4 - received, 0) != end + 4 - received)
        fail("a response could not be taken", strerror(errno));
    c->sequence = 0;
    return true;
}

static char events[BURST_MAX][PAYLOAD_MAX + 16]; /* what is waited for, one after the other */

bool publish_burst(struct connection *c)
{
    static char text[BURST_BYTES];
    int size = 0;

    for (int i = 0; i < options.burst; i++) {
        prepare_message(c);
        size += snprintf(text + size, sizeof text - size,
                         "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: %d\r\n"
                         "Content-Type: text/plain\r\n\r\n%s",
                         options.publish, options.port, options.payload, sent_last());
        snprintf(events[i], sizeof events[i], "\ndata: %s\n", sent_last());
    }
    return send(c->fd, text, size, MSG_NOSIGNAL) == size;
}

/* Whether a connection has all that it waits for with what is in `received`: the responses to a
 * burst's POSTs, or its events, in order. An event's bytes before "data: " differ between servers.
 */
bool has_all_events(struct connection *c, size_t count)
{
    bool is_publisher = c == connections;

    for (size_t i = 0; i < count && c->turn < (uint64_t)options.burst; i++) {
        const char *wanted = is_publisher ? "HTTP/1.1 20" : events[c->turn];

        /* What a text begins with is nowhere in it but at its end. */
        c->got = received[i] == wanted[c->got] ? c->got + 1 : received[i] == wanted[0];
        if (!wanted[c->got]) {
            c->got = received[i] == wanted[0]; /* a line's end may be the next one's beginning */
            c->turn++;
        }
    }
    return c->turn == (uint64_t)options.burst;
}
