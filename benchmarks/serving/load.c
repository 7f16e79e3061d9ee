/* A load generator that costs little: HTTP/1.1 over kept connections to one port of the loopback.
 *
 *   load PORT CLIENTS SECONDS RATE LIMIT GRACE REQUESTS RECORDS
 *
 * RATE 0: a closed loop, CLIENTS requests under way at any time. Otherwise an open loop of RATE
 * requests a second at exponential distances, over at most CLIENTS connections; the latency counts
 * from the moment when a request was due. It ends after SECONDS, after LIMIT requests (0: none) or
 * with SIGTERM; answers that are under way then are waited for, GRACE seconds at most.
 *
 * REQUESTS holds whole requests, each after its length (uint32); they are sent in turn. RECORDS
 * gets one struct record for each: its status, or below zero -1 closed by the server, -2 no answer
 * in time, -3 no connection, -4 not HTTP, -5 not sent, for all connections were busy.
 * Standard output: its own CPU seconds, and the length of the run.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { CLOSED_BY_PEER = -1, NO_ANSWER = -2, NO_CONNECTION = -3, BROKEN = -4, ALL_BUSY = -5 };
enum { NEW, IDLE, CONNECTING, BUSY };
#define BUFFER 65536
#define TIMER UINT32_MAX

struct record { double due, done; int32_t status, request; };
struct connection {
    int fd, state, request, closing, chunked, watched;
    double due;
    size_t sent, got, head, body; /* head: bytes up to the body, 0 while they are not all here */
    int32_t status;
    char *buffer;
};

static struct sockaddr_in address = {.sin_family = AF_INET};
static struct connection *connections;
static struct record *records;
static char **requests;
static uint32_t *lengths;
static int request_count, next_request, used, clients, poller, under_way, *idle, idle_count;
static size_t record_count, record_room, started, most;
static volatile sig_atomic_t stopped;
static double ends;

static void stop(int signal) { (void)signal; stopped = 1; }

static void fail(const char *what) { perror(what); exit(2); }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void note(double due, int32_t status, int request) {
    if (record_count == record_room) {
        record_room = record_room ? record_room * 2 : 65536;
        records = realloc(records, record_room * sizeof *records);
        if (!records) fail("realloc");
    }
    records[record_count++] = (struct record){due, now(), status, request};
}

static void watch(struct connection *c, int events) {
    if (c->watched == events) return;
    struct epoll_event event = {.events = events, .data.u32 = c - connections};
    epoll_ctl(poller, c->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event);
    c->watched = events;
}

static void hang_up(struct connection *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    c->watched = 0;
    c->state = NEW;
}

static void send_more(struct connection *c);

static void finish(struct connection *c, int32_t status) {
    note(c->due, status, c->request);
    under_way--;
    if (status < 0 || c->closing) hang_up(c);
    else c->state = IDLE;
    idle[idle_count++] = c - connections;
}

static void begin(struct connection *c, double due) {
    c->request = next_request;
    next_request = (next_request + 1) % request_count;
    c->due = due;
    c->sent = c->got = c->head = c->body = 0;
    c->closing = c->chunked = 0;
    under_way++;
    started++;
    if (c->state == NEW) {
        int one = 1;
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (c->fd < 0) { finish(c, NO_CONNECTION); return; }
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connect(c->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) {
            finish(c, NO_CONNECTION);
            return;
        }
        c->state = CONNECTING;
        watch(c, EPOLLOUT);
        return;
    }
    c->state = BUSY;
    send_more(c);
}

static void send_more(struct connection *c) {
    size_t all = lengths[c->request];
    while (c->sent < all) {
        ssize_t n = send(c->fd, requests[c->request] + c->sent, all - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) { watch(c, EPOLLIN | EPOLLOUT); return; }
        if (n < 0) break; /* an answer may have come before: reading tells */
        c->sent += n;
    }
    watch(c, EPOLLIN);
}

/* 1 if the answer is complete, 0 if there is more to come, -1 if it is none. */
static int parsed(struct connection *c) {
    if (!c->head) {
        c->buffer[c->got] = 0;
        char *end = strstr(c->buffer, "\r\n\r\n");
        if (!end) return c->got == BUFFER ? -1 : 0;
        if (strncmp(c->buffer, "HTTP/1.", 7)) return -1;
        c->head = end + 4 - c->buffer;
        c->status = atoi(c->buffer + 9);
        char *end_line = end + 2, kept = *end_line;
        *end_line = 0;
        char *field = strcasestr(c->buffer, "\r\ncontent-length:");
        if (field) c->body = strtoul(field + 17, NULL, 10);
        else c->chunked = strcasestr(c->buffer, "\r\ntransfer-encoding: chunked") != NULL;
        c->closing = strcasestr(c->buffer, "\r\nconnection: close") != NULL;
        *end_line = kept;
    }
    if (c->chunked) /* answers are small: the last chunk ends what has come */
        return c->got >= c->head + 5 && !memcmp(c->buffer + c->got - 5, "0\r\n\r\n", 5);
    return c->got >= c->head + c->body;
}

static void receive(struct connection *c) {
    for (;;) {
        ssize_t n = recv(c->fd, c->buffer + c->got, BUFFER - c->got, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) { finish(c, CLOSED_BY_PEER); return; }
        c->got += n;
        int whole = parsed(c);
        if (whole < 0 || (!whole && c->got == BUFFER)) { finish(c, BROKEN); return; }
        if (whole) {
            c->closing |= c->sent < lengths[c->request]; /* refused before all was sent */
            finish(c, c->status);
            return;
        }
    }
}

static void happened(struct connection *c, uint32_t events) {
    if (c->state == IDLE) { hang_up(c); return; } /* closed by the server between requests */
    if (c->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) { finish(c, NO_CONNECTION); return; }
        c->state = BUSY;
        send_more(c);
        return;
    }
    if (c->state != BUSY) return;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(c);
    if (c->state == BUSY && (events & EPOLLOUT)) send_more(c);
}

static int over(double t) { return stopped || t >= ends || (most && started >= most); }

static struct connection *free_one(void) {
    if (idle_count) return &connections[idle[--idle_count]];
    return used < clients ? &connections[used++] : NULL;
}

static void read_requests(const char *path) {
    FILE *file = fopen(path, "rb");
    uint32_t length;
    if (!file) fail(path);
    while (fread(&length, sizeof length, 1, file) == 1) {
        requests = realloc(requests, (request_count + 1) * sizeof *requests);
        lengths = realloc(lengths, (request_count + 1) * sizeof *lengths);
        requests[request_count] = malloc(length);
        lengths[request_count] = length;
        if (fread(requests[request_count++], 1, length, file) != length) fail(path);
    }
    fclose(file);
    if (!request_count) fail("no requests");
}

static double arm(int timer, double due) {
    struct itimerspec at = {.it_value = {(time_t)due, (long)((due - (time_t)due) * 1e9)}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
    return due;
}

int main(int count, char **words) {
    if (count != 9) { fprintf(stderr, "see the head of load.c\n"); return 2; }
    address.sin_port = htons(atoi(words[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    clients = atoi(words[2]);
    double seconds = atof(words[3]), rate = atof(words[4]), grace = atof(words[6]);
    most = strtoull(words[5], NULL, 10);
    read_requests(words[7]);
    connections = calloc(clients, sizeof *connections);
    idle = calloc(clients, sizeof *idle);
    for (int i = 0; i < clients; i++) {
        connections[i].fd = -1;
        connections[i].buffer = malloc(BUFFER + 1);
    }
    signal(SIGTERM, stop);
    poller = epoll_create1(0);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event tick = {.events = EPOLLIN, .data.u32 = TIMER}, events[512];
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &tick);
    srand48(7);
    double began = now(), next = began, last = 0;
    ends = began + seconds;
    while (1) {
        double t = now();
        if (over(t)) {
            if (!last) last = t;
            if (!under_way || t >= last + grace) break;
        } else if (rate > 0) {
            while (next <= t && !over(t)) {
                struct connection *c = free_one();
                if (c) begin(c, next);
                else { started++; note(next, ALL_BUSY, -1); }
                next += -__builtin_log(1 - drand48()) / rate;
            }
            arm(timer, next);
        } else {
            struct connection *c;
            while (!over(t) && (c = free_one())) {
                begin(c, now());
                if (c->state == NEW) break; /* refused: not at once again */
            }
        }
        int n = epoll_wait(poller, events, 512, 20);
        for (int i = 0; i < n; i++) {
            uint64_t expired;
            if (events[i].data.u32 != TIMER) {
                happened(&connections[events[i].data.u32], events[i].events);
            } else if (read(timer, &expired, sizeof expired) < 0 && errno != EAGAIN) fail("timer");
        }
    }
    for (int i = 0; i < used; i++)
        if (connections[i].state == BUSY || connections[i].state == CONNECTING)
            note(connections[i].due, NO_ANSWER, connections[i].request);
    FILE *file = fopen(words[8], "wb");
    if (!file || fwrite(records, sizeof *records, record_count, file) != record_count) fail(words[8]);
    fclose(file);
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    printf("{\"cpu_s\": %.4f, \"seconds\": %.4f, \"began\": %.6f}\n",
           own.ru_utime.tv_sec + own.ru_stime.tv_sec +
               (own.ru_utime.tv_usec + own.ru_stime.tv_usec) * 1e-6,
           last - began, began);
    return 0;
}
