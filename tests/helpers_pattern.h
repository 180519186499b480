/* Random patterns, and a plain search for the simpler ones: what regex and match are held against. */
#ifndef HELPERS_PATTERN_H
#define HELPERS_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

enum { PATTERN_TEXT = 1024, PATTERN_NODES = 256 };

struct pattern_node {
    int kind;
    int a, b;               /* of what it is made: nodes, or places in a table */
    int min, max;           /* of a repeat, max < 0: any number */
    int flavour;            /* of a repeat: greedy, lazy or possessive; of a look: 1 if it must not match */
    bool nullable;          /* may match nothing */
};

/* A pattern as PCRE2 reads it, and as a tree. */
struct pattern {
    char text[PATTERN_TEXT];
    struct pattern_node node[PATTERN_NODES];
    int nodes, root;
};

void pattern_random(struct pattern *p);

/* As wr_regex_search from 0, by the plainest way there is. */
int pattern_search(const struct pattern *p, const unsigned char *data, size_t len, bool more, size_t *ret_at);

/* Any text that may be a pattern, with all that PCRE2 knows. Returns its length. */
size_t pattern_random_text(char text[PATTERN_TEXT]);

#endif
