/* A time of day that a test sets: preloaded into a process, it adds the seconds in the file CLOCK_FILE to the real one.

   Waiting until a time of day is done as Linux does it: who waits when the clock is set waits until the clock shows
   that time, be it at once or an hour later. The monotonic clock and the times of files stay the real ones. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

enum { NANOSECONDS = 1000000000, LOOK_EVERY = 20000000 };

static int (*real_clock)(clockid_t, struct timespec *);
static int (*real_wait)(cnd_t *, mtx_t *, const struct timespec *);
static _Atomic int64_t *offset;

static void __attribute__((constructor)) begin(void) {
    int file = open(getenv("CLOCK_FILE"), O_RDONLY);
    offset = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    if (offset == MAP_FAILED)
        abort();
    close(file);
    real_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    real_wait = (int (*)(cnd_t *, mtx_t *, const struct timespec *))dlsym(RTLD_NEXT, "cnd_timedwait");
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = real_clock ? real_clock(clock, now) : (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += atomic_load(offset);
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec found;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now)
        *now = found.tv_sec;
    return found.tv_sec;
}

int timespec_get(struct timespec *now, int base) {
    return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, now) ? base : 0;
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    for (;;) {
        struct timespec now, look;
        clock_gettime(CLOCK_REALTIME, &now);
        int64_t left = (int64_t)(until->tv_sec - now.tv_sec) * NANOSECONDS + until->tv_nsec - now.tv_nsec;
        if (left <= 0)
            return thrd_timedout;
        real_clock(CLOCK_REALTIME, &look);
        look.tv_nsec += left < LOOK_EVERY ? left : LOOK_EVERY;
        look.tv_sec += look.tv_nsec / NANOSECONDS;
        look.tv_nsec %= NANOSECONDS;
        int woken = real_wait(condition, mutex, &look);
        if (woken != thrd_timedout)
            return woken;
    }
}
