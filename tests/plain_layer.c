/* Random programs over streams with a layer that is hard to live with, or in every fourth seed TLS, in the simulator,
 * under its faults.
 *
 * Of every call that was accepted, the callback comes exactly once, in its order and never inside a call; the bytes are
 * the right ones; a clean end comes behind all of them and no other way; a write is told as done only if its bytes
 * went; a stream ends for a reason; nobody keeps the loop awake for nothing; once the faults stop everything comes to
 * its end; and nothing is left.
 *
 *   plain_layer [FIRST [COUNT]]     a failure prints the seed */
#include "plain_layer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "helpers_layer.h"
#include "mem.h"
#include "weir_sim.h"

enum { SIDES = 6, SPACE = 1 << 20, WRITES = 2000, PIECE = 40000, AWAKE_MAX = 12 };

static const int codes[] = {-EBADMSG, WEIR_ETLS, -EPROTO};

struct write {
    uint64_t end;
    bool borrowed, released;
};

static struct side {
    struct weir_stream *s;
    struct side *peer;
    struct shy shy;
    const unsigned char *bytes;     /* that it sends, SPACE of them */
    uint64_t sent, got, went;       /* accepted, read, told as done */
    struct write write[WRITES];
    unsigned written, told;
    bool reading, chunks, waiting;
    unsigned char *into;
    bool shut, flushed, closing;    /* asked for */
    bool ended;                     /* its read has told of a clean end */
    bool broken;                    /* its layer is to break */
    bool owes_drain, closed;
    int reason;
} sides[SIDES];

static unsigned char pattern[SIDES * SPACE];
static unsigned char memory[SIDES][PIECE];

static struct {
    uint64_t seed, callbacks, acts, bytes;
    struct weir_sim *sim;
    struct weir_loop *loop;
    int count, file, depth;
    unsigned awake;
    bool in_call, quiet, tls;
} t;

extern const char *wr_assert_text;

#define must(cond) ((cond) ? (void)0 : fail(__LINE__, #cond))
#define ask(call) ({ t.in_call = true; __auto_type rc_ = (call); t.in_call = false; rc_; })

static __attribute__((noreturn)) void fail(int line, const char *what)
{
    printf("seed %llu: %d: %s\n0 passed, 1 failed\n", (unsigned long long)t.seed, line, what);
    fflush(stdout);
    _exit(1);
}

static void aborted(int sig)
{
    (void)sig;
    fail(0, wr_assert_text ? wr_assert_text : "abort");
}

static uint64_t draw(uint64_t n)
{
    return n ? weir_sim_random(t.sim) % n : 0;
}

static bool chance(unsigned percent)
{
    return draw(100) < percent;
}

static void act(struct side *x);

static struct weir_stream_facts facts_of(const struct side *x)
{
    struct weir_stream_facts f;
    must(weir_stream_facts(x->s, &f, sizeof f) == 0);
    return f;
}

/* ---- What is called back ---- */

static struct side *owner(struct weir_stream *s)
{
    must(!t.in_call && t.depth == 0);
    for (int i = 0; i < t.count; i++)
        if (sides[i].s == s) {
            must(!sides[i].closed);
            t.callbacks++;
            return &sides[i];
        }
    fail(__LINE__, "whose stream is it?");
}

static void act_inside(struct side *x)
{
    t.depth++;
    while (!t.quiet && chance(40))
        act(chance(80) ? x : &sides[draw((uint64_t)t.count)]);
    t.depth--;
}

static bool is_reason(const struct side *x, int code)
{
    static const int any[] = {WEIR_ETRUNCATED, -ECONNRESET, -EPIPE, -ETIMEDOUT};
    if (code == 0 || code == -ECANCELED)
        return x->closing;
    for (size_t i = 0; i < sizeof any / sizeof *any; i++)
        if (code == any[i])
            return true;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (code == codes[i])
            return x->broken;
    return code == WEIR_EOF;
}

static void on_read(struct weir_stream *s, int status, struct weir_view view, void *arg)
{
    struct side *x = owner(s);
    must(x->reading && x == arg);
    must(memcmp(view.data ? view.data : "", x->peer->bytes + x->got, view.len) == 0);
    must(x->got + view.len <= x->peer->sent);
    must(!x->into || view.data == x->into);
    x->got += view.len;
    t.bytes += view.len;
    if (status == 0 && x->chunks) {
        act_inside(x);
        return;
    }
    x->reading = x->chunks = false;
    x->into = NULL;
    if (status == WEIR_EOF) {
        must(x->got + facts_of(x).buffered == x->peer->sent);
        must(x->peer->shut || x->peer->closed || facts_of(x->peer).closed);
        x->ended = facts_of(x).buffered == 0;
    }
    must(status == 0 || status == -ECANCELED || is_reason(x, status));
    act_inside(x);
}

static void on_wrote(struct weir_stream *s, int status, void *arg)
{
    struct side *x = owner(s);
    const struct write *w = arg;
    must(w == &x->write[x->told] && x->told < x->written);
    must(!w->borrowed || w->released);
    must(status == 0 || (!x->reading && is_reason(x, status)));
    must(status == 0 || w->end > x->peer->got || w->end == x->went || x->peer->closed || w->end == 0);
    if (status == 0)
        x->went = w->end;
    x->told++;
    act_inside(x);
}

static void on_release(const void *data, size_t len, void *arg)
{
    struct write *w = arg;
    (void)data, (void)len;
    must(!w->released);
    w->released = true;
}

static void on_release_file(int fd, void *arg)
{
    must(fd == t.file);
    on_release(NULL, 0, arg);
}

static void on_begun(struct weir_stream *s, int status, void *arg)
{
    struct side *x = owner(s);
    must(x->waiting && x == arg);
    must(status == 0 || (!x->reading && x->told == x->written && is_reason(x, status)));
    x->waiting = false;
    act_inside(x);
}

static void on_drain(struct weir_stream *s, void *arg)
{
    struct side *x = owner(s);
    must(x == arg && x->owes_drain && !facts_of(x).closed);
    x->owes_drain = false;
    act_inside(x);
}

static void on_close(struct weir_stream *s, int reason, void *arg)
{
    struct side *x = owner(s);
    must(x == arg && !x->reading && !x->waiting && x->told == x->written && is_reason(x, reason));
    must(x->shy.releases == 0);
    if (reason == 0 && x->flushed)
        must(x->went == x->sent || x->peer->closing);
    x->closed = true;
    x->reason = reason;
    act_inside(x);
}

/* ---- What is asked for ---- */

static void ask_read(struct side *x)
{
    size_t n = draw(chance(80) ? 100 : PIECE);
    int rc = 0, kind = (int)draw(5);
    if (x->reading || facts_of(x).closed)
        return;
    x->chunks = kind == 4;
    if (kind == 0)
        rc = ask(weir_read_bytes(x->s, n, on_read, x));
    else if (kind == 1)
        rc = ask(weir_read_some(x->s, n, on_read, x));
    else if (kind == 2)
        rc = ask(weir_read_until_close(x->s, on_read, x));
    else if (kind == 4)
        rc = ask(weir_read_start(x->s, on_read, x));
    else
        rc = ask(weir_read_into(x->s, x->into = memory[x - sides], n, chance(50), on_read, x));
    must(rc == 0);
    x->reading = true;
}

static void ask_less(struct side *x)
{
    if (x->chunks && chance(70)) {
        must(ask(weir_read_stop(x->s)) == 0);
        x->reading = x->chunks = facts_of(x).reading;
    } else if (x->reading && !x->into) {
        must(ask(weir_read_cancel(x->s)) == 0);
    }
}

static void ask_write(struct side *x)
{
    size_t n = chance(10) ? 0 : draw(chance(70) ? 300 : PIECE);
    struct write *w = &x->write[x->written];
    const unsigned char *data = x->bytes + x->sent;
    int rc, kind = (int)draw(3);
    if (x->written == WRITES || n > SPACE - x->sent)
        return;
    *w = (struct write){.end = x->sent + n, .borrowed = kind > 0};
    if (kind == 0)
        rc = ask(weir_write(x->s, data, n, on_wrote, w));
    else if (kind == 1)
        rc = ask(weir_write_ref(x->s, data, n, on_release, on_wrote, w));
    else
        rc = ask(weir_write_file(x->s, t.file, (uint64_t)(data - pattern), n, on_release_file, on_wrote, w));
    must(rc == 0 || rc == -ENOBUFS || rc == (x->closing || facts_of(x).closed ? WEIR_ECLOSED : -EPIPE));
    if (rc == 0) {
        x->sent += n;
        x->written++;
    }
    x->owes_drain = facts_of(x).full;
}

static void ask_shutdown(struct side *x)
{
    int rc = ask(weir_shutdown(x->s));
    must(rc == 0 || rc == (facts_of(x).closed ? WEIR_ECLOSED : -EPIPE));
    x->shut |= rc == 0;
}

static void ask_close(struct side *x, int manner)
{
    x->flushed = !facts_of(x).closed && manner == WEIR_CLOSE_FLUSH;
    must(ask(weir_stream_close(x->s, manner)) == 0);
    x->closing = true;
}

static void ask_wait(struct side *x)
{
    if (x->waiting)
        return;
    int rc = ask(weir_layer_wait(x->s, on_begun, x));
    must(rc == 0 || (rc == WEIR_ECLOSED && facts_of(x).closed));
    x->waiting = rc == 0;
}

static void act(struct side *x)
{
    uint64_t what = draw(1000);
    t.acts++;
    if (x->closed)
        return;
    if (what < 3)
        ask_close(x, (int)draw(3));
    else if (what < 6)
        ask_shutdown(x);
    else if (what < 60)
        (void)ask(chance(50) ? weir_cork(x->s) : weir_uncork(x->s));
    else if (what < 120)
        ask_wait(x);
    else if (what < 200)
        ask_less(x);
    else if (what < 600)
        ask_read(x);
    else
        ask_write(x);
}

/* ---- A seed ---- */

/* A turn in which nothing came, nobody was called and nothing was asked for is no reason for another at once. */
static void turn(uint64_t timeout)
{
    struct weir_loop_stats before, after;
    uint64_t callbacks = t.callbacks, acts = t.acts;
    must(weir_loop_stats(t.loop, &before, sizeof before) == 0);
    int rc = weir_loop_run_once(t.loop, timeout);
    must(rc >= 0);
    must(weir_loop_stats(t.loop, &after, sizeof after) == 0);
    bool idle = rc == 1 && before.completed == after.completed && t.callbacks == callbacks && t.acts == acts;
    t.awake = idle ? t.awake + 1 : 0;
    must(t.awake < AWAKE_MAX);
}

static void attach_shy(struct side *x, unsigned odds)
{
    shy_init(&x->shy, draw(1 << 30), odds);
    x->shy.keep = true;
    x->shy.chatty = chance(30);
    if (chance(15)) {
        unsigned verb = (unsigned)draw(LAYER_VERBS);
        x->broken = true;
        x->shy.fail[verb] = codes[draw(sizeof codes / sizeof *codes)];
        x->shy.after[verb] = (unsigned)draw(chance(50) ? 5 : 200);
    }
    must(weir_layer_attach(x->s, &shy_verbs, &x->shy) == 0);
}

static void open_side(struct side *x, int fd, unsigned odds)
{
    struct weir_stream_options opt = {.size = sizeof opt, .half_open = chance(50), .on_close = on_close,
                                      .on_close_arg = x, .on_drain = on_drain, .on_drain_arg = x};
    if (chance(50))
        opt.write_high_water = 1 + draw(100000);
    if (chance(30))
        opt.max_write_buffer_size = 1 + draw(200000);
    must(weir_stream_open(t.loop, fd, &opt, &x->s) == 0);
    if (t.tls)
        must(layer_tls_start(x->s, x < x->peer) == 0);
    else
        attach_shy(x, odds);
}

static void open_pairs(void)
{
    t.count = 2 * (1 + (int)draw(SIDES / 2));
    for (int i = 0; i < t.count; i++) {
        memset(&sides[i], 0, sizeof sides[i]);
        sides[i].peer = &sides[i ^ 1];
        sides[i].bytes = pattern + (size_t)i * SPACE;
    }
    for (int i = 0; i < t.count; i += 2) {
        int fds[2];
        unsigned odds = (unsigned)draw(6);
        must(weir_sim_pair(t.sim, fds) == 0);
        open_side(&sides[i], fds[0], odds == 1 ? 0 : odds);
        open_side(&sides[i + 1], fds[1], odds == 1 ? 0 : odds);
    }
}

static void play(void)
{
    for (uint64_t steps = 20 + draw(400); steps > 0; steps--) {
        for (uint64_t n = draw(4); n > 0; n--)
            act(&sides[draw((uint64_t)t.count)]);
        turn(draw(3) ? draw(200000) : 0);
    }
}

/* Nobody asks for anything: what can go on by itself does, and then all is quiet. */
static void rest(void)
{
    for (int i = 0; i < 100; i++)
        turn(1000000);
}

/* Everybody says that it was all, and reads on. */
static void finish(struct side *x)
{
    if (x->closed)
        return;
    (void)ask(weir_uncork(x->s));
    if (!facts_of(x).closed && !x->shut)
        ask_shutdown(x);
    if (!facts_of(x).closed && !x->reading && !x->ended) {
        must(ask(weir_read_start(x->s, on_read, x)) == 0);
        x->reading = x->chunks = true;
    }
    if (x->ended && x->told == x->written && !x->closing)
        ask_close(x, WEIR_CLOSE_FLUSH);
}

static int open_sides(void)
{
    int n = 0;
    for (int i = 0; i < t.count; i++)
        n += !sides[i].closed;
    return n;
}

static void settle(void)
{
    for (unsigned round = 0; open_sides() > 0; round++) {
        must(round < 100000);
        for (int i = 0; i < t.count; i++)
            finish(&sides[i]);
        turn(1000000);
    }
}

static void close_all(void)
{
    for (int i = 0; i < t.count; i++)
        if (!sides[i].closed)
            ask_close(&sides[i], (int)draw(3));
    for (unsigned round = 0; open_sides() > 0; round++) {
        must(round < 100000);
        turn(10000000);
    }
}

static void play_seed(void)
{
    open_pairs();
    play();
    t.quiet = true;
    must(weir_sim_heal(t.sim) == 0);
    rest();
    uint64_t how = draw(10);
    if (how < 6)
        settle();
    else if (how < 9)
        close_all();
    for (int i = 0; i < t.count; i++)
        sides[i].closing |= how == 9;
    must(weir_loop_close(t.loop) == 0);
    for (int i = 0; i < t.count; i++)
        must(sides[i].closed && (t.tls || sides[i].shy.releases == 1));
}

static uint64_t run_seed(uint64_t seed)
{
    uint64_t live = wr_mem_live(), h = (seed + 1) * 0x9e3779b97f4a7c15u;
    struct weir_sim_options opt = {.size = sizeof opt, .faults = h >> 62 ? (uint32_t)(h >> 20) & WEIR_SIM_ALL : 0};
    t.seed = seed;
    t.awake = 0;
    t.quiet = false;
    must(weir_sim_open(seed, &opt, &t.sim) == 0);
    must(weir_sim_loop_open(t.sim, NULL, &t.loop) == 0);
    t.tls = HAS_TLS && seed % 4 == 0;
    if (t.tls)
        layer_tls_open(seed, seed % 3 == 0);
    play_seed();
    uint64_t digest = weir_sim_digest(t.sim);
    must(weir_sim_close(t.sim) == 0);
    if (t.tls)
        layer_tls_close();
    must(wr_mem_live() == live);
    return digest;
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? 1 : 500;
    signal(SIGABRT, aborted);
    layer_tls_prepare();
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (unsigned char)((i * 0x9e3779b97f4a7c15u) >> 56);
    t.file = memfd_create("pattern", MFD_CLOEXEC);
    must(write(t.file, pattern, sizeof pattern) == (ssize_t)sizeof pattern);
    for (uint64_t seed = first; seed < first + count; seed++) {
        uint64_t digest = run_seed(seed);
        must(seed % 97 != 0 || run_seed(seed) == digest);
    }
    printf("%llu callbacks, %llu bytes\n%llu passed, 0 failed\n", (unsigned long long)t.callbacks,
           (unsigned long long)t.bytes, (unsigned long long)count);
    return 0;
}
