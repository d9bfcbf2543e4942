/* The generator: options, the measured window, the result as one line of JSON.
 *
 * Usage: generator MODE --port P [--option value]...   MODE is one of
 *   closed     --connections N --in-flight K (default N): requests one after the other
 *   open       --rate R: requests at constant spacing over all connections, latency from when they
 *              were due
 *   churn      --connections N at a time: connect, one echo, close, again
 *   handshakes N at a time, or --rate: of TLS, and close; --resume 1, --tickets 0: handshakes.c
 *   ramp       opens N connections, --window of them at a time, and ends
 *   hold       the same, then prints "held" and waits for the end of standard input
 *   broadcast  N receivers; one triggers a message to all (--burst B: so many), again when all
 *              have it
 * Common: --payload bytes, --seconds, --warm-up, --window, --sources, --first-source (so many loopback
 * addresses from that one on), --ports, --server-pid (its processor time in the window is in the
 * result), --other-pid (of one in front of it: added), --cpu (pin to it), --spin 1 (never sleep).
 * --tls 1: over TLS 1.3; the certificate is not looked at.
 * --websocket TARGET --keys FILE: connections are WebSockets. --sse TARGET --publish TARGET: a
 * broadcast goes to streams of events, and is posted.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "generator.h"

struct options options = {.ports = 1, .connections = 1, .payload = 64, .window = 256, .cpu = -1, .burst = 1, .tickets = 1,
                          .seconds = 3, .warm_up = 0.5};
struct result result;
struct connection *connections;
int epoll;

static uint64_t window_ns;
static struct cpu window_server, window_own;

uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

void fail(const char *what, const char *remedy)
{
    fprintf(stderr, "generator: %s (%s), %d of %d connections open\n", what, remedy, result.opened,
            options.connections);
    exit(1);
}

/* Of the server, and of what stands in front of it. */
static struct cpu cpu_of_servers(void)
{
    struct cpu cpu = {0}, other;

    if (options.server_pid)
        cpu = cpu_of(options.server_pid);
    if (options.other_pid) {
        other = cpu_of(options.other_pid);
        cpu.total_ns += other.total_ns;
        cpu.waited_ns += other.waited_ns;
        cpu.user_ticks += other.user_ticks;
        cpu.system_ticks += other.system_ticks;
    }
    return cpu;
}

/* pid 0: the servers */
static struct cpu spent(int pid, const struct cpu *since)
{
    struct cpu cpu = pid ? cpu_of(pid) : cpu_of_servers();

    cpu.total_ns -= since->total_ns;
    cpu.waited_ns -= since->waited_ns;
    cpu.user_ticks -= since->user_ticks;
    cpu.system_ticks -= since->system_ticks;
    return cpu;
}

void window_begin(void)
{
    window_server = cpu_of_servers();
    window_own = cpu_of(getpid());
    window_ns = now_ns();
}

void window_end(void)
{
    result.seconds = (now_ns() - window_ns) / 1e9;
    result.own = spent(getpid(), &window_own);
    result.server = spent(0, &window_server);
}

static void print_result(void)
{
    const struct histogram *h = &result.latency;

    printf("{\"mode\": \"%s\", \"connections\": %d, \"in_flight\": %d, \"payload\": %d, ",
           options.mode, options.connections, options.in_flight, options.payload);
    printf("\"opened\": %d, \"open_seconds\": %.6f, \"requests\": %lu, \"seconds\": %.6f, ",
           result.opened, result.open_seconds, result.requests, result.seconds);
    printf("\"rps\": %.1f, ", result.seconds > 0 ? result.requests / result.seconds : 0);
    printf("\"p50_us\": %.3f, \"p99_us\": %.3f, \"p999_us\": %.3f, \"max_us\": %.3f, ",
           histogram_quantile(h, 0.5) / 1e3, histogram_quantile(h, 0.99) / 1e3,
           histogram_quantile(h, 0.999) / 1e3, h->max_ns / 1e3);
    printf("\"mean_us\": %.3f, \"errors\": %lu, \"mismatches\": %lu, \"unanswered\": %lu, ",
           h->count ? h->sum_ns / 1e3 / h->count : 0, result.errors, result.mismatches,
           result.unanswered);
    printf("\"server_cpu_ns\": %lu, \"server_waited_ns\": %lu, \"server_user_ticks\": %lu, "
           "\"server_system_ticks\": %lu, ", result.server.total_ns, result.server.waited_ns,
           result.server.user_ticks, result.server.system_ticks);
    printf("\"resumed\": %lu, ", result.resumed);
    printf("\"own_cpu_ns\": %lu, \"own_waited_ns\": %lu, \"step_seconds\": [",
           result.own.total_ns, result.own.waited_ns);
    for (int i = 0; i < result.step_count; i++)
        printf("%s%.6f", i ? ", " : "", result.steps[i]);
    printf("]}\n");
    fflush(stdout);
}

static void read_options(int argc, char **argv)
{
    struct { const char *name, **text; } texts[] = {
        {"--websocket", &options.websocket}, {"--sse", &options.sse},
        {"--publish", &options.publish}, {"--keys", &options.keys},
    };
    struct { const char *name; int *whole; double *real; } known[] = {
        {"--port", &options.port, 0}, {"--ports", &options.ports, 0},
        {"--connections", &options.connections, 0}, {"--in-flight", &options.in_flight, 0},
        {"--payload", &options.payload, 0}, {"--window", &options.window, 0},
        {"--sources", &options.sources, 0}, {"--first-source", &options.first_source, 0},
        {"--server-pid", &options.server_pid, 0}, {"--cpu", &options.cpu, 0},
        {"--burst", &options.burst, 0}, {"--other-pid", &options.other_pid, 0},
        {"--tls", &options.tls, 0}, {"--resume", &options.resume, 0},
        {"--tickets", &options.tickets, 0},
        {"--seconds", 0, &options.seconds},
        {"--warm-up", 0, &options.warm_up}, {"--rate", 0, &options.rate},
    };

    if (argc < 2)
        fail("no mode was given", "see the head of main.c");
    options.mode = argv[1];
    for (int i = 2; i < argc; i += 2) {
        size_t k = 0;

        if (i + 1 == argc)
            fail(argv[i], "this option needs a value");
        if (!strcmp(argv[i], "--spin")) {
            options.spin = atoi(argv[i + 1]);
            continue;
        }
        while (k < sizeof texts / sizeof *texts && strcmp(texts[k].name, argv[i]))
            k++;
        if (k < sizeof texts / sizeof *texts) {
            *texts[k].text = argv[i + 1];
            continue;
        }
        k = 0;
        while (k < sizeof known / sizeof *known && strcmp(known[k].name, argv[i]))
            k++;
        if (k == sizeof known / sizeof *known)
            fail(argv[i], "there is no such option");
        if (known[k].whole)
            *known[k].whole = atoi(argv[i + 1]);
        else
            *known[k].real = atof(argv[i + 1]);
    }
    if (!options.port || options.connections < 1 || options.payload < 1 ||
        options.payload > PAYLOAD_MAX)
        fail("a port, connections and a payload of 1 to 8192 bytes are needed", "see main.c");
    if (options.burst < 1 || options.burst > BURST_MAX ||
        options.burst * (options.payload + 512) > BURST_BYTES)
        fail("a burst is of 1 to 64 messages, and 1 MiB at most", "see main.c");
    if (!options.in_flight || options.in_flight > options.connections)
        options.in_flight = options.connections;
    if (!options.sources) /* a churn leaves a port in TIME_WAIT for each connection */
        options.sources = !strcmp(options.mode, "churn") || !strcmp(options.mode, "handshakes") ? 250 : 1 + options.connections / 10000;
}

static void run(void)
{
    const char *mode = options.mode;

    if (!strcmp(mode, "churn")) {
        run_churn();
        return;
    }
    if (!strcmp(mode, "handshakes")) {
        run_handshakes();
        return;
    }
    if (!strcmp(mode, "ramp")) {
        window_begin();
        open_all(true, true);
        window_end();
        result.requests = result.opened;
        return;
    }
    open_all(strcmp(mode, "broadcast") != 0, false);
    if (!strcmp(mode, "closed"))
        run_closed();
    else if (!strcmp(mode, "open"))
        run_open_loop();
    else if (!strcmp(mode, "broadcast"))
        run_broadcast();
    else if (!strcmp(mode, "hold"))
        run_hold();
    else
        fail(mode, "there is no such mode");
}

int main(int argc, char **argv)
{
    struct rlimit files;

    read_options(argc, argv);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlives the benchmark that started it */
    prctl(PR_SET_TIMERSLACK, 1);
    if (options.cpu >= 0) {
        cpu_set_t set;

        CPU_ZERO(&set);
        CPU_SET(options.cpu, &set);
        sched_setaffinity(0, sizeof set, &set);
    }
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    epoll = epoll_create1(0);
    connections = calloc(options.connections, sizeof *connections);
    result.steps = calloc(options.connections / RAMP_STEP + 1, sizeof *result.steps);
    exchange_prepare();
    if (options.tls)
        tls_prepare();
    run();
    print_result();
    return 0;
}
