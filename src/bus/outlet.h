/*
 * outlet.h
 *		Messages for others, under subjects of their own: in order, and each
 *		stored in a JetStream stream exactly once; or for whoever listens.
 *
 * An outlet has a connection of its own.  A message carries its place, words by
 * which the caller knows what it was made of, and an id of its own.  Of what a
 * process before this one has published, flo_outlet_last() says how far it came.
 */
#ifndef FLO_OUTLET_H
#define FLO_OUTLET_H

#include "bus/stream.h"

typedef struct FloOutlet FloOutlet;

/* Longest place and id of a message, in bytes */
#define FLO_OUTLET_TEXT_MAX 256

typedef struct FloOutletConfig
{
	const char *name;			/* of the connection */
	const char *stream;			/* NULL: messages are for whoever listens, and
								 * kept by nobody */
	const char *subjects;		/* with wildcards: all that are published to,
								 * and by nobody else */

	/* Once a second at least while waiting; may throw */
	void		(*serve) (void *arg);
	void	   *arg;
} FloOutletConfig;

typedef struct FloOutletMessage
{
	const char *subject;
	const char *id;				/* Nats-Msg-Id */
	const char *place;			/* header Flo-Place */
	const FloBusHeader *headers;	/* others */
	int			nheaders;
	const char *data;
	int			len;
} FloOutletMessage;

/*
 * Connects; 08001 when no server can be reached.  The stream need not be there yet,
 * but before anything is asked of it or published.  All that is kept is in "context".
 */
extern FloOutlet *flo_outlet_open(MemoryContext context, const FloOutletConfig *config);

/* Its connection, for requests between messages */
extern FloBus *flo_outlet_bus(FloOutlet *outlet);

/*
 * Bytes that a message takes of the server's max_payload and of the stream's largest
 * message, and how many it may take
 */
extern int64 flo_outlet_size(const FloOutlet *outlet, const FloOutletMessage *message);
extern int64 flo_outlet_max_size(FloOutlet *outlet);

/*
 * Make the stream as the configuration says, or look whether the one there is will
 * do: 55000.  42710 when another stream has the subjects.
 */
extern void flo_outlet_stream(FloBus *bus, const FloStreamConfig *config);

/*
 * Place of the newest message in a stream under some subjects (palloc'd).  NULL:
 * there is none, or no such stream.
 */
extern char *flo_outlet_last(FloOutlet *outlet, const char *stream, const char *subjects);

/*
 * Publish, waiting for room in the window; everything is copied.  What was added
 * is published whatever becomes of the caller's work, unless the process ends.
 */
extern void flo_outlet_add(FloOutlet *outlet, const FloOutletMessage *message);

/* Until all that was added is stored, or taken by the server */
extern void flo_outlet_drain(FloOutlet *outlet);

/* Without waiting: take in what has been answered, and keep the connection alive */
extern void flo_outlet_pump(FloOutlet *outlet);

/* Place of the newest message that is stored for certain; NULL: none yet */
extern const char *flo_outlet_stored(const FloOutlet *outlet);

#endif
