/* A scene for the matrix of calls and callbacks: a world, a few streams in it, and what their calls have promised. Each
 * callback is checked against that as it comes; one of them, the trigger, makes the call that the scene is about. */
#ifndef HELPERS_MATRIX_H
#define HELPERS_MATRIX_H

#include "helpers_layer.h"
#include "helpers_stream.h"
#include "loop.h"

enum { SUBJECTS = 8, CLAIMS = 24, HUGE_BYTES = 300000, MEMORY_BYTES = 1000000 };

struct scene;

/* A stream, and whether its on_close has come; or a place for one. */
struct subject {
    struct scene *m;
    struct weir_stream *s;
    int closed;
    int drained;
};

/* What a call has promised, and what came of it. */
struct claim {
    struct scene *m;
    struct subject *of;     /* NULL: the loop's */
    int owed, came;
    int release_owed, released;
    bool chunks;            /* weir_read_start: the call that is owed is the last one */
    bool any;               /* no number is promised */
};

struct scene {
    const char *world;
    void (*act)(struct scene *m);   /* makes the call, in the trigger's callback */
    struct weir_sim *sim;
    struct weir_loop *loop;         /* NULL once it is closed */
    struct weir_listener *listener, *other_listener;
    struct weir_timer *timer, *other_timer;
    struct claim *timer_claim;
    struct weir_watch *watch, *other_watch; /* of a socket that is not connected; the first rests */
    struct claim *watch_claim;
    int watched;
    struct weir_signal *signal;
    struct claim *signal_claim;
    struct sockaddr_storage addr;   /* the listener's */
    socklen_t addr_len;
    struct subject subjects[SUBJECTS];
    struct claim claims[CLAIMS];
    int subject_count, claim_count;
    struct subject *own, *peer;     /* the callback's stream, and its other end, if there is one */
    struct subject *extra;          /* for the stream that the call opens */
    struct weir_context *context;   /* NULL once its handle is given up */
    int entered, left, failed, forgotten;   /* calls of its functions */
    struct weir_view view;          /* what the running callback was given */
    struct weir_hold *hold;
    struct weir_view held;
    uint64_t held_sum;
    /* Whose callback makes the call: a claim, a subject, the scene for accepting; or the count of what is told
     * otherwise: `released`, `drained`, `entered` ... */
    const void *trigger;
    bool armed, acted;              /* it may, it has */
    bool in_call;                   /* inside a public call: nothing may call back */
    uint64_t live_before;
    int fds_before;
    int file;                       /* to send, of HUGE_BYTES */
};

extern unsigned char matrix_huge[HUGE_BYTES];       /* bytes to lend */
extern unsigned char matrix_memory[MEMORY_BYTES];   /* to read into */
extern char matrix_where[256];                      /* what the present scene is about, in words */

#define holds(cond) cr_assert(cond, "%s", matrix_where)

/* A world with a listener, a timer of an hour and a context. */
void scene_open(struct scene *m);
void give_up_context(struct scene *m);
/* At the scene's end at the latest; in the middle it is a scene of closing loops. */
void close_loop(struct scene *m);
/* Turn until the trigger has come, and a few times more. */
void scene_play(struct scene *m);
/* End all streams and the world, if the scene has not, and assert that promises were kept and nothing is left. */
void scene_close(struct scene *m);

struct claim *new_claim(struct scene *m, struct subject *of);
struct subject *new_subject(struct scene *m);
/* A call returned rc: 0 owes one more callback, anything else none. Returns rc. */
int promise(struct claim *c, int rc);
/* For any stream that is opened. */
struct weir_stream_options subject_options(struct subject *x);
void be_open(struct subject *x, struct weir_stream *s);
uint64_t sum_of(struct weir_view view);
int listen_anew(struct scene *m, struct weir_listener **ret);

/* Callbacks for any call; arg is a claim, for subject_closed a subject, for accepted the scene. */
void read_came(struct weir_stream *s, int status, struct weir_view view, void *claim);
void wrote(struct weir_stream *s, int status, void *claim);     /* or connected */
void released(const void *data, size_t len, void *claim);
void let_go(int fd, void *claim);
void called(void *claim);
void fired(struct weir_timer *timer, void *claim);
void signalled(struct weir_signal *signal, int signo, void *claim);
void stirred(struct weir_watch *watch, int status, unsigned events, void *claim);
void subject_closed(struct weir_stream *s, int reason, void *subject);
void accepted(struct weir_listener *l, int status, struct weir_stream *s, void *scene);

/* Calls that need more than a line: each returns what the call did. helpers_matrix_calls.c */
int fresh_socket(struct scene *m);
int open_stream(struct scene *m, struct subject *x);
int connect_new(struct scene *m, struct subject *x, struct claim *c, const struct sockaddr_storage *addr);
int connect_this(struct scene *m, struct weir_stream *s, struct claim *c);
int write_reference(struct weir_stream *s, size_t len, struct claim *c);
int attach_layer(struct weir_stream *s);
int attach_and_wait(struct weir_stream *s, struct claim *c);
int write_file(struct weir_stream *s, size_t len, struct claim *c);
int write_pieces(struct weir_stream *s, struct claim *c);
int stop_reading(struct scene *m, struct weir_stream *s);
int start_chunks(struct weir_stream *s, struct claim *c);
int peek(struct weir_stream *s);
int hold_view(struct scene *m, struct weir_stream *s);
int hold_and_drop(struct scene *m, struct weir_stream *s);
int replace_on_close(struct weir_stream *s, struct claim *c);
int ask_facts(struct weir_stream *s);
int ask_address(struct weir_stream *s, int peer);
int ask_listener(struct scene *m);
int ask_stats(struct scene *m);
int describe(struct scene *m);
int close_listener(struct scene *m);
int start_periodic(struct scene *m, struct claim *c);
int again(struct scene *m);
int stop_timer(struct scene *m);
int read_pattern(struct weir_stream *s, struct claim *c);
int read_frame(struct weir_stream *s, struct claim *c);
int open_another_context(struct scene *m);
void count_call(void *arg);
int run_in_context(struct scene *m);
int watch_again(struct scene *m);
int open_signal(struct scene *m);
int close_signal(struct scene *m);
int stop_watch(struct scene *m);
int close_context(struct scene *m);

#endif
