/*
 * session.h
 *		Begins a publishing session: finds where the stream ends and whether
 *		this source may go on from there.
 */
#ifndef FLO_SESSION_H
#define FLO_SESSION_H

#include "bus/stream.h"
#include "conf/spec.h"
#include "core/compat.h"
#include "source/publisher.h"
#include "source/retention.h"
#include "wire/chunk.h"

/*
 * What the newest messages of a stream say.  Messages that are no chunks, and
 * void ones, are passed over.
 */
typedef struct FloStreamEnd
{
	bool		found;			/* a chunk that counts */
	FloChunkHeader newest;		/* the newest that is not void */
	uint64		highest_epoch;	/* of the newest FLO_WINDOW + 1 messages, 0 =
								 * none */
} FloStreamEnd;

extern void flo_session_read_end(FloBus *bus, const char *stream,
								 const FloStreamInfo *info, FloStreamEnd *end);

/* Why something at the broker is not to be touched from here */
typedef struct FloDispute
{
	int			sqlstate;
	char	   *message;
	const char *hint;
	bool		removable;		/* it is of this database, of an earlier group */
} FloDispute;

extern FloDispute *flo_dispute(bool removable, const char *hint, const char *format,
							   ...) pg_attribute_printf(3, 4);

/* As the member's state, for good */
pg_noreturn extern void flo_dispute_fail(const FloDispute *dispute);

/*
 * What the newest chunk, which is there, says against this source: NULL when it
 * may go on from there.  "generation" is NULL when nothing was begun here.
 * "earlier" as for flo_session_check().
 */
extern FloDispute *flo_session_dispute(const FloStreamEnd *end, const FloChunkHeader *identity,
									   const FloGeneration *generation, bool *earlier);

/* The same about nothing but the system that published it */
extern FloDispute *flo_session_dispute_system(const FloChunkHeader *newest,
											  const FloChunkHeader *identity);

/*
 * Whose is the stream?  Fails for good (flo_fail) when its newest chunk is
 * another's, or of a history that is not this server's.  True when it is of a
 * generation before this one: what is in the stream has to go.
 */
extern bool flo_session_check(const FloStreamEnd *end, const FloChunkHeader *identity,
							  const FloGeneration *generation);

/*
 * Position that the slot has let go of; fails for good when the slot that was
 * recorded is gone, or useless
 */
extern XLogRecPtr flo_session_check_slot(const char *slot);

/*
 * Decide start, from and epoch on a stream that was checked, or fail for good
 * when acknowledged data is lost that some worker still needs.
 */
extern void flo_session_begin(const FloStreamInfo *info, const FloStreamEnd *end,
							  const FloChunkHeader *identity, uint64 recorded_epoch,
							  XLogRecPtr confirmed_flush, FloRetention *retention,
							  FloSession *session);

#endif
