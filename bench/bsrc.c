/* bsrc - SMTP load source with unique ids and per-message times (single thread, epoll).
 *
 *   bsrc [-a ADDRESS] -p PORT [-d DOMAIN] [-n N] [-s SESSIONS] [-l BYTES] [-k MSGS_PER_CONN] [-r RATE]
 *        [-T SECONDS] [-i IDPREFIX] [-o ACKFILE] [-w WINDOW_S] [-R] [-D DOMAINS]
 *   bsrc -p PORT -H N [-T SECONDS]     hold N connections open after EHLO, print a
 *                                      line when all that will open are open, wait.
 *
 * Loopback only (default 127.0.0.1; mail goes to user@DOMAIN, default example.test). Default: fresh connection per message (-k 1); -k 0 = one connection
 * per session for all its messages. -r: open loop, RATE messages/s in all (0 = as fast
 * as the sessions go). No pipelining (like smtp-source). A connection error or a reply
 * other than 2xx/3xx counts as failure; the session reconnects after 20 ms (message ids
 * are never reused, nothing is retried). -R: stop at the first refused connection.
 * -D: mail goes to so many domains in turn, d0.many.test, d1.many.test, …
 * ACKFILE: "ID T_DOT_NS T_ACK_NS CODE" per message that was sent to its final dot
 * (T_ACK_NS=0, CODE=0: no reply came), CLOCK_MONOTONIC.
 * stdout: one JSON object with the totals and the 250s per window of WINDOW_S seconds.
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum st { IDLE, CONNECT, BANNER, EHLO, MAIL, RCPT, DATA, BODY, DOT, QUIT, HOLD, DELAY };
struct ses {
    int fd;
    enum st st;
    long id;
    int done;
    size_t n, off, len;
    char hd[512];
    int hl;
    uint64_t wake, tdot;
    char buf[4096];
    struct sockaddr_in src;
};
static const char *address = "127.0.0.1", *domain = "example.test";
static long domains = 0;
static int port = 25, sessions = 20, perconn = 1, ep, refstop = 0;
static long N = 1000, next_ = 0, acked = 0, failed = 0, connfail = 0, inflight = 0;
static long blen = 4096;
static double rate = 0, T = 600, win = 5;
static const char *pfx = "b", *ackf = 0;
static char *body;
static FILE *af;
static long wins[100000];
static uint64_t t0, tlast;
static long hold = 0, held = 0;
static int rejected_code = 0, stopping = 0;
static long codes[1000];
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
static void want(struct ses *s, int ev) {
    struct epoll_event e = {.events = ev, .data.ptr = s};
    if (epoll_ctl(ep, EPOLL_CTL_MOD, s->fd, &e))
        epoll_ctl(ep, EPOLL_CTL_ADD, s->fd, &e);
}
static void drop(struct ses *s) {
    if (s->fd >= 0) {
        close(s->fd);
        s->fd = -1;
    }
}
static void logmsg(struct ses *s, uint64_t ta, int code) {
    if (af)
        fprintf(af, "%s-%08ld %llu %llu %d\n", pfx, s->id, (unsigned long long)s->tdot,
                (unsigned long long)ta, code);
}
static void cmd(struct ses *s, const char *c, enum st st) {
    size_t l = strlen(c);
    s->st = st;
    if (write(s->fd, c, l) != (ssize_t)l) {
    }
    want(s, EPOLLIN);
}
static int fin(void) {
    return stopping || stop_ || next_ >= N;
}
static int due(void) {
    return !rate || (double)next_ / rate * 1e9 <= (double)(now() - t0);
}
static void start(struct ses *s) {
    s->st = CONNECT;
    s->done = 0;
    s->n = 0;
    s->id = -1;
    s->tdot = 0;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int one = 1;
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (s->src.sin_addr.s_addr) {
        setsockopt(s->fd, SOL_IP, 24 /*IP_BIND_ADDRESS_NO_PORT*/, &one, sizeof one);
        if (bind(s->fd, (void *)&s->src, sizeof s->src))
            perror("bind");
    }
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, address, &a.sin_addr);
    if (connect(s->fd, (void *)&a, sizeof a) && errno != EINPROGRESS) {
        drop(s);
        s->st = DELAY;
        s->wake = now() + 20000000;
        connfail++;
        if (refstop)
            stopping = 1;
        return;
    }
    want(s, EPOLLOUT);
}
static void nextmsg(struct ses *s) {
    char c[128];
    s->id = next_++;
    inflight++;
    snprintf(c, sizeof c, "MAIL FROM:<bench@source.test>\r\n");
    cmd(s, c, MAIL);
}
static void fail(struct ses *s, int code) {
    if (code > 0 && code < 1000)
        codes[code]++;
    if (s->st == DOT)
        logmsg(s, code ? now() : 0, code);
    if (s->id >= 0) {
        failed++;
        inflight--;
        s->id = -1;
    } else if (s->st == CONNECT || s->st == BANNER || s->st == EHLO) {
        connfail++;
        if (refstop && !code)
            stopping = 1;
    }
    drop(s);
    s->st = DELAY;
    s->wake = now() + 20000000;
}
static void pump(struct ses *s) { /* send header + body + dot */
    while (s->off < s->len) {
        const char *p;
        size_t l;
        if (s->off < (size_t)s->hl) {
            p = s->hd + s->off;
            l = s->hl - s->off;
        } else {
            p = body + (s->off - s->hl);
            l = s->len - s->off;
        }
        if (s->len == s->off + l)
            s->tdot = now();
        ssize_t w = send(s->fd, p, l, MSG_NOSIGNAL | (s->off < (size_t)s->hl ? MSG_MORE : 0));
        if (w < 0) {
            if (errno == EAGAIN) {
                want(s, EPOLLOUT);
                return;
            }
            fail(s, 0);
            return;
        }
        s->off += w;
    }
    s->st = DOT;
    want(s, EPOLLIN);
}
static void reply(struct ses *s, int code) {
    if (s->st == QUIT) {
        drop(s);
        s->st = IDLE;
        return;
    }
    if (code >= 400 || code < 200) {
        if (s->st == BANNER || s->st == EHLO)
            rejected_code = code;
        fail(s, code);
        return;
    }
    char c[300];
    switch (s->st) {
    case BANNER:
        cmd(s, "EHLO bench.test\r\n", EHLO);
        break;
    case EHLO:
        if (hold) {
            s->st = HOLD;
            held++;
            break;
        }
        if (fin())
            cmd(s, "QUIT\r\n", QUIT);
        else
            nextmsg(s);
        break;
    case MAIL:
        if (domains)
            snprintf(c, sizeof c, "RCPT TO:<user@d%ld.many.test>\r\n", s->id % domains);
        else
            snprintf(c, sizeof c, "RCPT TO:<user@%s>\r\n", domain);
        cmd(s, c, RCPT);
        break;
    case RCPT:
        cmd(s, "DATA\r\n", DATA);
        break;
    case DATA:
        s->st = BODY;
        s->hl = snprintf(
            s->hd, sizeof s->hd,
            "From: <bench@source.test>\r\nTo: <user@%s>\r\nSubject: bench\r\nDate: Wed, 25 Nov "
            "2026 00:00:00 +0000\r\nMessage-ID: <%s-%08ld@source.test>\r\nX-Bench-Id: %s-%08ld\r\n\r\n",
            domain, pfx, s->id, pfx, s->id);
        s->off = 0;
        s->len = s->hl + blen + 3;
        pump(s);
        break;
    case DOT: {
        uint64_t t = now();
        codes[code]++;
        logmsg(s, t, code);
        acked++;
        inflight--;
        tlast = t;
        long w = (long)((t - t0) / (win * 1e9));
        if (w < 100000)
            wins[w]++;
        s->id = -1;
        s->done++;
        if ((perconn && s->done >= perconn) || fin() || !due())
            cmd(s, "QUIT\r\n", QUIT);
        else
            nextmsg(s);
    } break;
    default:
        break;
    }
}
int main(int ac, char **av) {
    int o;
    while ((o = getopt(ac, av, "a:d:p:n:s:l:k:r:T:i:o:w:H:RD:")) > 0)
        switch (o) {
        case 'a':
            address = optarg;
            break;
        case 'd':
            domain = optarg;
            break;
        case 'p':
            port = atoi(optarg);
            break;
        case 'n':
            N = atol(optarg);
            break;
        case 's':
            sessions = atoi(optarg);
            break;
        case 'l':
            blen = atol(optarg);
            break;
        case 'k':
            perconn = atoi(optarg);
            break;
        case 'r':
            rate = atof(optarg);
            break;
        case 'T':
            T = atof(optarg);
            break;
        case 'i':
            pfx = optarg;
            break;
        case 'o':
            ackf = optarg;
            break;
        case 'w':
            win = atof(optarg);
            break;
        case 'H':
            hold = atol(optarg);
            break;
        case 'R':
            refstop = 1;
            break;
        case 'D':
            domains = atol(optarg);
            break;
        default:
            return 2;
        }
    struct rlimit rl;
    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    signal(SIGTERM, onsig);
    signal(SIGINT, onsig);
    signal(SIGPIPE, SIG_IGN);
    blen -= blen % 2;
    body = malloc(blen + 8);
    long k = 0;
    while (k + 80 <= blen) {
        memset(body + k, 'a' + (k / 80) % 26, 78);
        memcpy(body + k + 78, "\r\n", 2);
        k += 80;
    }
    if (k < blen) {
        memset(body + k, 'z', blen - k);
        if (blen - k >= 2)
            memcpy(body + blen - 2, "\r\n", 2);
    }
    memcpy(body + blen, ".\r\n", 4);
    if (ackf) {
        af = fopen(ackf, "w");
        setvbuf(af, 0, _IOFBF, 1 << 20);
    }
    if (hold)
        sessions = hold;
    ep = epoll_create1(0);
    struct ses *S = calloc(sessions, sizeof *S);
    for (int i = 0; i < sessions; i++) {
        S[i].fd = -1;
        if (hold) {
            S[i].src.sin_family = AF_INET;
            S[i].src.sin_addr.s_addr = htonl(0x7f000001);
        }
    }
    t0 = now();
    uint64_t dead = t0 + (uint64_t)(T * 1e9), lastprog = t0;
    long lastheld = 0;
    int started = 0, announced = 0;
    struct epoll_event evs[512];
    for (;;) {
        uint64_t t = now();
        if (t > dead || stop_) {
            stopping = 1;
            if (t > dead + 5000000000ull || hold || stop_)
                break;
        }
        int active = 0;
        for (int i = 0; i < sessions; i++) {
            struct ses *s = &S[i];
            if (s->st == IDLE || (s->st == DELAY && t >= s->wake)) {
                if (hold) {
                    if (s->st == IDLE && started < hold && started - held - connfail < 200) {
                        started++;
                        start(s);
                    } else if (s->st == DELAY)
                        continue;
                } else {
                    if (fin()) {
                        s->st = IDLE;
                    } else if (due())
                        start(s);
                }
            }
            if (s->st != IDLE && s->st != DELAY)
                active++;
            if (s->st == DELAY && !fin())
                active++;
        }
        if (hold) {
            if (held != lastheld) {
                lastheld = held;
                lastprog = t;
            }
            if (!announced && (held + connfail >= hold || t - lastprog > 5000000000ull)) {
                announced = 1;
                printf("{\"held\":%ld,\"failed\":%ld,\"asked\":%ld,\"code\":%d,\"open_s\":%.3f}\n", held,
                       connfail, hold, rejected_code, (lastprog - t0) / 1e9);
                fflush(stdout);
            }
        } else if (!active && fin())
            break;
        int n = epoll_wait(ep, evs, 512, rate ? 1 : 20);
        for (int i = 0; i < n; i++) {
            struct ses *s = evs[i].data.ptr;
            if (s->fd < 0)
                continue;
            if (s->st == CONNECT) {
                int er = 0;
                socklen_t l = sizeof er;
                getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &er, &l);
                if (er) {
                    fail(s, 0);
                    continue;
                }
                s->st = BANNER;
                want(s, EPOLLIN);
                continue;
            }
            if (s->st == BODY) {
                if (evs[i].events & EPOLLOUT)
                    pump(s);
                else
                    fail(s, 0);
                continue;
            }
            ssize_t r = read(s->fd, s->buf + s->n, sizeof s->buf - s->n);
            if (r <= 0) {
                if (r < 0 && errno == EAGAIN)
                    continue;
                if (s->st == QUIT) {
                    drop(s);
                    s->st = IDLE;
                } else
                    fail(s, 0);
                continue;
            }
            s->n += r;
            char *nl;
            char *p = s->buf;
            while (s->fd >= 0 && (nl = memchr(p, '\n', s->buf + s->n - p))) {
                int fini = (nl - p >= 4 && p[3] != '-') || nl - p < 4;
                int code = atoi(p);
                p = nl + 1;
                if (fini) {
                    reply(s, code);
                }
            }
            if (s->fd >= 0) {
                size_t rest = s->buf + s->n - p;
                memmove(s->buf, p, rest);
                s->n = rest;
            } else
                s->n = 0;
        }
    }
    for (int i = 0; i < sessions; i++)
        if (S[i].fd >= 0 && S[i].st == DOT && !hold) {
            logmsg(&S[i], 0, 0);
            failed++;
        }
    if (af)
        fclose(af);
    if (!hold) {
        printf("{\"sent\":%ld,\"acked\":%ld,\"failed\":%ld,\"connfail\":%ld,\"s\":%.4f,\"last_s\":%.4f,\"t0_"
               "ns\":%llu,\"win\":%g,\"wins\":[",
               next_, acked, failed, connfail, (now() - t0) / 1e9, tlast ? (tlast - t0) / 1e9 : 0,
               (unsigned long long)t0, win);
        long m = tlast ? (long)((tlast - t0) / (win * 1e9)) : -1;
        for (long i = 0; i <= m && i < 100000; i++)
            printf("%s%ld", i ? "," : "", wins[i]);
        printf("],\"codes\":{");
        int f = 1;
        for (int i = 0; i < 1000; i++)
            if (codes[i]) {
                printf("%s\"%d\":%ld", f ? "" : ",", i, codes[i]);
                f = 0;
            }
        printf("}}\n");
    }
    return 0;
}
