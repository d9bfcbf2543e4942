/* TLS around a connection's bytes (--tls 1), where the generator is built with OpenSSL (WITH_TLS).
 *
 * Facts: with read_ahead a record is one recv; SSL_has_pending then says whether more of what came
 * is left. A TLS 1.3 server sends its tickets behind the client's Finished: a client that has one
 * knows that the server has done its part. Certificates are not verified, only the signature is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "generator.h"

#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>

#define SESSIONS 4096

static SSL_CTX *context;
static SSL_SESSION *sessions[SESSIONS]; /* tickets to resume by, the last ones on top */
static int session_count;

static int has_ticket(SSL *ssl, SSL_SESSION *session)
{
    struct connection *c = SSL_get_app_data(ssl);

    c->tickets++;
    if (!options.resume || session_count == SESSIONS)
        return 0;
    sessions[session_count++] = SSL_SESSION_dup(session); /* which a reset cannot make useless */
    return 0;
}

void tls_prepare(void)
{
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, has_ticket);
}

void tls_begin(struct connection *c)
{
    SSL *ssl = c->tls = SSL_new(context);

    c->tickets = 0;
    SSL_set_app_data(ssl, c);
    SSL_set_fd(ssl, c->fd);
    SSL_set_tlsext_host_name(ssl, "localhost");
    if (options.resume && session_count) {
        SSL_SESSION *session = sessions[--session_count];

        SSL_set_session(ssl, session);
        SSL_SESSION_free(session);
    }
}

/* Goes on with the handshake: 1 done, 0 not yet, -1 failed. */
int tls_shake(struct connection *c)
{
    int done, why;

    ERR_clear_error();
    done = SSL_connect(c->tls);
    if (done == 1) {
        result.resumed += SSL_session_reused(c->tls);
        return 1;
    }
    why = SSL_get_error(c->tls, done);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

ssize_t tls_take(struct connection *c, char *into, size_t size)
{
    size_t got = 0, some;

    do {
        int why, done;

        ERR_clear_error();
        done = SSL_read_ex(c->tls, into + got, size - got, &some);
        if (!done) {
            why = SSL_get_error(c->tls, done);
            if (got)
                break;
            errno = EAGAIN;
            return why == SSL_ERROR_WANT_READ ? -1 : 0;
        }
        got += some;
    } while (got < size && SSL_has_pending(c->tls));
    return got;
}

ssize_t tls_give(struct connection *c, const void *bytes, size_t size)
{
    size_t given;

    return SSL_write_ex(c->tls, bytes, size, &given) ? (ssize_t)given : -1;
}

void tls_say_goodbye(struct connection *c)
{
    SSL_shutdown(c->tls);
}

void tls_end(struct connection *c)
{
    SSL_free(c->tls);
    c->tls = NULL;
}
#else
void tls_prepare(void)
{
    fail("built without TLS", "install libssl-dev");
}

void tls_begin(struct connection *c) { (void)c; }
int tls_shake(struct connection *c) { (void)c; return -1; }
ssize_t tls_take(struct connection *c, char *into, size_t size)
{
    (void)c, (void)into, (void)size;
    return 0;
}
ssize_t tls_give(struct connection *c, const void *bytes, size_t size)
{
    (void)c, (void)bytes, (void)size;
    return -1;
}
void tls_say_goodbye(struct connection *c) { (void)c; }
void tls_end(struct connection *c) { (void)c; }
#endif

/* What came on a connection, or so many bytes out, with TLS or without; as recv and send. */
ssize_t bytes_in(struct connection *c, char *into, size_t size)
{
    return c->tls ? tls_take(c, into, size) : recv(c->fd, into, size, 0);
}

ssize_t bytes_out(struct connection *c, const void *bytes, size_t size)
{
    return c->tls ? tls_give(c, bytes, size) : send(c->fd, bytes, size, MSG_NOSIGNAL);
}
