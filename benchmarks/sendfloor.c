/* sendfloor: what one core pays at least to hand a message to N subscribers, one send() each.
 *
 * It opens N loopback TCP connections to a child process that only reads, and sends ROUNDS messages of
 * BYTES bytes to every one of them from a single thread, with nothing else to do. No server that makes
 * one system call per delivery can be cheaper than this on the same machine, so a server's own CPU per
 * delivery divided by this figure is comparable between machines and between noisy runs. With -w W, W
 * messages share one send(), which is the floor for a server that coalesces W publishes. With -u, up to 512 sends
 * go to the kernel with one io_uring call: the floor for a server that batches its system calls.
 *
 * Build: cc -O2 -o sendfloor sendfloor.c
 * Usage: sendfloor [-c CONNECTIONS 1000] [-m ROUNDS 500] [-b BYTES 160] [-w MESSAGES_PER_SEND 1] [-u] [-R PORT]
 * With -R PORT it is only the reader: it connects to that port and writes one byte to standard output for
 * every round of CONNECTIONS times BYTES bytes, so that another sender can be timed against the same reader.
 * Otherwise it prints one JSON object: cpu_us_per_message is the sender's user+system time per message delivered.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double cpu(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
static void die(const char *what) { fprintf(stderr, "sendfloor: %s: %s\n", what, strerror(errno)); exit(2); }

/* The child: connect, read everything, report each full round so that the sender never outruns it. */
static void reader(int port, int conns, long per_round, int report) {
  int ep = epoll_create1(0);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  for (int i = 0; i < conns; i++) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (void *)&a, sizeof a)) die("connect");
    fcntl(fd, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
  }
  static char buf[1 << 16];
  struct epoll_event ev[256];
  long got = 0;
  for (;;) {
    int n = epoll_wait(ep, ev, 256, -1);
    for (int i = 0; i < n; i++) {
      ssize_t r = read(ev[i].data.fd, buf, sizeof buf);
      if (r == 0) _exit(0);
      if (r > 0) got += r;
    }
    while (got >= per_round) { got -= per_round; if (write(report, "r", 1) != 1) _exit(0); }
  }
}

/* The sends of one round, 512 to a call; the kernel answers only for those that failed or were cut short. */
enum { RING = 512 };
static struct { int fd; unsigned *head, *tail, *array; unsigned *cq_head, *cq_tail; struct io_uring_sqe *sqes; } ring;

static void open_ring(void) {
  struct io_uring_params p = {.flags = IORING_SETUP_SUBMIT_ALL};
  ring.fd = syscall(SYS_io_uring_setup, RING, &p);
  if (ring.fd < 0 || !(p.features & IORING_FEAT_SINGLE_MMAP) || !(p.features & IORING_FEAT_CQE_SKIP)) die("io_uring");
  size_t sq = p.sq_off.array + p.sq_entries * 4, cq = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
  char *m = mmap(0, sq > cq ? sq : cq, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQ_RING);
  ring.sqes = mmap(0, p.sq_entries * sizeof *ring.sqes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQES);
  if (m == MAP_FAILED || ring.sqes == MAP_FAILED) die("mmap");
  ring.head = (void *)(m + p.sq_off.head); ring.tail = (void *)(m + p.sq_off.tail); ring.array = (void *)(m + p.sq_off.array);
  ring.cq_head = (void *)(m + p.cq_off.head); ring.cq_tail = (void *)(m + p.cq_off.tail);
  for (unsigned i = 0; i < RING; i++) ring.array[i] = i;
}

static void send_all(const int *fds, int count, const char *msg, long size) {
  for (int done = 0; done < count;) {
    unsigned tail = *ring.tail, part = 0;
    for (; part < RING && done + (int)part < count; part++)
      ring.sqes[(tail + part) & (RING - 1)] = (struct io_uring_sqe){
          .opcode = IORING_OP_SEND, .flags = IOSQE_CQE_SKIP_SUCCESS, .fd = fds[done + part], .addr = (unsigned long)msg,
          .len = size, .msg_flags = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL};
    __atomic_store_n(ring.tail, tail + part, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, ring.fd, part, 0, 0, 0, 0) != (int)part) die("io_uring_enter");
    if (__atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE) != *ring.cq_head) { errno = EAGAIN; die("a socket did not take it all"); }
    done += part;
  }
}

int main(int argc, char **argv) {
  int conns = 1000, rounds = 500, bytes = 160, w = 1, uring = 0, read_only = 0, opt;
  while ((opt = getopt(argc, argv, "c:m:b:w:uR:")) != -1) {
    if (opt == 'c') conns = atoi(optarg);
    else if (opt == 'm') rounds = atoi(optarg);
    else if (opt == 'b') bytes = atoi(optarg);
    else if (opt == 'w') w = atoi(optarg);
    else if (opt == 'u') uring = 1;
    else if (opt == 'R') read_only = atoi(optarg);
    else { fprintf(stderr, "usage: sendfloor [-c N] [-m ROUNDS] [-b BYTES] [-w MESSAGES_PER_SEND] [-u] [-R PORT]\n"); return 2; }
  }
  if (conns < 1 || rounds < 1 || bytes < 1 || w < 1) { fprintf(stderr, "sendfloor: every value must be at least 1\n"); return 2; }
  struct rlimit lim = {1 << 20, 1 << 20};
  if (setrlimit(RLIMIT_NOFILE, &lim)) { getrlimit(RLIMIT_NOFILE, &lim); lim.rlim_cur = lim.rlim_max; setrlimit(RLIMIT_NOFILE, &lim); }
  if (read_only) reader(read_only, conns, (long)bytes * w * conns, STDOUT_FILENO);
  int l = socket(AF_INET, SOCK_STREAM, 0), p[2];
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof a;
  if (bind(l, (void *)&a, sizeof a) || listen(l, 4096) || getsockname(l, (void *)&a, &len) || pipe(p)) die("listen");
  long size = (long)bytes * w;
  pid_t child = fork();
  if (child == 0) { close(p[0]); reader(ntohs(a.sin_port), conns, size * conns, p[1]); }
  close(p[1]);
  int *fds = malloc(sizeof(int) * conns);
  for (int i = 0; i < conns; i++) {
    fds[i] = accept(l, 0, 0);
    if (fds[i] < 0) die("accept");
    int one = 1;
    setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  }
  char *msg = calloc(1, size), c;
  if (uring) open_ring();
  double c0 = cpu(), t0 = now();
  for (int r = 0; r < rounds; r++) {
    if (uring) send_all(fds, conns, msg, size);
    for (int i = 0; i < conns && !uring; i++)
      for (long off = 0; off < size;) {
        ssize_t n = send(fds[i], msg + off, size - off, MSG_NOSIGNAL);
        if (n < 0) die("send");
        off += n;
      }
    if (read(p[0], &c, 1) != 1) die("reader stopped");
  }
  double used = cpu() - c0, wall = now() - t0, messages = (double)conns * rounds * w;
  printf("{\"io_uring\":%d,\"connections\":%d,\"rounds\":%d,\"bytes\":%d,\"messages_per_send\":%d,\"cpu_us_per_message\":%.4f,"
         "\"messages_per_cpu_second\":%.0f,\"messages_per_second\":%.0f}\n",
         uring, conns, rounds, bytes, w, used / messages * 1e6, messages / used, messages / wall);
  for (int i = 0; i < conns; i++) close(fds[i]);
  kill(child, SIGTERM);
  waitpid(child, 0, 0);
  return 0;
}
