/* bsink - counting SMTP sink for mail-gateway benchmarks (single thread, epoll).
 *
 *   bsink [ADDRESS:]PORT COUNTERFILE [LOGFILE]
 *
 * Listens on 127.0.0.1:PORT unless told otherwise, speaks ESMTP (PIPELINING, 8BITMIME; no CHUNKING, no
 * STARTTLS, like smtp-sink), answers 250 to everything and throws the mail away.
 * COUNTERFILE is a mmap'ed array of uint64: [0] messages, [1] connections,
 * [2] message bytes, [3] first message (CLOCK_MONOTONIC ns), [4] last message,
 * [5] transactions open. The harness polls it without talking to the sink.
 * LOGFILE gets one line per message "ID NS" (ID = value of the X-Bench-Id header,
 * "-" when absent); it is flushed when idle for 200 ms and on SIGTERM/SIGINT.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct conn {
    int fd, data, hdr;
    char id[64];
    size_t n;
    uint64_t bytes;
    char buf[65536];
};
static volatile uint64_t *ctr;
static FILE *lg;
static volatile sig_atomic_t stop_;
static void onsig(int s) {
    (void)s;
    stop_ = 1;
}
static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int say(struct conn *c, char *out, size_t *on, const char *s) {
    size_t l = strlen(s);
    (void)c;
    if (*on + l > 8192)
        return -1;
    memcpy(out + *on, s, l);
    *on += l;
    return 0;
}

/* returns -1 to close */
static int input(struct conn *c) {
    char out[8192];
    size_t on = 0;
    int quit = 0;
    char *p = c->buf, *e = c->buf + c->n, *nl;
    while (p < e && (nl = memchr(p, '\n', e - p))) {
        size_t l = nl - p;
        if (l && p[l - 1] == '\r')
            l--;
        if (c->data) {
            c->bytes += nl + 1 - p;
            if (l == 1 && p[0] == '.') {
                uint64_t t = now();
                c->data = 0;
                if (!ctr[0])
                    ctr[3] = t;
                ctr[4] = t;
                ctr[0]++;
                ctr[2] += c->bytes;
                ctr[5]--;
                if (lg)
                    fprintf(lg, "%s %llu\n", c->id[0] ? c->id : "-", (unsigned long long)t);
                say(c, out, &on, "250 2.0.0 Ok\r\n");
            } else if (c->hdr) {
                if (l == 0)
                    c->hdr = 0;
                else if (l > 12 && !strncasecmp(p, "X-Bench-Id: ", 12)) {
                    size_t k = l - 12;
                    if (k > 63)
                        k = 63;
                    memcpy(c->id, p + 12, k);
                    c->id[k] = 0;
                }
            }
        } else {
            if (l >= 4 && !strncasecmp(p, "EHLO", 4))
                say(c, out, &on,
                    "250-bsink\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n");
            else if (l >= 4 && !strncasecmp(p, "HELO", 4))
                say(c, out, &on, "250 bsink\r\n");
            else if (l >= 4 && !strncasecmp(p, "DATA", 4)) {
                say(c, out, &on, "354 go\r\n");
                c->data = c->hdr = 1;
                c->id[0] = 0;
                c->bytes = 0;
                ctr[5]++;
            } else if (l >= 4 && !strncasecmp(p, "QUIT", 4)) {
                say(c, out, &on, "221 2.0.0 Bye\r\n");
                quit = 1;
                p = nl + 1;
                break;
            } else
                say(c, out, &on, "250 2.0.0 Ok\r\n");
        }
        p = nl + 1;
    }
    size_t rest = e - p;
    if (rest && p != c->buf)
        memmove(c->buf, p, rest);
    c->n = rest;
    if (c->n == sizeof c->buf) {
        if (c->data)
            c->n = 0;
        else
            return -1;
    }
    if (on && write(c->fd, out, on) != (ssize_t)on)
        return -1;
    return quit ? -1 : 0;
}
int main(int ac, char **av) {
    if (ac < 3) {
        fprintf(stderr, "usage: bsink [ADDRESS:]PORT COUNTERFILE [LOGFILE]\n");
        return 2;
    }
    struct rlimit rl;
    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    int cf = open(av[2], O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (cf < 0 || ftruncate(cf, 64)) {
        perror(av[2]);
        return 1;
    }
    ctr = mmap(0, 64, PROT_READ | PROT_WRITE, MAP_SHARED, cf, 0);
    if (ac > 3) {
        lg = fopen(av[3], "w");
        setvbuf(lg, 0, _IOFBF, 1 << 20);
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, onsig);
    signal(SIGINT, onsig);
    int ls = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(ls, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    char *colon = strchr(av[1], ':');
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(colon ? colon + 1 : av[1]))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (colon) {
        *colon = 0;
        inet_pton(AF_INET, av[1], &a.sin_addr);
    }
    if (bind(ls, (void *)&a, sizeof a) || listen(ls, 4096)) {
        perror("bind");
        return 1;
    }
    int ep = epoll_create1(0);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = 0};
    epoll_ctl(ep, EPOLL_CTL_ADD, ls, &ev);
    struct epoll_event evs[256];
    while (!stop_) {
        int n = epoll_wait(ep, evs, 256, 200);
        if (n == 0 && lg)
            fflush(lg);
        for (int i = 0; i < n; i++) {
            struct conn *c = evs[i].data.ptr;
            if (!c) {
                int fd;
                while ((fd = accept4(ls, 0, 0, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    c = malloc(sizeof *c);
                    c->fd = fd;
                    c->n = 0;
                    c->data = c->hdr = 0;
                    c->id[0] = 0;
                    ev.events = EPOLLIN;
                    ev.data.ptr = c;
                    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
                    ctr[1]++;
                    if (write(fd, "220 bsink ESMTP\r\n", 17) < 0) {
                    }
                }
                continue;
            }
            ssize_t r = read(c->fd, c->buf + c->n, sizeof c->buf - c->n);
            if (r < 0 && errno == EAGAIN)
                continue;
            if (r > 0) {
                c->n += r;
                if (!input(c))
                    continue;
            }
            if (c->data)
                ctr[5]--;
            close(c->fd);
            free(c);
        }
    }
    if (lg)
        fclose(lg);
    return 0;
}
