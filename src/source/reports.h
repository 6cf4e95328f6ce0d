/*
 * reports.h
 *		What the workers of a group say of themselves, as it comes in.
 */
#ifndef FLO_REPORTS_H
#define FLO_REPORTS_H

#include "source/retention.h"

/* What the state bucket holds, and from now on what is said; once for each connection */
extern void flo_reports_load(FloBus *bus, const char *bucket, FloRetention *retention);

/*
 * Those that have come in since; true when somebody has removed a key that the
 * source has written for good
 */
extern bool flo_reports_take(FloBus *bus, const char *bucket, FloRetention *retention);

/*
 * A report of a sequence that the stream does not have was made before the
 * broker lost its end, or the stream was made anew.  What will be stored under
 * those numbers is something else, so the worker has none of it.  In the bucket
 * as well: the next session would not see the difference any more.
 */
extern void flo_reports_forget_stale(FloBus *bus, const char *bucket, FloRetention *retention,
									 uint64 last_seq);

/*
 * The stream ends before what the slot has let go of.  That is no loss when the
 * workers have it; those that run say so within seconds.  A broker that holds
 * nothing of the group, no report either, is a new one, or it was emptied: then
 * workers have to be led there first, and the last of them is to be heard.  So it is
 * where the stream was restored without the bucket, which consumers give away.
 * "found": the stream holds a chunk.  False when the settings changed meanwhile.
 */
extern bool flo_reports_await(FloBus *bus, const char *bucket, FloRetention *retention,
							  const FloStreamInfo *info, bool found, XLogRecPtr published,
							  XLogRecPtr confirmed_flush);

/* Has a stream met its own limit, or nearly so? */
extern bool flo_reports_stream_is_full(const FloStreamInfo *info);

/*
 * For flo.status: whose limit has a full broker met, and which worker holds what
 * is there?  "words" are the broker's.  A "chunk" needs no stream more.
 */
extern char *flo_reports_describe_full(FloBus *bus, const char *stream, FloRetention *retention,
									   const char *words, bool chunk);

#endif
