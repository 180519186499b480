/* Suite wire: what verbs are given to work with. */
#include "wire.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "weir_layer.h"

enum { LIMIT = 100 };

static struct wr_cache cache;
static struct wr_sendq out;
static struct weir_wire wire;

static void set_up(void)
{
    wr_cache_init(&cache, 1 << 20);
    wr_sendq_init(&out, &cache);
    wr_wire_init(&wire, &cache, &out, LIMIT);
}

static void tear_down(void)
{
    wr_wire_done(&wire);
    wr_sendq_done(&out);
    wr_cache_done(&cache);
}

static void feed(const char *text)
{
    struct wr_segment *seg = wr_segment_new(&cache, 1000);
    strcpy((char *)seg->base + 10, text);
    wr_wire_feed(&wire, seg, 10, strlen(text));
}

Test(wire, what_came_stands_in_one_piece_until_it_is_taken)
{
    const void *at;
    set_up();
    cr_assert_eq(weir_wire_look(&wire, &at), 0);
    feed("hello");
    feed(", world");
    cr_assert_eq(weir_wire_look(&wire, &at), 12);
    cr_assert_eq(memcmp(at, "hello, world", 12), 0);
    weir_wire_take(&wire, 7);
    cr_assert_eq(weir_wire_look(&wire, &at), 5);
    cr_assert_eq(memcmp(at, "world", 5), 0);
    weir_wire_take(&wire, 0);
    weir_wire_take(&wire, 1000);
    cr_assert_eq(weir_wire_look(&wire, &at), 0, "more than there is cannot be taken");
    weir_wire_take(&wire, 1);
    tear_down();
}

Test(wire, what_is_put_is_bounded)
{
    char bytes[LIMIT + 1];
    struct iovec iov[4];
    memset(bytes, 'x', sizeof bytes);
    set_up();
    cr_assert_eq(weir_wire_room(&wire), LIMIT);
    cr_assert_eq(weir_wire_put(&wire, bytes, 60), 60);
    cr_assert_eq(weir_wire_put(&wire, bytes, sizeof bytes), 40);
    cr_assert_eq(weir_wire_put(&wire, bytes, 1), 0);
    cr_assert_eq(weir_wire_room(&wire), 0);
    cr_assert_geq(wr_sendq_freeze(&out, iov, 4, 30), 1);
    cr_assert_eq(out.frozen, 30);
    wr_sendq_advance(&out, 30);
    cr_assert_eq(weir_wire_room(&wire), 30);
    cr_assert_eq(weir_wire_put(&wire, bytes, 0), 0);
    tear_down();
}

Test(wire, what_is_put_behind_the_end_goes_nowhere)
{
    set_up();
    wire.closed = true;
    cr_assert_eq(weir_wire_put(&wire, "last words", 10), 10);
    cr_assert_eq(wr_sendq_len(&out), 0);
    tear_down();
}

static bool refuse(size_t size)
{
    (void)size;
    return false;
}

Test(wire, without_memory_there_is_no_room)
{
    set_up();
    wr_mem_gate = refuse;
    cr_assert_eq(weir_wire_put(&wire, "word", 4), 0);
    wr_mem_gate = NULL;
    cr_assert_eq(wire.error, -ENOMEM);
    cr_assert_eq(wr_sendq_len(&out), 0);
    tear_down();
}
