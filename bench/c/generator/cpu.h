/* Processor time of another process, from the kernel's accounting. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cpu {
    uint64_t total_ns;                 /* all threads, from schedstat: exact */
    uint64_t waited_ns;                /* ready to run, while something else had the core */
    uint64_t user_ticks, system_ticks; /* from stat, 10 ms each, sampled: only their share is used */
};

static inline struct cpu cpu_of(int pid)
{
    struct cpu cpu = {0};
    char path[300], text[2048];
    struct dirent *entry;
    DIR *threads;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/task", pid);
    threads = opendir(path);
    while (threads && (entry = readdir(threads))) {
        unsigned long long ns, waited;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, entry->d_name);
        if ((file = fopen(path, "r"))) {
            if (fscanf(file, "%llu %llu", &ns, &waited) == 2)
                cpu.total_ns += ns, cpu.waited_ns += waited;
            fclose(file);
        }
    }
    if (threads)
        closedir(threads);
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if ((file = fopen(path, "r"))) {
        size_t length = fread(text, 1, sizeof text - 1, file);
        char *after;

        text[length] = 0;
        /* the name in parentheses may hold anything: count fields from the last ')' */
        if ((after = strrchr(text, ')'))) {
            unsigned long long user = 0, system = 0;

            if (sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu",
                       &user, &system) == 2)
                cpu.user_ticks = user, cpu.system_ticks = system;
        }
        fclose(file);
    }
    return cpu;
}
