// uWebSockets, as its examples use it. Usage: websocket PORT [echo|broadcast]
#include <cstdlib>
#include <cstring>

#include "App.h"

struct Nothing {};

int main(int argc, char **argv)
{
    int port = argc > 1 ? atoi(argv[1]) : 0;
    bool is_broadcast = argc > 2 && !strcmp(argv[2], "broadcast");
    uWS::App app;

    app.ws<Nothing>("/*", {
        .compression = uWS::DISABLED,
        .maxPayloadLength = 1 << 20,
        .idleTimeout = 0,
        .open = [is_broadcast](auto *socket) {
            if (is_broadcast)
                socket->subscribe("all");
        },
        .message = [is_broadcast, &app](auto *socket, std::string_view message, uWS::OpCode kind) {
            if (is_broadcast)
                app.publish("all", message, kind, false);
            else
                socket->send(message, kind, false);
        },
    });
    app.listen("127.0.0.1", port, [](auto *listener) {
        if (!listener)
            exit(2);
    });
    app.run();
}
