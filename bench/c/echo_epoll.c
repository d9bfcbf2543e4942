/* The reference: a plain echo server on epoll, one thread, level-triggered, recv and send.
 *
 * Nothing else: no buffers kept, no output queue. What the kernel does not take at once ends the
 * connection, since the benchmark's messages always fit. Usage: echo_epoll PORT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 1024
#define BUFFER 65536

static int listen_on(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* accepted ones inherit it */
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 65535)) {
        perror("echo_epoll: listening failed");
        exit(2);
    }
    return listener;
}

static void accept_all(int epoll, int listener)
{
    for (;;) {
        struct epoll_event event = {.events = EPOLLIN};
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);

        if (fd < 0)
            return; /* EAGAIN; or EMFILE, and the listener is reported again */
        event.data.fd = fd;
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

static void echo(int fd)
{
    static char buffer[BUFFER];
    ssize_t count = recv(fd, buffer, sizeof buffer, 0);

    if (count < 0 && errno == EAGAIN)
        return;
    if (count <= 0 || send(fd, buffer, count, MSG_NOSIGNAL) != count)
        close(fd);
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN};
    int epoll = epoll_create1(0), listener;

    if (argc != 2) {
        fprintf(stderr, "usage: echo_epoll PORT\n");
        return 2;
    }
    listener = listen_on(atoi(argv[1]));
    event.data.fd = listener;
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);

        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                accept_all(epoll, listener);
            else
                echo(events[i].data.fd);
        }
    }
}
