/* One SMTP client for every server that is measured: many sessions in one thread, with STARTTLS and AUTH PLAIN.
 *
 *   load MODE port=N sessions=N count=N [opening=N] [size=N] [sender=A] [recipient=A] [tls=1] [auth=BASE64]
 *        [keep=0] [batch=N] [each=N]
 *
 * MODE is mail (count messages, one command at a time as most clients send them), login (count times connect, STARTTLS, AUTH
 * and QUIT), refuse (count refused RCPTs, batch of them in one segment, a new connection after each) or idle (sessions that
 * have said EHLO, until standard input ends; "ready" is printed before). At most opening sessions are between connect and
 * the end of EHLO, STARTTLS and AUTH. Prints one JSON object. A reply that was not expected ends it with status 1: what is not
 * wholly good is not measured.
 *
 * OpenSSL's functions are declared here, so that its headers are not needed: cc -O2 load.c -l:libssl.so.3 -l:libcrypto.so.3
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;
const void *TLS_client_method(void);
SSL_CTX *SSL_CTX_new(const void *);
long SSL_CTX_ctrl(SSL_CTX *, int, long, void *);
SSL *SSL_new(SSL_CTX *);
void SSL_free(SSL *);
int SSL_set_fd(SSL *, int);
int SSL_connect(SSL *);
int SSL_read(SSL *, void *, int);
int SSL_write(SSL *, const void *, int);
int SSL_get_error(const SSL *, int);
void ERR_clear_error(void);
enum { WANT_READ = 2, WANT_WRITE = 3, CTRL_MODE = 33, PARTIAL_AND_MOVING = 3 };

enum mode { MAIL, LOGIN, REFUSE, IDLE };
enum step { GREETING, EHLO, STARTTLS, HANDSHAKE, EHLO_TLS, AUTH, AT_MAIL, AT_RCPT, AT_DATA, AT_DOT, AT_REFUSED, AT_IDLE, AT_QUIT };
enum { COMMAND = 512, MAX_BATCH = 100, TIMEOUT_SECONDS = 60 };

struct session {
    int fd;
    SSL *ssl;
    enum step step;
    int outstanding;        /* replies that are still to come for this step */
    char in[4096];
    size_t have;
    const char *out;        /* what is still to be sent */
    size_t left;
    char command[COMMAND];
    double sent;            /* when the final dot was */
    unsigned events;
    int refused;
};

static enum mode mode;
static int port, sessions = 1, use_tls, keep = 1, batch = 20, each = 1000, opening = 64, connecting, alive, idle, epoll_fd;
static long count = 1, size = 4096, begun, finished;
static struct session *all;
static double clock_started, clock_ended;
static const char *sender = "alice@example.com", *recipient = "bob@elsewhere.example", *auth;
static char *body, *refusals;
static size_t body_length, refusals_length;
static double *latencies;
static SSL_CTX *context;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *format, ...) {
    va_list words;
    va_start(words, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, words);
    fputc('\n', stderr);
    exit(1);
}

static void *memory(size_t octets) {
    void *found = calloc(1, octets);
    if (!found) fail("out of memory");
    return found;
}

static void make_texts(void) {
    int header;
    body = memory(size + 1024);
    header = sprintf(body, "From: <%s>\r\nTo: <%s>\r\nSubject: benchmark\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n"
                     "Message-ID: <benchmark@client.example>\r\n\r\n", sender, recipient);
    body_length = header;
    while (body_length + 5 < (size_t)size) {
        size_t line = size - body_length - 5 < 78 ? size - body_length - 5 : 76;
        memset(body + body_length, 'x', line);
        body_length += line;
        if ((size_t)size - body_length > 7) {
            memcpy(body + body_length, "\r\n", 2);
            body_length += 2;
        }
    }
    memcpy(body + body_length, "\r\n.\r\n", 5);
    body_length += 5;
    refusals = memory(batch * COMMAND);
    for (int i = 0; i < batch; i++) refusals_length += sprintf(refusals + refusals_length, "RCPT TO:<%s>\r\n", recipient);
}

static void watch(struct session *s, unsigned events) {
    struct epoll_event event = {.events = events, .data.ptr = s};
    if (s->events == events) return;
    if (epoll_ctl(epoll_fd, s->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, s->fd, &event)) fail("epoll: %s", strerror(errno));
    s->events = events;
}

static void open_session(struct session *s) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    memset(s, 0, sizeof *s);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (s->fd < 0) fail("socket: %s", strerror(errno));
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(s->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) fail("connect: %s", strerror(errno));
    s->step = GREETING;
    s->outstanding = 1;
    connecting++;
    alive++;
    watch(s, EPOLLIN);
}

static void flush(struct session *s) {
    while (s->left) {
        ssize_t done;
        if (s->ssl) {
            ERR_clear_error();
            done = SSL_write(s->ssl, s->out, s->left > 1 << 20 ? 1 << 20 : (int)s->left);
            if (done <= 0 && SSL_get_error(s->ssl, done) == WANT_WRITE) break;
            if (done <= 0) fail("TLS write failed");
        } else {
            done = send(s->fd, s->out, s->left, MSG_NOSIGNAL);
            if (done < 0 && errno == EAGAIN) break;
            if (done < 0) fail("write: %s", strerror(errno));
        }
        s->out += done;
        s->left -= done;
    }
    if (!s->left && s->step == AT_DOT && !s->sent) s->sent = now();
    watch(s, s->left ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void send_text(struct session *s, enum step step, const char *text, size_t length, int replies) {
    s->step = step;
    s->outstanding = replies;
    s->out = text;
    s->left = length;
    flush(s);
}

static void say(struct session *s, enum step step, const char *format, ...) {
    va_list words;
    va_start(words, format);
    int length = vsnprintf(s->command, sizeof s->command, format, words);
    va_end(words);
    send_text(s, step, s->command, length, 1);
}

static void handshake(struct session *s) {
    ERR_clear_error();
    int done = SSL_connect(s->ssl);
    int error = done == 1 ? 0 : SSL_get_error(s->ssl, done);
    if (error == WANT_READ) watch(s, EPOLLIN);
    else if (error == WANT_WRITE) watch(s, EPOLLOUT);
    else if (error) fail("TLS handshake failed");
    else say(s, EHLO_TLS, "EHLO client.example\r\n");
}

static void begin_tls(struct session *s) {
    s->ssl = SSL_new(context);
    if (!s->ssl || !SSL_set_fd(s->ssl, s->fd)) fail("TLS cannot begin");
    s->step = HANDSHAKE;
    handshake(s);
}

/* What a session does when it is ready to work, or has done a piece of it. */
static void work(struct session *s) {
    if (mode == IDLE) {
        s->step = AT_IDLE;
        if (++idle == sessions) puts("ready"), fflush(stdout);
    } else if (mode == LOGIN || begun >= count) {
        say(s, AT_QUIT, "QUIT\r\n");
    } else {
        begun += mode == REFUSE ? batch : 1;
        say(s, AT_MAIL, "MAIL FROM:<%s>\r\n", sender);
    }
}

/* Kept connections begin together, once all are logged in, and then the clock starts: logins are measured by themselves. */
static void ready(struct session *s) {
    connecting--;
    if (mode != MAIL || !keep) {
        work(s);
        return;
    }
    s->step = AT_IDLE;
    if (++idle < sessions) return;
    clock_started = now();
    for (int i = 0; i < sessions; i++) work(&all[i]);
}

static void close_session(struct session *s) {
    if (s->ssl) SSL_free(s->ssl);
    close(s->fd);
    alive--;
    if (mode == LOGIN) finished++;
    s->fd = -1;
}

static void message_done(struct session *s) {
    clock_ended = now();
    latencies[finished++] = clock_ended - s->sent;
    s->sent = 0;
    if (keep) work(s);
    else say(s, AT_QUIT, "QUIT\r\n");
}

static void expect(const char *reply, int code) {
    if (atoi(reply) != code) fail("expected %d, got: %.200s", code, reply);
}

static void refused(struct session *s, const char *reply) {
    if (reply[0] != '5') fail("expected a refusal, got: %.200s", reply);
    finished++;
    if (--s->outstanding) return;
    if (begun >= count || (s->refused += batch) >= each) {
        say(s, AT_QUIT, "QUIT\r\n");
        return;
    }
    begun += batch;
    send_text(s, AT_REFUSED, refusals, refusals_length, batch);
}

static void on_reply(struct session *s, const char *reply) {
    switch (s->step) {
    case GREETING: expect(reply, 220); say(s, EHLO, "EHLO client.example\r\n"); break;
    case EHLO: expect(reply, 250); use_tls ? say(s, STARTTLS, "STARTTLS\r\n") : ready(s); break;
    case STARTTLS: expect(reply, 220); begin_tls(s); break;
    case EHLO_TLS: expect(reply, 250); auth ? say(s, AUTH, "AUTH PLAIN %s\r\n", auth) : ready(s); break;
    case AUTH: expect(reply, 235); ready(s); break;
    case AT_MAIL:
        expect(reply, 250);
        if (mode == REFUSE) send_text(s, AT_REFUSED, refusals, refusals_length, batch);
        else say(s, AT_RCPT, "RCPT TO:<%s>\r\n", recipient);
        break;
    case AT_RCPT: expect(reply, 250); say(s, AT_DATA, "DATA\r\n"); break;
    case AT_DATA: expect(reply, 354); send_text(s, AT_DOT, body, body_length, 1); break;
    case AT_DOT: expect(reply, 250); message_done(s); break;
    case AT_REFUSED: refused(s, reply); break;
    case AT_QUIT: expect(reply, 221); close_session(s); break;
    default: fail("unexpected: %.200s", reply);
    }
}

static ssize_t fill(struct session *s) {
    size_t room = sizeof s->in - 1 - s->have;
    if (s->ssl) {
        ERR_clear_error();
        int done = SSL_read(s->ssl, s->in + s->have, room);
        if (done > 0) return done;
        int error = SSL_get_error(s->ssl, done);
        return error == WANT_READ || error == WANT_WRITE ? -1 : 0;
    }
    ssize_t done = recv(s->fd, s->in + s->have, room, 0);
    if (done < 0 && errno != EAGAIN) fail("read: %s", strerror(errno));
    return done;
}

static void on_input(struct session *s) {
    while (s->fd >= 0 && s->step != HANDSHAKE) {
        ssize_t done = fill(s);
        if (done < 0) return;
        if (!done) fail("the server closed the connection at step %d", s->step);
        s->have += done;
        s->in[s->have] = 0;
        char *line = s->in, *end;
        while (s->fd >= 0 && (end = strchr(line, '\n'))) {
            char *start = line;
            line = end + 1;
            *end = 0;
            if (end - start >= 3 && start[3] != '-') on_reply(s, start);
        }
        if (s->fd < 0) return;
        s->have -= line - s->in;
        memmove(s->in, line, s->have);
        if (s->have == sizeof s->in - 1) fail("a reply line is too long");
    }
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    long n = mode == MAIL ? finished : 0;
    qsort(latencies, n, sizeof *latencies, by_size);
    printf("{\"done\": %ld, \"started\": %.6f, \"seconds\": %.6f, \"cpu_seconds\": %.3f", finished, clock_started,
           clock_ended - clock_started, cpu);
    if (n) printf(", \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f", latencies[n / 2] * 1e3,
                  latencies[(long)((n - 1) * 0.99)] * 1e3, latencies[n - 1] * 1e3);
    puts("}");
}

static void parse(int argc, char **argv) {
    static const char *const modes[] = {"mail", "login", "refuse", "idle"};
    int found = -1;
    for (int i = 0; i < 4; i++) if (argc > 1 && !strcmp(argv[1], modes[i])) found = i;
    if (found < 0) fail("the mode is mail, login, refuse or idle");
    mode = found;
    for (int i = 2; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value) fail("not NAME=VALUE: %s", argv[i]);
        *value++ = 0;
        if (!strcmp(argv[i], "port")) port = atoi(value);
        else if (!strcmp(argv[i], "sessions")) sessions = atoi(value);
        else if (!strcmp(argv[i], "count")) count = atol(value);
        else if (!strcmp(argv[i], "size")) size = atol(value);
        else if (!strcmp(argv[i], "sender")) sender = value;
        else if (!strcmp(argv[i], "recipient")) recipient = value;
        else if (!strcmp(argv[i], "tls")) use_tls = atoi(value);
        else if (!strcmp(argv[i], "auth")) auth = value;
        else if (!strcmp(argv[i], "keep")) keep = atoi(value);
        else if (!strcmp(argv[i], "batch")) batch = atoi(value);
        else if (!strcmp(argv[i], "each")) each = atoi(value);
        else if (!strcmp(argv[i], "opening")) opening = atoi(value);
        else fail("unknown: %s", argv[i]);
    }
    if (port < 1 || sessions < 1 || count < 1 || size < 512 || batch < 1 || batch > MAX_BATCH) fail("a number is out of range");
    if (mode == REFUSE) count = (count + batch - 1) / batch * batch;
}

/* Should one more connection be made? */
static int another(long opened) {
    if (mode == LOGIN) return opened < count;
    if (mode == MAIL && !keep) return begun + connecting < count;
    if (mode == REFUSE) return begun + connecting * batch < count;
    return opened < sessions;
}

int main(int argc, char **argv) {
    parse(argc, argv);
    make_texts();
    latencies = memory((count + 1) * sizeof *latencies);
    context = SSL_CTX_new(TLS_client_method());
    if (!context) fail("no TLS");
    SSL_CTX_ctrl(context, CTRL_MODE, PARTIAL_AND_MOVING, 0);
    epoll_fd = epoll_create1(0);
    all = memory(sessions * sizeof *all);
    for (int i = 0; i < sessions; i++) all[i].fd = -1;
    long opened = 0;
    double last = clock_started = now();
    for (;;) {
        for (int i = 0; i < sessions && connecting < opening; i++) {
            if (all[i].fd < 0 && another(opened)) open_session(&all[i]), opened++;
        }
        if (mode == IDLE && idle == sessions) {
            char nothing[64];
            while (read(0, nothing, sizeof nothing) > 0) continue;
            break;
        }
        if (!alive) break;
        struct epoll_event events[256];
        int found = epoll_wait(epoll_fd, events, 256, 1000);
        if (found > 0) last = now();
        else if (now() - last > TIMEOUT_SECONDS) fail("no answer for %d s", TIMEOUT_SECONDS);
        for (int i = 0; i < found; i++) {
            struct session *s = events[i].data.ptr;
            if (s->fd >= 0 && s->left && events[i].events & EPOLLOUT) flush(s);
            if (s->fd >= 0 && s->step == HANDSHAKE) handshake(s);
            if (s->fd >= 0) on_input(s);
        }
    }
    if (mode != IDLE && finished < count) fail("%ld of %ld done", finished, count);
    if (mode != MAIL) clock_ended = now();
    report();
    return 0;
}
