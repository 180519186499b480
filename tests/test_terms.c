/* Suite terms: options that streams share. */
#include "terms.h"

#include <errno.h>

#include "helpers_case.h"
#include "mem.h"

static struct wr_list all;

static void set_up(void)
{
    wr_list_init(&all);
}

TestSuite(terms, .init = set_up);

static struct weir_stream_options options(uint64_t idle)
{
    struct weir_stream_options given = {.size = sizeof given, .idle_timeout_ns = idle}, opt;
    cr_assert_eq(wr_terms_read(&given, &opt), 0);
    return opt;
}

static const struct weir_stream_options *share(uint64_t idle)
{
    struct weir_stream_options opt = options(idle);
    const struct weir_stream_options *shared = wr_terms_share(&all, &opt);
    cr_assert(shared);
    cr_assert_eq(shared->idle_timeout_ns, idle);
    return shared;
}

static void on_close(struct weir_stream *s, int reason, void *arg)
{
    (void)s;
    (void)reason;
    (void)arg;
}

Test(terms, the_same_are_shared_and_others_are_not)
{
    const struct weir_stream_options *a = share(1), *b = share(2);
    cr_assert_neq(a, b);
    cr_assert_eq(share(1), a);
    cr_assert_eq(share(2), b);
    cr_assert_eq(wr_mem_live(), 2);
    for (int i = 0; i < 2; i++) {
        wr_terms_drop(a);
        wr_terms_drop(b);
    }
    cr_assert_eq(wr_mem_live(), 0);
    cr_assert(wr_list_empty(&all));
}

Test(terms, callbacks_do_not_tell_them_apart)
{
    int arg;
    struct weir_stream_options opt = options(1);
    const struct weir_stream_options *a = share(1);
    opt.on_close = on_close;
    opt.on_close_arg = opt.on_drain_arg = &arg;
    cr_assert_eq(wr_terms_share(&all, &opt), a);
    cr_assert(!a->on_close && !a->on_close_arg && !a->on_drain_arg);
    wr_terms_drop(a);
    wr_terms_drop(a);
}

Test(terms, an_older_callers_options_are_the_same)
{
    struct weir_stream_options old = {.size = offsetof(struct weir_stream_options, on_drain)}, opt;
    cr_assert_eq(wr_terms_read(&old, &opt), 0);
    const struct weir_stream_options *a = wr_terms_share(&all, &opt);
    cr_assert_eq(share(0), a);
    wr_terms_drop(a);
    wr_terms_drop(a);
}

/* However many there are, those that are used again and again are found. */
Test(terms, the_last_used_are_found_among_many)
{
    enum { MANY = 100 };
    const struct weir_stream_options *own[MANY], *common = share(1);
    for (int i = 0; i < MANY; i++) {
        own[i] = share(2 + (uint64_t)i);
        cr_assert_eq(share(1), common);
        wr_terms_drop(common);
    }
    for (int i = 0; i < MANY; i++)
        wr_terms_drop(own[i]);
    wr_terms_drop(common);
    cr_assert_eq(wr_mem_live(), 0);
}

static bool refuse(size_t size)
{
    (void)size;
    return false;
}

Test(terms, without_memory_there_are_none)
{
    struct weir_stream_options opt = options(1);
    wr_mem_gate = refuse;
    const struct weir_stream_options *a = wr_terms_share(&all, &opt);
    wr_mem_gate = NULL;
    cr_assert(!a && wr_list_empty(&all));
}
