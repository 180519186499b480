#include "helpers_pattern.h"

#include <stdio.h>
#include <string.h>

#include "helpers_match.h"

enum kind { EMPTY, SET, SEQUENCE, CHOICE, REPEAT, AHEAD, BEHIND, ANCHOR };
enum flavour { GREEDY, LAZY, POSSESSIVE };
enum anchor { START, END, LAST, LINE_START, LINE_END, WORD, NO_WORD };

/* Over the bytes of the test's subjects. */
static const struct {
    const char *text, *bytes;
    bool negated;
} sets[] = {{"a", "a", false},     {"b", "b", false},      {"c", "c", false},     {"a", "a", false},
            {"\\n", "\n", false},  {"\\r", "\r", false},   {".", "\n", true},     {"[ab]", "ab", false},
            {"[^a]", "a", true},   {"\\w", "abc", false},  {"\\s", "\n\r ", false}, {"\\W", "abc", true}};

static const struct {
    const char *text;
    enum anchor anchor;
} anchors[] = {{"^", START},      {"\\A", START},           {"$", END},          {"\\Z", END},  {"\\z", LAST},
               {"\\b", WORD},     {"\\B", NO_WORD},         {"(?m:^)", LINE_START}, {"(?m:$)", LINE_END}};

static const struct {
    const char *text;
    int min, max;
} repeats[] = {{"*", 0, -1},    {"+", 1, -1},    {"?", 0, 1},    {"{2}", 2, 2},
               {"{1,2}", 1, 2}, {"{0,2}", 0, 2}, {"{2,}", 2, -1}};

/* 1 to 3, mostly 1. */
static size_t some(void)
{
    return below(3) > 0 ? 1 : 2 + below(2);
}

/* ---- Making trees, and the text along with them ---- */

static void say(struct pattern *p, const char *text)
{
    cr_assert_lt(strlen(p->text) + strlen(text), sizeof p->text);
    strcat(p->text, text);
}

static int add(struct pattern *p, struct pattern_node node)
{
    cr_assert_lt(p->nodes, PATTERN_NODES);
    p->node[p->nodes] = node;
    return p->nodes++;
}

static int add_pair(struct pattern *p, enum kind kind, int a, int b)
{
    bool a_may = p->node[a].nullable, b_may = p->node[b].nullable;
    bool nullable = kind == CHOICE ? a_may || b_may : a_may && b_may;
    return add(p, (struct pattern_node){.kind = (int)kind, .a = a, .b = b, .nullable = nullable});
}

static int make_set(struct pattern *p)
{
    int set = (int)below(WR_COUNT(sets));
    say(p, sets[set].text);
    return add(p, (struct pattern_node){.kind = SET, .a = set});
}

/* Groups are not made possessive: PCRE2 (10.42) forgets that (?:x)?+ may be nothing when it looks from before it. */
static int make_repeat(struct pattern *p, int body, bool is_group)
{
    static const char *const flavours[] = {"", "?", "+"};
    size_t repeat = below(WR_COUNT(repeats)), flavour = below(is_group ? 2 : 3);
    say(p, repeats[repeat].text);
    say(p, flavours[flavour]);
    return add(p, (struct pattern_node){.kind = REPEAT, .a = body, .min = repeats[repeat].min,
                                        .max = repeats[repeat].max, .flavour = (int)flavour,
                                        .nullable = repeats[repeat].min == 0});
}

static int make_behind(struct pattern *p)
{
    int negative = (int)below(2), width = 1 + (int)below(2);
    say(p, negative ? "(?<!" : "(?<=");
    int body = make_set(p);
    if (width == 2)
        body = add_pair(p, SEQUENCE, body, make_set(p));
    say(p, ")");
    return add(p, (struct pattern_node){.kind = BEHIND, .a = body, .min = width, .flavour = negative,
                                        .nullable = true});
}

static int make_choice(struct pattern *p, int depth);

static int make_group(struct pattern *p, const char *opening, int depth)
{
    say(p, opening);
    int body = make_choice(p, depth - 1);
    say(p, ")");
    return body;
}

static int make_item(struct pattern *p, int depth)
{
    size_t kind = below(depth > 0 && p->nodes < 100 ? 14 : 10);
    if (kind == 0) {
        int anchor = (int)below(WR_COUNT(anchors));
        say(p, anchors[anchor].text);
        return add(p, (struct pattern_node){.kind = ANCHOR, .a = (int)anchors[anchor].anchor, .nullable = true});
    }
    if (kind == 1)
        return make_behind(p);
    if (kind == 13) {
        int negative = (int)below(2), body = make_group(p, negative ? "(?!" : "(?=", depth);
        return add(p, (struct pattern_node){.kind = AHEAD, .a = body, .flavour = negative, .nullable = true});
    }
    int body = kind < 10 ? make_set(p) : make_group(p, kind == 12 ? "(" : "(?:", depth);
    /* What PCRE2 does with a repeated nothing is a story of its own. */
    return !p->node[body].nullable && below(3) == 0 ? make_repeat(p, body, kind >= 10) : body;
}

static int make_choice(struct pattern *p, int depth)
{
    size_t ways = p->nodes < 100 ? some() : 1;
    int choice = -1;
    while (ways-- > 0) {
        bool nothing = below(20) == 0;
        int way = nothing ? add(p, (struct pattern_node){.kind = EMPTY, .nullable = true}) : make_item(p, depth);
        for (size_t more = below(3); more > 0 && !nothing; more--)
            way = add_pair(p, SEQUENCE, way, make_item(p, depth));
        choice = choice < 0 ? way : add_pair(p, CHOICE, choice, way);
        say(p, ways > 0 ? "|" : "");
    }
    return choice;
}

void pattern_random(struct pattern *p)
{
    p->text[0] = '\0';
    p->nodes = 0;
    p->root = make_choice(p, 2);
}

/* ---- Searching with them ---- */

/* What is still to match, behind what is being matched. */
struct then {
    int node;
    int count;                  /* rounds of a repeat so far, or -1: the node as a whole */
    const struct then *next;
};

struct search {
    const struct pattern *p;
    const unsigned char *data;
    int len;
    bool more;
};

enum { NO = -1, UNDECIDED = -2 };

static int run(const struct search *s, int node, int at, const struct then *then);

/* The answer of a look at the end of the bytes: `end`, if no more come. */
static int at_end(const struct search *s, int end)
{
    return s->more ? UNDECIDED : end;
}

static int repeat(const struct search *s, int node, int count, int at, const struct then *then);

static int proceed(const struct search *s, int at, const struct then *then)
{
    if (!then)
        return at;
    return then->count < 0 ? run(s, then->node, at, then->next) : repeat(s, then->node, then->count, at, then->next);
}

static int repeat(const struct search *s, int node, int count, int at, const struct then *then)
{
    const struct pattern_node *n = &s->p->node[node];
    const struct then again = {node, count + 1, then};
    bool may_end = count >= n->min, may_go = n->max < 0 || count < n->max;
    int end = NO;

    if (n->flavour == LAZY && may_end)
        end = proceed(s, at, then);
    if (end == NO && may_go)
        end = run(s, n->a, at, &again);
    if (end == NO && n->flavour != LAZY && may_end)
        end = proceed(s, at, then);
    return end;
}

static bool is_word(unsigned char c)
{
    return c >= 'a' && c <= 'c';
}

/* at, or NO, or UNDECIDED */
static int stand(const struct search *s, enum anchor anchor, int at)
{
    bool is_end = at == s->len, before = at > 0 && is_word(s->data[at - 1]);
    switch (anchor) {
    case START:
        return at == 0 ? at : NO;
    case LINE_START:
        return at == 0 || s->data[at - 1] == '\n' ? at : NO;
    case LAST:
        return is_end ? at_end(s, at) : NO;
    case LINE_END:
        return is_end ? at_end(s, at) : s->data[at] == '\n' ? at : NO;
    case END:
        return is_end || (s->data[at] == '\n' && at + 1 == s->len) ? at_end(s, at) : NO;
    case WORD:
        return is_end ? at_end(s, before ? at : NO) : is_word(s->data[at]) != before ? at : NO;
    case NO_WORD:
        return is_end ? at_end(s, before ? NO : at) : is_word(s->data[at]) == before ? at : NO;
    }
    return NO;
}

static int look(const struct search *s, const struct pattern_node *n, int at)
{
    int from = n->kind == BEHIND ? at - n->min : at;
    int end = from < 0 ? NO : run(s, n->a, from, NULL);
    return end == UNDECIDED ? end : (end >= 0) == (n->flavour == 0) ? at : NO;
}

static int take(const struct search *s, const struct pattern_node *n, int at)
{
    if (at == s->len)
        return at_end(s, NO);
    bool listed = strchr(sets[n->a].bytes, s->data[at]) != NULL;
    return listed != sets[n->a].negated ? at + 1 : NO;
}

static int run(const struct search *s, int node, int at, const struct then *then)
{
    const struct pattern_node *n = &s->p->node[node];
    const struct then second = {n->b, -1, then};
    int end = at;

    switch ((enum kind)n->kind) {
    case EMPTY:
        break;
    case SET:
        end = take(s, n, at);
        break;
    case ANCHOR:
        end = stand(s, (enum anchor)n->a, at);
        break;
    case AHEAD:
    case BEHIND:
        end = look(s, n, at);
        break;
    case SEQUENCE:
        return run(s, n->a, at, &second);
    case CHOICE:
        end = run(s, n->a, at, then);
        return end == NO ? run(s, n->b, at, then) : end;
    case REPEAT:
        if (n->flavour != POSSESSIVE)
            return repeat(s, node, 0, at, then);
        end = repeat(s, node, 0, at, NULL);
        break;
    }
    return end < 0 ? end : proceed(s, end, then);
}

int pattern_search(const struct pattern *p, const unsigned char *data, size_t len, bool more, size_t *ret_at)
{
    const struct search s = {p, data, (int)len, more};
    for (int at = 0; at <= s.len; at++) {
        int end = run(&s, p->root, at, NULL);
        if (end == UNDECIDED)
            return 0;
        if (end >= 0) {
            *ret_at = (size_t)end;
            return 1;
        }
    }
    return 0;
}

/* ---- Any text ---- */

struct text {
    char *at;
    size_t room;
    int groups;
};

static void put(struct text *t, const char *words)
{
    size_t len = strlen(words);
    if (len < t->room) {
        memcpy(t->at, words, len + 1);
        t->at += len;
        t->room -= len;
    }
}

static const char *const any_verb[] = {"(*LF)", "(*NOTEMPTY)", "(*NOTEMPTY_ATSTART)", "(*BSR_ANYCRLF)",
                                       "(*NO_START_OPT)", "(*NO_AUTO_POSSESS)"};
static const char *const any_atom[] = {"a", "b", "c", "\\n", ".", "[ab]", "[^a]", "\\w", "\\W", "\\s", "\\R", "\\X",
                                       "\\N", "ab", "abc", "\\r", "(?:\\R)", "[a-c]", "(?i:A)", "(?i:bC)", "\\h",
                                       "\\v", "[[:space:]]", "(?s:.)", "\\r\\n", "[^\\n]", "(?s).",
                                       "(?:a|ab|abc)", "\\Qa\\E"};
static const char *const any_place[] = {"^", "$", "\\b", "\\B", "\\A", "\\z", "\\Z", "(?m:^)", "(?m:$)", "\\K", "\\G",
                                        "(?<=a)", "(?<!b)", "(?<=\\n)", "(?=b)", "(?!c)", "(?<=^a|bc)", "(?<=a(?!b))",
                                        "(?<!a$)", "(?=a$)", "(?!\\z)", "(?<!^)", "(?=.*c)", "(?!.*?b)",
                                        "(?<=(?=a).)", "(*COMMIT)", "(*SKIP)", "(*PRUNE)", "(*THEN)", "(*ACCEPT)",
                                        "(*F)", "(?(1)a|b)", "(?(?=a)ab|b)", "(?(DEFINE)a)",
                                        "(?s)", "(?m)", "(?i)", "(?U)"};
static const char *const any_repeat[] = {"*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0,2}?", "++", "*+", "?+"};

#define ANY(table) table[below(WR_COUNT(table))]

static void put_any(struct text *t, int depth);

static void put_atom(struct text *t, int depth)
{
    static const char *const opening[] = {"(?:", "(?:", "(", "(", "(?>", "(?=", "(?!", "(?m:", "(?s:", "(?|", "(?i:"};
    size_t kind = below(depth > 0 ? 20 : 12);
    char reference[16];

    if (kind < 8) {
        put(t, ANY(any_atom));
    } else if (kind < 12) {
        put(t, ANY(any_place));
    } else if (kind == 12 && t->groups > 0) {
        snprintf(reference, sizeof reference, below(4) ? "\\g%zu" : "(?%zu)", 1 + below((size_t)t->groups));
        put(t, reference);
    } else {
        const char *group = ANY(opening);
        t->groups += strcmp(group, "(") == 0;
        put(t, group);
        put_any(t, depth - 1);
        put(t, ")");
    }
}

static void put_any(struct text *t, int depth)
{
    for (size_t ways = some(); ways > 0; ways--) {
        for (size_t items = 1 + below(3); items > 0; items--) {
            put_atom(t, depth);
            put(t, below(3) == 0 ? ANY(any_repeat) : "");
        }
        put(t, ways > 1 ? "|" : "");
    }
}

size_t pattern_random_text(char text[PATTERN_TEXT])
{
    struct text t = {text, PATTERN_TEXT, 0};
    text[0] = '\0';
    if (below(8) == 0)
        put(&t, ANY(any_verb));
    put_any(&t, 2);
    return (size_t)(t.at - text);
}
