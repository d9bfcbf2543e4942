/* WebSocket subscribers that compare every byte which comes with what is to come.

   subscribers SOURCE COUNT EXPECTED-FILE SECONDS PORT...

   Opens COUNT connections from the address SOURCE to 127.0.0.1, at the ports in turn, subscribes to
   the channel "bench" and says "open N". From then on each connection must get the bytes of the
   file, from its first to its last and no more. Says how many did when all have, or after SECONDS.
   Shares no code with c1m. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WINDOW = 128, EVENTS = 512, BUFFER = 1 << 18, SETTLE_S = 3 };
enum { CONNECTING, ASKED, OPEN, WRONG, ENDED };

static const char *REQUEST = "GET /connect?channel=bench HTTP/1.1\r\nHost: bench\r\n"
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

struct subscriber { int fd; unsigned char state; size_t at; };

static struct subscriber *all;
static char *expected, buffer[BUFFER];
static size_t size;
static long opened, complete, wrong, extra, ended;

static void fail(const char *what) { perror(what); exit(1); }

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void connect_one(int epoll, long i, const char *source, int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    if (fd < 0) fail("socket");
    inet_pton(AF_INET, source, &from.sin_addr);
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    to.sin_port = htons(port);
    setsockopt(fd, SOL_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &on, sizeof on);
    if (bind(fd, (void *)&from, sizeof from)) fail("bind");
    if (connect(fd, (void *)&to, sizeof to) && errno != EINPROGRESS) fail("connect");
    all[i] = (struct subscriber){.fd = fd, .state = CONNECTING};
    struct epoll_event event = {.events = EPOLLOUT, .data.u64 = i};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl");
}

static void end(struct subscriber *one)
{
    close(one->fd);
    one->state = ENDED;
    ended++;
}

static void hear(struct subscriber *one)
{
    if (one->state == ASKED) { /* the response, and no byte behind it */
        ssize_t n = recv(one->fd, buffer, 2048, MSG_PEEK);
        if (n <= 0) { if (n == 0 || errno != EAGAIN) end(one); return; }
        char *tail = memmem(buffer, n, "\r\n\r\n", 4);
        if (!tail) return;
        if (strncmp(buffer, "HTTP/1.1 101", 12)) { end(one); return; }
        if (recv(one->fd, buffer, tail + 4 - buffer, 0) < 0) fail("recv");
        one->state = OPEN;
        opened++;
    }
    ssize_t n = recv(one->fd, buffer, BUFFER, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) { end(one); return; }
    if (one->state == WRONG) return;
    if (one->at + n > size) {
        complete -= one->at == size;
        extra++;
        one->state = WRONG;
        return;
    }
    if (memcmp(buffer, expected + one->at, n)) { wrong++; one->state = WRONG; return; }
    one->at += n;
    if (one->at == size) complete++;
}

int main(int argc, char **argv)
{
    if (argc < 6) return 2;
    long count = atol(argv[2]), begun = 0;
    double until = now() + atof(argv[4]), settled = 0;
    FILE *file = fopen(argv[3], "rb");
    if (!file) fail(argv[3]);
    fseek(file, 0, SEEK_END);
    size = ftell(file);
    rewind(file);
    expected = malloc(size);
    if (fread(expected, 1, size, file) != size) fail("read");
    all = calloc(count, sizeof *all);
    int epoll = epoll_create1(0), said = 0;
    struct epoll_event events[EVENTS];
    while (now() < until && !(settled && now() > settled)) {
        while (begun < count && begun - opened - ended < WINDOW) {
            connect_one(epoll, begun, argv[1], atoi(argv[5 + begun % (argc - 5)]));
            begun++;
        }
        int n = epoll_wait(epoll, events, EVENTS, 100);
        for (int k = 0; k < n; k++) {
            struct subscriber *one = &all[events[k].data.u64];
            if (one->state == CONNECTING) {
                if (send(one->fd, REQUEST, strlen(REQUEST), 0) < 0) { end(one); continue; }
                one->state = ASKED;
                events[k].events = EPOLLIN;
                epoll_ctl(epoll, EPOLL_CTL_MOD, one->fd, &events[k]);
            } else if (one->state != ENDED) {
                hear(one);
            }
        }
        if (!said && opened + ended == count) {
            printf("open %ld\n", opened);
            fflush(stdout);
            said = 1;
        }
        if (!settled && complete + wrong + extra + ended >= count) settled = now() + SETTLE_S;
    }
    size_t least = size;
    for (long i = 0; i < count; i++) if (all[i].at < least) least = all[i].at;
    printf("{\"asked\": %ld, \"opened\": %ld, \"complete\": %ld, \"wrong\": %ld, \"extra\": %ld, "
           "\"ended\": %ld, \"least_bytes\": %zu}\n",
           count, opened, complete, wrong, extra, ended, least);
    return 0;
}
