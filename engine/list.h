/* Intrusive doubly linked ring. A node out of any list points at itself. Level 0. */
#ifndef WR_LIST_H
#define WR_LIST_H

#include "base.h"

struct wr_list {
    struct wr_list *next, *prev;
};

static inline void wr_list_init(struct wr_list *l)
{
    l->next = l->prev = l;
}

static inline bool wr_list_empty(const struct wr_list *l)
{
    return l->next == l;
}

static inline void wr_list_push(struct wr_list *head, struct wr_list *node)
{
    wr_assert(wr_list_empty(node));
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void wr_list_remove(struct wr_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    wr_list_init(node);
}

/* The first node, removed; NULL if there is none. */
static inline struct wr_list *wr_list_pop(struct wr_list *head)
{
    struct wr_list *node = head->next;
    if (node == head)
        return NULL;
    wr_list_remove(node);
    return node;
}

/* Move all of `from` to the empty list `to`: queues are stolen before they are walked, so that what the
 * walk adds waits for the next round. */
static inline void wr_list_steal(struct wr_list *to, struct wr_list *from)
{
    wr_assert(wr_list_empty(to));
    if (wr_list_empty(from))
        return;
    *to = *from;
    to->next->prev = to;
    to->prev->next = to;
    wr_list_init(from);
}

#endif
