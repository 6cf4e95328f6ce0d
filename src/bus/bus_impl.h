/*
 * bus_impl.h
 *		The table of functions through which pg_flo talks to its NATS module.
 *
 * Private to bus.c and bus_nats.c.  The module is a shared library of its own,
 * so that ordinary backends never map the NATS library.  None of these
 * functions throws, blocks (close excepted, for a moment) or allocates in a
 * memory context; they answer with a status, and words in a buffer that the
 * caller has to clean of secrets before showing them.
 */
#ifndef FLO_BUS_IMPL_H
#define FLO_BUS_IMPL_H

#include "bus/bus.h"

#define FLO_NATS_MODULE "$libdir/pg_flo_bus"
#define FLO_NATS_ENTRY "flo_nats_functions"

/* Raised with every change of this file: both modules must agree */
#define FLO_NATS_ABI 9

typedef enum FloNatsStatus
{
	FLO_NATS_OK,
	FLO_NATS_NONE,				/* nothing is waiting */
	FLO_NATS_UNREACHABLE,		/* connect: to none of the servers, for
								 * different reasons or another than these: */
	FLO_NATS_NO_NAME,			/* its name cannot be resolved */
	FLO_NATS_NO_LISTENER,		/* nobody listens there, or there is no way */
	FLO_NATS_NO_ANSWER,			/* nobody answers in time */
	FLO_NATS_NO_NATS,			/* something else listens there */
	FLO_NATS_NO_TLS,			/* one side wants it otherwise than the other */
	FLO_NATS_NO_ROOM,			/* it has enough connections */
	FLO_NATS_REFUSED,			/* connect: a server does not let us in */
	FLO_NATS_MISCONFIGURED,		/* connect: a setting or a file is unusable */
	FLO_NATS_CLOSED,			/* the connection is gone */
	FLO_NATS_FORBIDDEN,			/* the server refused a subject; the
								 * connection lives */
	FLO_NATS_TOO_LARGE,			/* more than the server's max_payload */
	FLO_NATS_NO_MEMORY,
	FLO_NATS_ERROR				/* anything else */
} FloNatsStatus;

typedef struct FloNats FloNats;

typedef struct FloNatsOptions
{
	const char *name;
	const char *urls;			/* comma-separated */
	const char *user;			/* NULL or "" = not set, as all that follow */
	const char *password;
	const char *token;
	const char *credentials_file;
	const char *nkey;
	const char *nkey_file;
	bool		tls;
	const char *tls_ca_file;
	const char *tls_cert_file;
	const char *tls_key_file;
	const char *inbox_prefix;	/* subject that those of our inboxes begin
								 * with */
	int			timeout_ms;		/* per server */
} FloNatsOptions;

/* What a message is for; each kind has a subscription of its own */
typedef enum FloNatsInbox
{
	FLO_NATS_REPLIES,			/* answers to requests */
	FLO_NATS_ACKS,				/* answers to publishes */
	FLO_NATS_PULLS,				/* messages of a consumer, and what ended a
								 * pull */
	FLO_NATS_UPDATES,			/* of the watched subject */
	FLO_NATS_NOWHERE			/* publish only: no answer is wanted */
} FloNatsInbox;

typedef struct FloNatsMessage
{
	char	   *subject;
	char	   *reply;			/* NULL: none */
	char	   *data;			/* writable, and so is the zero byte behind it */
	int			len;
	uint64		token;			/* the one given to publish (replies and acks
								 * only) */
	int			status;			/* 0: a message, else the server's code, e.g.
								 * 404, 503 */
	char	   *status_text;
	void	   *impl;			/* to be given back with release(); may be
								 * NULL */
} FloNatsMessage;

typedef struct FloNatsFunctions
{
	uint32		abi;

	/*
	 * Begin to connect.  That goes on in a thread, since name look-ups and
	 * TLS handshakes have no end of their own; connecting() is a descriptor
	 * that becomes readable when it is over, connected() takes the result,
	 * and frees everything when that is not OK.  Until then nothing else may
	 * be called, close() included: who cannot wait any longer ends the
	 * process.
	 */
	FloNatsStatus (*connect) (const FloNatsOptions *options, FloNats **nats,
							  char *error, size_t error_size);
	int			(*connecting) (FloNats *nats);
	FloNatsStatus (*connected) (FloNats *nats, char *error, size_t error_size);
	void		(*close) (FloNats *nats);

	int			(*socket) (FloNats *nats);	/* -1 when closed */
	bool		(*want_write) (FloNats *nats);
	int64		(*max_payload) (FloNats *nats);

	/* What the last status other than OK was about */
	const char *(*error) (FloNats *nats);

	/*
	 * All socket I/O that is possible now, within a bound.  Where the socket
	 * is known to be readable that is not asked first.
	 */
	FloNatsStatus (*pump) (FloNats *nats, bool readable);

	/*
	 * Queue a message; part of it may leave at once.  The answer arrives in
	 * "inbox" with "token".  Without a subject the message itself does.
	 */
	FloNatsStatus (*publish) (FloNats *nats, const char *subject,
							  FloNatsInbox inbox, uint64 token,
							  const FloBusHeader *headers, int nheaders,
							  const char *data, int len);

	/* The next message that has arrived in an inbox */
	FloNatsStatus (*take) (FloNats *nats, FloNatsInbox inbox, FloNatsMessage *message);
	void		(*release) (FloNats *nats, void *impl);

	/*
	 * How many messages have arrived, answers to requests excepted, that were
	 * not taken
	 */
	int			(*pending) (FloNats *nats);

	/* A header of a message that was taken; NULL: it has none such */
	const char *(*header) (void *impl, const char *name);

	FloNatsStatus (*watch) (FloNats *nats, const char *subject);

	/* Forget what is queued in FLO_NATS_PULLS, taken messages excepted */
	FloNatsStatus (*reset_pulls) (FloNats *nats);
} FloNatsFunctions;

typedef const FloNatsFunctions *(*FloNatsEntry) (void);

#endif
