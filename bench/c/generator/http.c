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

bool publish(struct connection *c, const char *body)
{
    static char text[PAYLOAD_MAX + 512];
    int size = snprintf(text, sizeof text,
                        "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: %zu\r\n"
                        "Content-Type: text/plain\r\n\r\n%s",
                        options.publish, options.port, strlen(body), body);

    return send(c->fd, text, size, MSG_NOSIGNAL) == size;
}

/* Whether `received` ends what a connection waits for: the response to a POST, or the event with
 * this data. An event's bytes before "data: " differ between servers. */
bool is_event_or_response(struct connection *c, const char *body, size_t count)
{
    static char wanted[PAYLOAD_MAX + 16];
    static const char *made_of;
    static uint32_t size, sequence;

    if (c == connections)
        return count > 12 && !strncmp(received, "HTTP/1.1 20", 11);
    if (made_of != body || sequence != connections->sequence) {
        size = snprintf(wanted, sizeof wanted, "\ndata: %s\n", body);
        made_of = body;
        sequence = connections->sequence;
    }
    for (size_t i = 0; i < count; i++) { /* a line's end is nowhere within what is wanted */
        c->got = received[i] == wanted[c->got] ? c->got + 1 : received[i] == '\n';
        if (c->got == size)
            return true;
    }
    return false;
}
