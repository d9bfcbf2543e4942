/* The reference for broadcast: what one connection sends goes to all, one send call each.
 *
 * Level-triggered epoll, one thread. A message has to fit into the receivers' socket buffers; one
 * that does not take it is closed. Usage: broadcast_epoll PORT
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
#define FDS_MAX 1048576

static int members[FDS_MAX], member_count;
static int place_of[FDS_MAX]; /* by descriptor */

static void add(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    place_of[fd] = member_count;
    members[member_count++] = fd;
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void drop(int fd)
{
    int last = members[--member_count];

    members[place_of[fd]] = last;
    place_of[last] = place_of[fd];
    close(fd);
}

static void broadcast(const char *message, size_t length)
{
    for (int i = member_count - 1; i >= 0; i--)
        if (send(members[i], message, length, MSG_NOSIGNAL) != (ssize_t)length)
            drop(members[i]);
}

static void take(int fd)
{
    static char buffer[BUFFER];
    ssize_t count = recv(fd, buffer, sizeof buffer, 0);

    if (count > 0)
        broadcast(buffer, count);
    else if (count == 0 || (errno != EAGAIN && errno != EBADF))
        drop(fd); /* EBADF: dropped earlier in this batch */
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN};
    int one = 1, fd, epoll = epoll_create1(0);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (argc != 2) {
        fprintf(stderr, "usage: broadcast_epoll PORT\n");
        return 2;
    }
    address.sin_port = htons(atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 65535)) {
        perror("broadcast_epoll: listening failed");
        return 2;
    }
    event.data.fd = listener;
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);

        for (int i = 0; i < count; i++) {
            if (events[i].data.fd != listener)
                take(events[i].data.fd);
            else
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
                    add(epoll, fd);
        }
    }
}
