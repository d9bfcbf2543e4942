/* The bare socket: accepts, echoes once with blocking calls, and then only holds the descriptor.
 *
 * What a connection costs the kernel where nobody waits for its input: what every other server's
 * kernel memory is compared with. Usage: hold_bare PORT
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    char buffer[65536];

    if (argc != 2) {
        fprintf(stderr, "usage: hold_bare PORT\n");
        return 2;
    }
    address.sin_port = htons(atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 65535)) {
        perror("hold_bare: listening failed");
        return 2;
    }
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        ssize_t count = fd < 0 ? 0 : recv(fd, buffer, sizeof buffer, 0);

        if (count <= 0 || send(fd, buffer, count, MSG_NOSIGNAL) != count)
            close(fd); /* one that only looked whether we listen */
    }
}
