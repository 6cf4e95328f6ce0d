/*
 * progress.h
 *		What a worker has durably done: its replication origin or its row in
 *		flo.progress.
 */
#ifndef FLO_PROGRESS_H
#define FLO_PROGRESS_H

#include "conf/store.h"
#include "wire/chunk.h"

typedef struct FloProgress FloProgress;

/*
 * Read what is recorded and take hold of the origin; "by_row" for sinks that
 * have none.  Needs no transaction.  53xxx when the server has no origin free,
 * 55006 when another process holds it.
 */
extern FloProgress *flo_progress_open(const char *group, const char *worker, bool by_row);

/* Has the worker ever begun? */
extern bool flo_progress_known(const FloProgress *progress);

/*
 * Begin: this source and generation, everything after "start"; "copying" when
 * the copy that the generation begins with is to be taken in first.
 */
extern void flo_progress_begin(FloProgress *progress, const FloChunkHeader *source,
							   XLogRecPtr start, bool copying);

/* Is the copy still to be taken in? */
extern bool flo_progress_copying(const FloProgress *progress);

/* It is in, as the database says already */
extern void flo_progress_copied(FloProgress *progress);

/* There is none: durable when this returns */
extern void flo_progress_set_copied(FloProgress *progress);

/* Number of the newest marker whose tables are in */
extern uint32 flo_progress_copy_attempt(const FloProgress *progress);
extern void flo_progress_set_copy_attempt(FloProgress *progress, uint32 attempt);

/* Fail for good unless the chunk is of the source and generation recorded */
extern void flo_progress_check_source(const FloProgress *progress, const FloChunkHeader *source);

/* Is it? */
extern bool flo_progress_is_of(const FloProgress *progress, const FloChunkHeader *source);

/* Is it at least of the same source, so that a new generation may be followed? */
extern bool flo_progress_may_follow(const FloProgress *progress, const FloChunkHeader *source);

/*
 * Begin once more, mostly with a new generation of the same source; "since" is
 * what was shown as durable before.  No transaction may be open.
 */
extern void flo_progress_follow(FloProgress *progress, const FloChunkHeader *source,
								XLogRecPtr start, bool copying, XLogRecPtr since);

/* Commit LSN of a transaction that is to be skipped; invalid when there is none */
extern XLogRecPtr flo_progress_skip(const FloProgress *progress);

/* It was: forget it, in the open transaction */
extern void flo_progress_clear_skip(FloProgress *progress);

/* End LSN of the last source transaction in a committed batch, or a heartbeat's position */
extern XLogRecPtr flo_progress_position(const FloProgress *progress);

/* The generation being followed, as text */
extern const char *flo_progress_generation(const FloProgress *progress);
extern const pg_uuid_t *flo_progress_generation_id(const FloProgress *progress);

/*
 * Commit the open transaction together with the position.  The commit is
 * asynchronous: returns the end of the commit record, up to which WAL has to
 * be flushed before the position may be told to anybody.
 */
extern XLogRecPtr flo_progress_commit(FloProgress *progress, XLogRecPtr position,
									  TimestampTz commit_time);

/*
 * The same for a position that is a row: the commit is synchronous, and the
 * position may be told at once.  "sink_state" is saved with it, NULL: nothing.
 */
extern void flo_progress_commit_row(FloProgress *progress, XLogRecPtr position,
									const char *sink_state);

/* What the sink saved with the position recorded; NULL: nothing */
extern const char *flo_progress_sink_state(const FloProgress *progress);

/*
 * What the open transaction writes from here on comes from the source: it
 * carries the origin.  Its commit does not move that, unless it is
 * flo_progress_commit().
 */
extern void flo_progress_mark(const FloProgress *progress);

/* Before every abort, and first thing in every error path: nothing later may move the origin */
extern void flo_progress_disarm(void);

/*
 * Two processes, one position.  The worker lets its origin go, which returns where it is,
 * and takes it up again; in between a helper may hold it, and commit.  Who does not
 * hold it neither commits nor says where it is.
 */
extern XLogRecPtr flo_progress_let_go(FloProgress *progress);
extern void flo_progress_take_up(FloProgress *progress);

/* A helper's: it holds nothing yet */
extern FloProgress *flo_progress_open_beside(const char *group, const char *worker);

/* Within a transaction; throws when somebody else holds it.  The position that is there. */
extern XLogRecPtr flo_progress_hold_beside(FloProgress *progress);

/* In the error path: if it is held */
extern void flo_progress_release(FloProgress *progress);

#endif
