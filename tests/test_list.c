/* Suite list: the intrusive ring. */
#include "list.h"

#include <criterion/criterion.h>
#include <signal.h>

enum { NODES = 8 };

struct item {
    int number;
    struct wr_list link;
};

static struct wr_list head;
static struct item item[NODES];

static void set_up(void)
{
    wr_list_init(&head);
    for (int i = 0; i < NODES; i++) {
        item[i].number = i;
        wr_list_init(&item[i].link);
    }
}

TestSuite(list, .init = set_up);

/* The ring of l is exactly these numbers, both ways round. */
static void expect_ring(const struct wr_list *l, const int *number, int count)
{
    const struct wr_list *node = l;
    for (int i = 0; i < count; i++) {
        cr_assert_eq(node->next->prev, node);
        node = node->next;
        cr_assert_neq(node, l, "%d of %d are there", i, count);
        cr_assert_eq(wr_home(node, const struct item, link)->number, number[i]);
    }
    cr_assert_eq(node->next, l);
    cr_assert_eq(l->prev, node);
    cr_assert_eq(wr_list_empty(l), count == 0);
}

#define expect_numbers(l, ...) expect_ring(l, (const int[]){__VA_ARGS__}, WR_COUNT(((const int[]){__VA_ARGS__})))

static void push(int from, int to)
{
    for (int i = from; i <= to; i++)
        wr_list_push(&head, &item[i].link);
}

Test(list, a_node_out_of_any_list_points_at_itself)
{
    expect_ring(&head, NULL, 0);
    cr_assert(wr_list_empty(&item[0].link));
    push(0, 0);
    cr_assert_not(wr_list_empty(&item[0].link));
    wr_list_remove(&item[0].link);
    expect_ring(&item[0].link, NULL, 0);
    expect_ring(&head, NULL, 0);
    wr_list_remove(&item[0].link);
    expect_ring(&item[0].link, NULL, 0);
}

Test(list, first_in_first_out)
{
    push(0, 4);
    expect_numbers(&head, 0, 1, 2, 3, 4);
    for (int i = 0; i < 5; i++) {
        struct wr_list *node = wr_list_pop(&head);
        cr_assert_eq(node, &item[i].link);
        cr_assert(wr_list_empty(node), "a popped node is out");
    }
    cr_assert_null(wr_list_pop(&head));
    cr_assert_null(wr_list_pop(&head));
    push(3, 3);
    expect_numbers(&head, 3);
}

Test(list, any_node_can_leave)
{
    push(0, 4);
    wr_list_remove(&item[2].link);
    expect_numbers(&head, 0, 1, 3, 4);
    wr_list_remove(&item[0].link);
    expect_numbers(&head, 1, 3, 4);
    wr_list_remove(&item[4].link);
    expect_numbers(&head, 1, 3);
    push(2, 2);
    expect_numbers(&head, 1, 3, 2);
}

Test(list, stealing_moves_all)
{
    struct wr_list batch;
    wr_list_init(&batch);
    wr_list_steal(&batch, &head);
    expect_ring(&batch, NULL, 0);
    push(5, 5);
    wr_list_steal(&batch, &head);
    expect_numbers(&batch, 5);
    expect_ring(&head, NULL, 0);
    wr_list_pop(&batch);
    push(0, 3);
    wr_list_steal(&batch, &head);
    expect_numbers(&batch, 0, 1, 2, 3);
    expect_ring(&head, NULL, 0);
}

Test(list, what_a_walk_adds_waits_for_the_next_round)
{
    struct wr_list batch, *node;
    int walked = 0;
    wr_list_init(&batch);
    push(0, 2);
    wr_list_steal(&batch, &head);
    while ((node = wr_list_pop(&batch))) {
        cr_assert_lt(walked++, 3);
        wr_list_push(&head, node);
    }
    expect_numbers(&head, 0, 1, 2);
}

Test(list, a_node_in_a_list_cannot_be_pushed, .signal = SIGABRT)
{
    push(0, 1);
    wr_list_push(&head, &item[0].link);
}

Test(list, a_node_in_another_list_cannot_be_pushed, .signal = SIGABRT)
{
    struct wr_list other;
    wr_list_init(&other);
    push(0, 0);
    wr_list_push(&other, &item[0].link);
}

Test(list, nothing_is_stolen_into_a_list_with_nodes, .signal = SIGABRT)
{
    struct wr_list other;
    wr_list_init(&other);
    push(0, 0);
    wr_list_push(&other, &item[1].link);
    wr_list_steal(&other, &head);
}
