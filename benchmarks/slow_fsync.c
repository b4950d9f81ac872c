/* Lets fsync and fdatasync take at least SLOW_FSYNC_US microseconds; for LD_PRELOAD, see disk.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

typedef int (*sync_call)(int);

static int slowly(const char *name, int fd)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int done = ((sync_call)dlsym(RTLD_NEXT, name))(fd);
    const char *least = getenv("SLOW_FSYNC_US");
    until.tv_nsec += (least ? atol(least) : 0) * 1000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    prctl(PR_SET_TIMERSLACK, 1000); /* by default the kernel may sleep for 50 us longer */
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    return done;
}

int fsync(int fd) { return slowly("fsync", fd); }

int fdatasync(int fd) { return slowly("fdatasync", fd); }
