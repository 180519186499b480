/* Tornado's tests of TLS (its classes TestIOStreamStartTLS, WaitForHandshakeTest and TestIOStreamCheckHostname), on all
 * three worlds. "a" is the client and "b" the server. */
#include <errno.h>
#include <string.h>

#include "helpers_tls.h"
#include "helpers_tornado.h"

static void on_begun(struct weir_stream *s, int status, void *party)
{
    struct party *p = party;
    (void)s;
    note(p->env, "%s begun %s\n", p->name, weir_error_name(status));
}

static void start(struct party *p, struct weir_tls_config *config, const char *host)
{
    int rc = weir_tls_start(p->s, config, host);
    cr_assert_eq(rc, 0, "%s", weir_error_name(rc));
    weir_tls_config_close(config);
}

static void start_both(struct party *a, const char *host, struct party *b)
{
    start(a, client_config(), host);
    start(b, server_config(), NULL);
    cr_assert_eq(weir_tls_wait(a->s, on_begun, a), 0);
    cr_assert_eq(weir_tls_wait(b->s, on_begun, b), 0);
}

/* One line from one to the other. */
static void say(struct env *e, struct party *from, struct party *to, const char *line)
{
    send_text(from, line);
    cr_assert_eq(weir_read_until(to->s, ";", 1, 0, on_read, to), 0);
    run_idle(e);
}

/* ---- Upgrades ---- */

ON_ALL_WORLDS(tornado, test_start_tls_smtp)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    say(e, &b, &a, "220 mail.example.com ready;");
    say(e, &a, &b, "EHLO mail.example.com;");
    say(e, &b, &a, "250 STARTTLS;");
    say(e, &a, &b, "STARTTLS;");
    say(e, &b, &a, "220 Go ahead;");
    start_both(&a, "localhost", &b);
    run_idle(e);
    say(e, &a, &b, "EHLO mail.example.com;");
    say(e, &b, &a, "250 mail.example.com;");
    expect_lines(&a, "a read 0 27 220 mail.example.com ready;\na read 0 13 250 STARTTLS;\na read 0 13 220 Go ahead;\n"
                     "a begun 0\na read 0 21 250 mail.example.com;\n");
    expect_lines(&b, "b read 0 22 EHLO mail.example.com;\nb read 0 9 STARTTLS;\nb begun 0\n"
                     "b read 0 22 EHLO mail.example.com;\n");
    close_pair(e, &a, &b);
}

/* There, both sides log it and raise. Here the reason has a code of its own at the side that refuses. */
ON_ALL_WORLDS(tornado, test_handshake_fail)
{
    struct weir_tls_config_options opt = client_options();
    struct cert stranger = cert_new(&(struct cert_spec){.cn = "x", .ca = 1});
    struct party a, b;

    opt.ca_pem = cert_pem(&stranger);
    cert_free(&stranger);
    open_pair(e, NULL, &a, &b);
    start(&a, config_of(&opt), "localhost");
    start(&b, server_config(), NULL);
    cr_assert_eq(weir_tls_wait(a.s, on_begun, &a), 0);
    cr_assert_eq(weir_tls_wait(b.s, on_begun, &b), 0);
    run_until(e, &a.closed, 1);
    run_until(e, &b.closed, 1);
    expect_lines(&a, "a begun WEIR_ECERT\na closed WEIR_ECERT\n");
    expect_lines(&b, "b begun WEIR_ETLS\nb closed WEIR_ETLS\n");
}

ON_ALL_WORLDS(tornado, test_check_hostname)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    start_both(&a, "not.localhost", &b);
    run_until(e, &a.closed, 1);
    run_until(e, &b.closed, 1);
    expect_lines(&a, "a begun WEIR_ECERT\na closed WEIR_ECERT\n");
    expect_lines(&b, "b begun WEIR_ETLS\nb closed WEIR_ETLS\n");
}

/* ---- Waiting for the handshake ---- */

ON_ALL_WORLDS(tornado, test_wait_for_handshake_future)
{
    struct weir_tls_facts facts;
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    start_both(&a, "localhost", &b);
    cr_assert_eq(weir_tls_facts(b.s, &facts, sizeof facts), 0);
    cr_assert_str_eq(facts.cipher, "");
    run_idle(e);
    expect_lines(&b, "b begun 0\n");
    cr_assert_eq(weir_tls_facts(b.s, &facts, sizeof facts), 0);
    cr_assert_str_neq(facts.cipher, "");
    close_pair(e, &a, &b);
}

ON_ALL_WORLDS(tornado, test_wait_for_handshake_already_waiting_error)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    start_both(&a, "localhost", &b);
    cr_assert_eq(weir_tls_wait(b.s, on_begun, &b), -EBUSY);
    run_idle(e);
    expect_lines(&b, "b begun 0\n");
    close_pair(e, &a, &b);
}

ON_ALL_WORLDS(tornado, test_wait_for_handshake_already_connected)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    start_both(&a, "localhost", &b);
    run_idle(e);
    cr_assert_eq(weir_tls_wait(b.s, on_begun, &b), 0);
    run_idle(e);
    expect_lines(&b, "b begun 0\nb begun 0\n");
    close_pair(e, &a, &b);
}

/* Of the days of callbacks: it is called before anything is read. */
ON_ALL_WORLDS(tornado, test_wait_for_handshake_callback)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    start_both(&a, "localhost", &b);
    send_text(&a, "early");
    cr_assert_eq(weir_read_bytes(b.s, 5, on_read, &b), 0);
    run_idle(e);
    expect_lines(&b, "b begun 0\nb read 0 5 early\n");
    close_pair(e, &a, &b);
}

/* ---- Names ---- */

ON_ALL_WORLDS(tornado, test_match)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    start_both(&a, "localhost", &b);
    run_idle(e);
    expect_lines(&a, "a begun 0\n");
    expect_lines(&b, "b begun 0\n");
    close_pair(e, &a, &b);
}

ON_ALL_WORLDS(tornado, test_no_match)
{
    struct party a, b;
    open_pair(e, NULL, &a, &b);
    start_both(&a, "127.0.0.2", &b);
    run_until(e, &a.closed, 1);
    run_until(e, &b.closed, 1);
    expect_lines(&a, "a begun WEIR_ECERT\na closed WEIR_ECERT\n");
    expect_lines(&b, "b begun WEIR_ETLS\nb closed WEIR_ETLS\n");
}

/* There it is enough not to check; here one says what one does. */
ON_ALL_WORLDS(tornado, test_check_disabled)
{
    struct weir_tls_config_options opt = client_options();
    struct party a, b;

    opt.DANGEROUS_any_name = 1;
    open_pair(e, NULL, &a, &b);
    start(&a, config_of(&opt), "127.0.0.2");
    start(&b, server_config(), NULL);
    cr_assert_eq(weir_tls_wait(a.s, on_begun, &a), 0);
    run_idle(e);
    expect_lines(&a, "a begun 0\n");
    close_pair(e, &a, &b);
}
