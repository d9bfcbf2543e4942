/* One request and its reply, checked byte by byte. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "generator.h"

char received[BUFFER];

#define HEAD 4 /* bytes before a message, in a frame of up to 65,535 bytes */

static char reply[HEAD + PAYLOAD_MAX + 4]; /* what is expected */
static char *message = reply;              /* in it; its beginning is written anew each time */
static char frame[HEAD + 4 + PAYLOAD_MAX + 4];
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

/* Puts the message into `frame`; the frame's size. */
static int mask_message(void)
{
    static uint32_t mask = 2463534242u;
    int start = frame_head((unsigned char *)frame, 0x80);

    mask ^= mask << 13, mask ^= mask >> 17, mask ^= mask << 5;
    memcpy(frame + start, &mask, 4);
    for (int i = 0; i < options.payload; i += 4) { /* there is room for the last whole word */
        uint32_t word;

        memcpy(&word, message + i, 4);
        word ^= mask;
        memcpy(frame + start + 4 + i, &word, 4);
    }
    return start + 4 + options.payload;
}

/* Sends the next request; false if the connection is lost, which is counted. */
bool request(struct connection *c, uint64_t start_ns)
{
    const char *sent = message;
    ssize_t size = options.payload;

    c->start_ns = start_ns;
    prepare_message(c);
    if (options.websocket) {
        size = mask_message();
        sent = frame;
    }
    if (bytes_out(c, sent, size) != size) {
        result.errors++;
        finish(c);
        return false;
    }
    return true;
}

/* Answers the pings between messages in `received`, and takes them out; what is left. A server that
 * asks for signs of life sends one now and then.
 */
size_t without_pings(struct connection *c, size_t count)
{
    static const char pong[6] = {(char)0x8a, (char)0x80, 1, 2, 3, 4};
    size_t left = 0, in_message = c->got % reply_size();

    if (!options.websocket)
        return count;
    for (size_t i = 0, n; i < count; i += n) {
        if (!in_message && i + 1 < count && received[i] == (char)0x89 && !received[i + 1]) {
            result.errors += send(c->fd, pong, sizeof pong, MSG_NOSIGNAL) != sizeof pong;
            n = 2;
            continue;
        }
        n = reply_size() - in_message < count - i ? reply_size() - in_message : count - i;
        memmove(received + left, received + i, n);
        in_message = (in_message + n) % reply_size();
        left += n;
    }
    return left;
}

/* Takes what came. An edge-triggered socket that gave less than was asked for is empty. */
enum reply reply_of(struct connection *c)
{
    ssize_t count = bytes_in(c, received, sizeof received);

    if (count < 0 && errno == EAGAIN)
        return NOTHING;
    if (count <= 0)
        return END;
    count = without_pings(c, count);
    if (!count)
        return NOTHING;
    mark(c);
    if (c->got + count > reply_size() || memcmp(reply + c->got, received, count))
        return WRONG;
    c->got += count;
    return c->got == reply_size() ? WHOLE : PART;
}

/* A burst: several requests of one connection at once, and what is expected of it. */
static char burst[BURST_BYTES], burst_frames[BURST_BYTES];
static uint32_t burst_size;

uint32_t burst_reply_size(void)
{
    return burst_size;
}

/* Whether `received` has the bytes from `offset` on of the replies to a burst. */
bool is_burst_part(uint32_t offset, size_t count)
{
    return offset + count <= burst_size && !memcmp(burst + offset, received, count);
}

bool request_burst(struct connection *c)
{
    uint32_t sent = 0;

    burst_size = 0;
    for (int i = 0; i < options.burst; i++) {
        prepare_message(c);
        memcpy(burst + burst_size, reply, reply_size());
        burst_size += reply_size();
        if (options.websocket) {
            int size = mask_message();

            memcpy(burst_frames + sent, frame, size);
            sent += size;
        }
    }
    return options.websocket ? send(c->fd, burst_frames, sent, MSG_NOSIGNAL) == (ssize_t)sent
                             : send(c->fd, burst, burst_size, MSG_NOSIGNAL) == (ssize_t)burst_size;
}

void finish(struct connection *c)
{
    if (c->tls)
        tls_end(c);
    close(c->fd);
    c->fd = -1;
    c->state = CLOSED;
}
