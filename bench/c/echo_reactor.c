/* The textbook reactor: an object for each descriptor with its callbacks, one event at a time.
 *
 * What has been read is answered when the descriptor is writable: for each message the interest is
 * changed to EPOLLOUT and back to EPOLLIN, two epoll_ctl calls. One accept an event, and a listen
 * backlog of 10, as in many a tutorial. Usage: echo_reactor PORT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 10
#define EVENTS 1024
#define BUFFER 8192

struct handler {
    int fd;
    void (*on_readable)(struct handler *);
    void (*on_writable)(struct handler *);
    size_t length, written;
    char buffer[BUFFER];
};

static int reactor;

static void watch(struct handler *handler, int operation, uint32_t interest)
{
    struct epoll_event event = {.events = interest, .data.ptr = handler};

    epoll_ctl(reactor, operation, handler->fd, &event);
}

static void end(struct handler *handler)
{
    epoll_ctl(reactor, EPOLL_CTL_DEL, handler->fd, NULL);
    close(handler->fd);
    free(handler);
}

static void read_message(struct handler *handler)
{
    ssize_t count = recv(handler->fd, handler->buffer, BUFFER, 0);

    if (count > 0) {
        handler->length = count;
        handler->written = 0;
        watch(handler, EPOLL_CTL_MOD, EPOLLOUT);
    } else if (count == 0 || errno != EAGAIN) {
        end(handler);
    }
}

static void write_message(struct handler *handler)
{
    ssize_t count = send(handler->fd, handler->buffer + handler->written,
                         handler->length - handler->written, MSG_NOSIGNAL);

    if (count < 0) {
        if (errno != EAGAIN)
            end(handler);
        return;
    }
    handler->written += count;
    if (handler->written == handler->length)
        watch(handler, EPOLL_CTL_MOD, EPOLLIN);
}

static void accept_one(struct handler *listener)
{
    struct handler *handler;
    int one = 1, fd = accept(listener->fd, NULL, NULL);

    if (fd < 0)
        return;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    handler = malloc(sizeof *handler);
    handler->fd = fd;
    handler->on_readable = read_message;
    handler->on_writable = write_message;
    watch(handler, EPOLL_CTL_ADD, EPOLLIN);
}

static struct handler *listener_on(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct handler *listener = calloc(1, sizeof *listener);
    int one = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    listener->on_readable = accept_one;
    setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener->fd, (struct sockaddr *)&address, sizeof address) ||
        listen(listener->fd, BACKLOG)) {
        perror("echo_reactor: listening failed");
        exit(2);
    }
    return listener;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];

    if (argc != 2) {
        fprintf(stderr, "usage: echo_reactor PORT\n");
        return 2;
    }
    reactor = epoll_create1(0);
    watch(listener_on(atoi(argv[1])), EPOLL_CTL_ADD, EPOLLIN);
    for (;;) {
        int count = epoll_wait(reactor, events, EVENTS, -1);

        for (int i = 0; i < count; i++) {
            struct handler *handler = events[i].data.ptr;

            if (events[i].events & EPOLLOUT)
                handler->on_writable(handler);
            else
                handler->on_readable(handler);
        }
    }
}
