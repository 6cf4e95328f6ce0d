/*
 * bus.h
 *		A connection to NATS, driven from this process's own event loop.
 *
 * The library runs in its external event loop mode: all socket I/O happens in
 * flo_bus_pump() on the main thread, no callback of ours runs on a library
 * thread, and the library is a module of its own (pg_flo_bus) that only
 * background processes load.  Functions throw 08xxx unless said otherwise;
 * messages never contain a password, token or the user part of a URL.
 */
#ifndef FLO_BUS_H
#define FLO_BUS_H

#include "core/loop.h"

typedef struct FloBus FloBus;

/* Room for any subject that pg_flo uses */
#define FLO_BUS_SUBJECT_SIZE 512

/*
 * Connect as the pg_flo.nats_* settings say; "name" shows up in the server's
 * connection list.  Keeps trying, with the reason in flo.status; interrupts
 * are served meanwhile.  An attempt that is not over after ten seconds (a name
 * look-up or a TLS handshake that hangs) is an error that ends the process.
 */
extern FloBus *flo_bus_await(const char *name);

/* The same, but throws 08001 when no server can be reached */
extern FloBus *flo_bus_connect(const char *name);

extern void flo_bus_close(FloBus *bus);

/*
 * A new connection in the place of one that is gone, watching what was watched.
 * One attempt; false, with the reason (palloc'd), when no server can be reached, or
 * the attempt hangs: three such are left alone, the next one is an error.
 * Outstanding requests, pulls and deliveries are gone with the old connection.
 */
extern bool flo_bus_renew(FloBus *bus, char **reason);

/*
 * Do the settings of now lead elsewhere, or as somebody else, than those it was made
 * with?  Files count by their names.
 */
extern bool flo_bus_is_outdated(FloBus *bus);

/*
 * Run a step that does nothing but talk to the broker, in the midst of work
 * that can do without: false, with the words of the error (palloc'd), when it
 * threw 08xxx other than 08P01.  Nothing is rolled back, so the step must leave nothing behind.
 * flo_bus_renew() is what has to follow.
 */
typedef void (*FloBusStep) (void *arg);
extern bool flo_bus_guard(FloBusStep step, void *arg, char **reason);

/*
 * A broker that is full refuses what it is asked to keep: a limit of the stream,
 * of the account or of the server is met.  Who has set this is given one turn of
 * waiting by the functions of stream.h that have something stored, which then
 * ask again, as often as it takes; for others that is an error 53000.  "words"
 * are the broker's.
 */
typedef void (*FloBusFull) (void *arg, int err_code, const char *words);
extern void flo_bus_when_full(FloBus *bus, FloBusFull when_full, void *arg);

/* Is that what one of JetStream's err_codes says? */
extern bool flo_bus_is_full(int err_code);

/* One turn; false when nobody waits on this connection */
extern bool flo_bus_wait_while_full(FloBus *bus, int err_code, const char *words);

/* The server's max_payload, in bytes */
extern int64 flo_bus_max_payload(FloBus *bus);

/* Socket I/O that is possible now; throws 08006 when the connection is gone */
extern void flo_bus_pump(FloBus *bus);

/*
 * Wait until the socket is ready, the latch is set or the timeout (ms, -1 =
 * none) has passed, then pump.  Serves interrupts, like flo_wait().
 */
extern void flo_bus_wait(FloBus *bus, long timeout_ms);

/*
 * The same at the end of a turn of a loop that looks at everything: does not wait when
 * something within the turn has waited, for an answer, and taken in what the loop waits for.
 */
extern void flo_bus_rest(FloBus *bus, long timeout_ms);

/* The same two where it is not the stream that is waited for */
extern void flo_bus_wait_for(FloBus *bus, FloWaitFor what, long timeout_ms);
extern void flo_bus_rest_for(FloBus *bus, FloWaitFor what, long timeout_ms);

/*
 * Request and reply, e.g. a JetStream API call.  Waits up to timeout_ms for the
 * reply (08006 at the timeout, with the subject; 08006 "no responders" when
 * nobody listens, which for $JS.API means that JetStream is off).
 */
typedef struct FloBusReply
{
	char	   *data;			/* palloc'd, zero-terminated */
	int			len;
} FloBusReply;

extern FloBusReply flo_bus_request(FloBus *bus, const char *subject,
								   const char *data, int len, int timeout_ms);

/*
 * The same with a header (NULL for none), and false instead of an error when
 * there are no responders.
 */
extern bool flo_bus_try_request(FloBus *bus, const char *subject, const char *header,
								const char *header_value, const char *data, int len,
								int timeout_ms, FloBusReply *reply);

/*
 * After work of any length during which the connection was not served: renew it
 * when it is gone.  Throws 08001 when no server can be reached.
 */
extern void flo_bus_refresh(FloBus *bus);

/* Publish without a reply; into a connection that is gone, too: the next pump throws */
extern void flo_bus_publish(FloBus *bus, const char *subject, const char *data, int len);

/*
 * Publish to a stream.  The broker stores the message only if the stream's
 * last sequence is expected_seq (also enforced for 0).  The answer arrives at
 * flo_bus_next_ack() with the token given here.  Never blocks: it queues.
 */
extern void flo_bus_publish_expect(FloBus *bus, const char *subject, uint64 expected_seq,
								   uint64 token, const char *data, int len);

/* The same without a condition on the stream's end, for streams of many writers */
extern void flo_bus_publish_stored(FloBus *bus, const char *subject, uint64 token,
								   const char *data, int len);

/*
 * The same with headers of one's own, none of which may hold a line's end.  Token
 * 0: no answer is wanted, and nobody need keep it.
 */
typedef struct FloBusHeader
{
	const char *name;
	const char *value;
} FloBusHeader;

/* The stream's last message has this sequence, else it is refused */
#define FLO_BUS_EXPECTED_SEQUENCE "Nats-Expected-Last-Sequence"

extern void flo_bus_publish_with(FloBus *bus, const char *subject, const FloBusHeader *headers,
								 int nheaders, uint64 token, const char *data, int len);

/* Answered with "echo" once the server has taken all that was published before */
extern void flo_bus_echo(FloBus *bus, uint64 token);

typedef struct FloBusAck
{
	uint64		token;			/* 0 with a 503: some publish found no stream */
	bool		stored;
	bool		duplicate;		/* it was before, under this sequence */
	bool		echo;			/* of flo_bus_echo() */
	uint64		seq;			/* when stored */
	int			err_code;		/* JetStream's err_code, e.g. 10071, 10077;
								 * 503 no responders */
	char		error[160];
} FloBusAck;

/* The next answer that has arrived; false when none is waiting */
extern bool flo_bus_next_ack(FloBus *bus, FloBusAck *ack);

/*
 * Ask a pull consumer for up to "batch" messages.  They arrive at
 * flo_bus_next_delivery().  The request ends after expires_ms.
 */
extern void flo_bus_pull(FloBus *bus, const char *stream, const char *consumer,
						 int batch, int expires_ms);

typedef struct FloBusDelivery
{
	const char *subject;		/* valid as long as the delivery */
	char	   *data;			/* writable; one more byte behind the end is,
								 * too */
	int			len;
	uint64		stream_seq;
	uint64		pending;		/* messages behind it in the stream, when it
								 * was sent */
	const char *ack_subject;	/* valid as long as the delivery */
	int			status;			/* 0: a message; 404/408: request ended, 409:
								 * consumer changed or gone, 503 */
	char	   *status_text;	/* the server's words, for status != 0 */
	void	   *impl;
} FloBusDelivery;

/* The next message or status that has arrived; false when none is waiting */
extern bool flo_bus_next_delivery(FloBus *bus, FloBusDelivery *delivery);

/* One of its headers, valid as long as the delivery; NULL: it has none such */
extern const char *flo_bus_delivery_header(const FloBusDelivery *delivery, const char *name);

/* Every delivery taken must be released, in any order */
extern void flo_bus_release(FloBus *bus, FloBusDelivery *delivery);

/* Forget all deliveries still queued and all outstanding pulls */
extern void flo_bus_pull_reset(FloBus *bus);

/* Plain subscription, for keys of the state bucket; one per connection */
extern void flo_bus_watch(FloBus *bus, const char *subject);
typedef struct FloBusUpdate
{
	char	   *subject;		/* palloc'd */
	char	   *data;			/* palloc'd, zero-terminated */
	int			len;
} FloBusUpdate;
extern bool flo_bus_next_update(FloBus *bus, FloBusUpdate *update);

#endif
