/* One request and its reply, checked byte by byte. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "generator.h"

char received[BUFFER];

#define HEAD 4 /* bytes before a message, in a frame of up to 65,535 bytes */

static char reply[HEAD + PAYLOAD_MAX + 1]; /* what is expected */
static char *message = reply;              /* in it; its beginning is written anew each time */
static char frame[HEAD + 4 + PAYLOAD_MAX];
static int head; /* bytes of `reply` before the message */

uint32_t reply_size(void)
{
    return head + options.payload;
}

/* The message that was sent last, with a zero behind it. */
const char *sent_last(void)
{
    return message;
}

/* FIN and TEXT; the length in 7 bits or in 16 (RFC 6455, 5.2). */
static int frame_head(unsigned char *at, int mask_bit)
{
    at[0] = 0x81;
    if (options.payload < 126) {
        at[1] = mask_bit | options.payload;
        return 2;
    }
    at[1] = mask_bit | 126;
    at[2] = options.payload >> 8;
    at[3] = options.payload;
    return 4;
}

void exchange_prepare(void)
{
    if (options.websocket)
        head = frame_head((unsigned char *)reply, 0);
    message = reply + head;
    for (int i = 0; i < options.payload; i++)
        message[i] = 'a' + i % 23;
    if (options.websocket || options.sse)
        http_prepare();
}

static void mark(const struct connection *c)
{
    uint32_t numbers[2] = {(uint32_t)(c - connections), c->sequence};

    if (!options.websocket && !options.sse) {
        memcpy(message, numbers, options.payload < 8 ? options.payload : 8);
        return;
    }
    for (int i = 0; i < 16 && i < options.payload; i++) /* as text */
        message[i] = 'A' + (numbers[i / 8] >> i % 8 * 4 & 15);
}

/* The connection's next message. */
void prepare_message(struct connection *c)
{
    c->sequence++;
    c->got = 0;
    mark(c);
}

static ssize_t send_masked(int fd)
{
    static uint32_t mask = 2463534242u;
    int start = frame_head((unsigned char *)frame, 0x80), size = start + 4 + options.payload;
    ssize_t count;

    mask ^= mask << 13, mask ^= mask >> 17, mask ^= mask << 5;
    memcpy(frame + start, &mask, 4);
    for (int i = 0; i < options.payload; i++)
        frame[start + 4 + i] = message[i] ^ frame[start + i % 4];
    count = send(fd, frame, size, MSG_NOSIGNAL);
    return count == size ? options.payload : -1;
}

/* Sends the next request; false if the connection is lost, which is counted. */
bool request(struct connection *c, uint64_t start_ns)
{
    ssize_t count;

    c->start_ns = start_ns;
    prepare_message(c);
    count = options.websocket ? send_masked(c->fd)
                              : send(c->fd, message, options.payload, MSG_NOSIGNAL);
    if (count != options.payload) {
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
    if (c->got + count > reply_size() || memcmp(reply + c->got, received, count))
        return WRONG;
    c->got += count;
    return c->got == reply_size() ? WHOLE : PART;
}

/* Whether `received` has the bytes from `offset` on of the reply to what was sent last. */
bool is_message_part(uint32_t offset, size_t count)
{
    return offset + count <= reply_size() && !memcmp(reply + offset, received, count);
}

void finish(struct connection *c)
{
    close(c->fd);
    c->fd = -1;
    c->state = CLOSED;
}
