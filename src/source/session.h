/*
 * session.h
 *		Begins a publishing session: finds where the stream ends and whether
 *		this source may go on from there.
 */
#ifndef FLO_SESSION_H
#define FLO_SESSION_H

#include "bus/stream.h"
#include "conf/spec.h"
#include "source/publisher.h"
#include "source/settle.h"
#include "wire/chunk.h"

/*
 * What the newest messages of a stream say.  Messages that are no chunks, and
 * void ones, are passed over.
 */
typedef struct FloStreamEnd
{
	bool		found;			/* a chunk that counts */
	FloChunkHeader newest;		/* the newest that is not void */
	uint64		highest_epoch;	/* of the newest FLO_WINDOW + 1 messages, 0 = none */
} FloStreamEnd;

extern void flo_session_read_end(FloBus *bus, const char *stream,
								 const FloStreamInfo *info, FloStreamEnd *end);

/*
 * Whose is the stream?  Fails for good (flo_fail) when its newest chunk is
 * another's, or of a history that is not this server's.  True when it is of a
 * generation before this one: what is in the stream has to go.
 */
extern bool flo_session_check(const FloStreamEnd *end, const FloChunkHeader *identity,
							  const FloGeneration *generation);

/*
 * Decide start, from and epoch on a stream that was checked, or fail for good
 * when acknowledged data is lost that some worker still needs.
 */
extern void flo_session_begin(const FloStreamInfo *info, const FloStreamEnd *end,
							  const FloChunkHeader *identity, uint64 recorded_epoch,
							  XLogRecPtr confirmed_flush, FloSettle *settle,
							  FloSession *session);

#endif
