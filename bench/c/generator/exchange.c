/* One request and its reply, checked byte by byte. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "generator.h"

char received[BUFFER];

static char message[PAYLOAD_MAX]; /* the first 8 bytes are written anew for each request */

void exchange_prepare(void)
{
    for (int i = 0; i < PAYLOAD_MAX; i++)
        message[i] = 'a' + i % 23;
}

static void mark(const struct connection *c)
{
    uint32_t head[2] = {(uint32_t)(c - connections), c->sequence};

    memcpy(message, head, options.payload < 8 ? options.payload : 8);
}

/* Sends the next request; false if the connection is lost, which is counted. */
bool request(struct connection *c, uint64_t start_ns)
{
    c->sequence++;
    c->got = 0;
    c->start_ns = start_ns;
    mark(c);
    if (send(c->fd, message, options.payload, MSG_NOSIGNAL) != options.payload) {
        result.errors++;
        finish(c);
        return false;
    }
    return true;
}

/* Takes what came. An edge-triggered socket that gave less than was asked for is empty. */
enum reply reply_of(struct connection *c)
{
    ssize_t count = recv(c->fd, received, sizeof received, 0);

    if (count < 0 && errno == EAGAIN)
        return NOTHING;
    if (count <= 0)
        return END;
    mark(c);
    if (c->got + count > options.payload || memcmp(message + c->got, received, count))
        return WRONG;
    c->got += count;
    return c->got == (uint32_t)options.payload ? WHOLE : PART;
}

/* Whether `received` has the bytes from `offset` on of the message that was sent last. */
bool is_message_part(uint32_t offset, size_t count)
{
    return offset + count <= (size_t)options.payload && !memcmp(message + offset, received, count);
}

void finish(struct connection *c)
{
    close(c->fd);
    c->fd = -1;
    c->state = CLOSED;
}
