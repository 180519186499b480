/* The simulator's turns, and what it does to an owner who breaks the contract of engine/backend.h. */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "helpers_sim.h"

/* ---- Turns ---- */

SIM_TEST(sim_world, time_goes_as_far_as_it_was_told)
{
    static struct sim_act a;
    int own, raw;
    sim_make_pair(&own, &raw);
    sim_start_recv(&a, own, true);
    sim_rounds(2);
    uint64_t before = sim_world->ops->now(sim_world);
    cr_assert_eq(sim_world->ops->turn(sim_world, 12345678), 0);
    cr_assert_eq(sim_world->ops->now(sim_world) - before, 12345678);
    cr_assert_eq(sim_world->ops->turn(sim_world, UINT64_MAX), -EDEADLK);
    sim_world->ops->wake(sim_world);
    cr_assert_eq(sim_world->ops->turn(sim_world, UINT64_MAX), 0);
    cr_assert_eq(sim_world->ops->turn(sim_world, UINT64_MAX), -EDEADLK);
    sim_raw_send(raw, "x");
    before = sim_world->ops->now(sim_world);
    cr_assert_eq(sim_world->ops->turn(sim_world, UINT64_MAX), 0);
    cr_assert_eq(sim_world->ops->turn(sim_world, UINT64_MAX), 0);
    cr_assert_lt(sim_world->ops->now(sim_world) - before, 10000);
    cr_assert_eq(sim_reap(sim_world), 1);
    wr_cancel(sim_world, &a.op);
    sim_finish(&a);
    sim_close(own);
    sim_close_raw(raw, 0);
    cr_assert_eq(sim_world->ops->fd(sim_world), -ENOTSUP);
    cr_assert_eq(sim_world->ops->flush(sim_world), 0);
}

SIM_TEST(sim_world, worlds_share_time)
{
    static struct sim_act a;
    struct wr_world_options wopt = {0};
    struct wr_report report = {0};
    struct wr_world *other;
    int own, raw;
    cr_assert_eq(wr_sim_attach(the_sim, &wopt, &report, &other), 0);
    sim_make_pair(&own, &raw);
    sim_begin(&a, WR_OP_RECV, own);
    wr_start(other, &a.op);
    cr_assert_eq(other->ops->turn(other, 1000), 0);
    uint64_t start = sim_world->ops->now(sim_world);
    cr_assert_eq(other->ops->turn(other, 0), 0);
    sim_raw_send(raw, "x");
    cr_assert_eq(sim_world->ops->turn(sim_world, 1000000), 0);  /* the other has something: time stands nearly still */
    cr_assert_lt(sim_world->ops->now(sim_world) - start, 10000);
    cr_assert_eq(sim_world->ops->turn(sim_world, 1000000), 0);  /* nobody serves it: time goes on */
    cr_assert_geq(sim_world->ops->now(sim_world) - start, 1000000);
    cr_assert_eq(sim_world->ops->turn(sim_world, UINT64_MAX), 0);
    cr_assert_eq(sim_reap(other), 1);
    cr_assert_eq(sim_world->ops->turn(sim_world, UINT64_MAX), -EDEADLK);
    cr_assert_eq(weir_sim_close(the_sim), -EBUSY);
    other->ops->close(other);
    sim_close(own);
    sim_close_raw(raw, 0);
}

/* Turns do not step over the time until which another world would have waited: its timers are served in time. */
SIM_TEST(sim_world, no_world_steps_over_the_patience_of_another)
{
    struct wr_world_options wopt = {0};
    struct wr_report report = {0};
    struct wr_world *other;
    cr_assert_eq(wr_sim_attach(the_sim, &wopt, &report, &other), 0);
    sim_world->ops->wake(sim_world);
    cr_assert_eq(sim_world->ops->turn(sim_world, 5000), 0);
    uint64_t before = sim_world->ops->now(sim_world);
    cr_assert_eq(other->ops->turn(other, 1000000), 0);
    cr_assert_leq(sim_world->ops->now(sim_world) - before, 5000);
    cr_assert_eq(other->ops->turn(other, 1000000), 0);
    cr_assert_geq(sim_world->ops->now(sim_world) - before, 1000000);
    other->ops->close(other);
}

/* ---- What owners must not do ---- */

static struct sim_act guilty;
static unsigned char guilty_bytes[4 * CAPACITY];

static void start_guilty_send(void)
{
    int own, raw;
    sim_make_pair(&own, &raw);
    sim_start_send(&guilty, own, guilty_bytes, sizeof guilty_bytes);
    sim_rounds(1);
    cr_assert(!guilty.over);
    cr_assert_eq(sim_raw_recv(raw), CAPACITY);
}

SIM_TEST(sim_world, changed_bytes_of_a_send_are_noticed, .signal = SIGABRT)
{
    start_guilty_send();
    guilty_bytes[CAPACITY + 17] ^= 1;
    sim_rounds(1);
}

SIM_TEST(sim_world, bytes_that_change_before_a_cancel_ends_are_noticed, .signal = SIGABRT)
{
    start_guilty_send();
    wr_cancel(sim_world, &guilty.op);
    guilty_bytes[CAPACITY + 17] ^= 1;
    sim_rounds(1);
}

SIM_TEST(sim_world, changed_vector_of_a_send_is_noticed, .signal = SIGABRT)
{
    start_guilty_send();
    guilty.iov[2].iov_len--;
    sim_rounds(1);
}

SIM_TEST(sim_world, changed_head_of_a_vector_is_noticed, .signal = SIGABRT)
{
    start_guilty_send();
    guilty.vector.msg_iovlen = 2;
    sim_rounds(1);
}

SIM_TEST(sim_world, changed_op_is_noticed, .signal = SIGABRT)
{
    start_guilty_send();
    struct msghdr other = guilty.vector;
    guilty.op.u.pieces = &other;
    sim_rounds(1);
}

SIM_TEST(sim_world, close_under_an_op_is_noticed, .signal = SIGABRT)
{
    start_guilty_send();
    sim_close(guilty.op.fd);
}

SIM_TEST(sim_world, closing_a_world_with_an_op_is_noticed, .signal = SIGABRT)
{
    start_guilty_send();
    sim_world->ops->close(sim_world);
}
