/* A preload library that makes this process's fsync and fdatasync take a while longer, as a slower disk would.
 *
 *   LD_PRELOAD=slow_sync.so SLOW_SYNC_MICROSECONDS=2000 [SLOW_SYNC_TURNS=FILE] program
 *
 * Without SLOW_SYNC_TURNS, syncs of different threads and processes overlap, as on an SSD with a deep queue. With it, one waits
 * for the other, across all processes that name the same file, as on a disk with one head or a journal with one writer: a
 * mutex that they share lies in that file.
 *
 * cc -O2 -shared -fPIC slow_sync.c -o slow_sync.so
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* What the file holds. It begins as zeros: the first process sets the mutex up. */
struct turns {
    _Atomic uint32_t state; /* 0 new, 1 being set up, 2 ready */
    _Atomic uint64_t syncs; /* how many there were: shows that the library works */
    pthread_mutex_t mutex;
};

static struct turns *turns;
static long microseconds;

static void set_up_mutex(void) {
    uint32_t fresh = 0;
    if (atomic_compare_exchange_strong(&turns->state, &fresh, 1)) {
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST); /* its owner may be killed */
        pthread_mutex_init(&turns->mutex, &attributes);
        atomic_store(&turns->state, 2);
    }
    while (atomic_load(&turns->state) != 2) usleep(100);
}

/* Runs before main, and so before the program gives up the rights that it may need to open the file. */
__attribute__((constructor)) static void begin(void) {
    const char *delay = getenv("SLOW_SYNC_MICROSECONDS"), *path = getenv("SLOW_SYNC_TURNS");
    microseconds = delay ? atol(delay) : 0;
    if (!path) return;
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0) _exit(111);
    if (ftruncate(file, sizeof *turns)) _exit(111);
    turns = mmap(NULL, sizeof *turns, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (turns == MAP_FAILED) _exit(111);
    set_up_mutex();
}

static void wait_a_while(void) {
    struct timespec left = {microseconds / 1000000, microseconds % 1000000 * 1000};
    while (nanosleep(&left, &left) && errno == EINTR) continue;
}

static int slowed(int (*real)(int), int file) {
    if (!turns) {
        wait_a_while();
        return real(file);
    }
    atomic_fetch_add(&turns->syncs, 1);
    if (pthread_mutex_lock(&turns->mutex) == EOWNERDEAD) pthread_mutex_consistent(&turns->mutex);
    wait_a_while();
    int result = real(file), error = errno;
    pthread_mutex_unlock(&turns->mutex);
    errno = error;
    return result;
}

int fsync(int file) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return slowed(real, file);
}

int fdatasync(int file) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return slowed(real, file);
}
