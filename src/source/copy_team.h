/*
 * copy_team.h
 *		The processes that read the tables of a copy or a backfill, for the one that
 *		leads them.
 */
#ifndef FLO_COPY_TEAM_H
#define FLO_COPY_TEAM_H

#include "bus/bus.h"
#include "conf/spec.h"
#include "core/process.h"
#include "nodes/pg_list.h"
#include "source/copy.h"
#include "storage/dsm.h"

typedef struct FloCopyTeam
{
	/* for whom */
	const FloProcessArgs *args;
	const FloReplicatorSpec *spec;
	FloBus	   *bus;
	const char *stream;			/* their rows go there */
	const char *subject;		/* under this, and what follows it */
	const char *description;	/* of the stream, with its owner */
	int			methods;		/* how values may be compressed */
	bool		squeeze;		/* may chunks be? */

	/* the plan */
	List	   *ranges;			/* of FloCopyTask * */
	uint64		bytes;			/* of table files */
	dsm_segment *segment;
	FloCopyPlan *plan;

	/* copiers */
	int			size;
	BackgroundWorkerHandle **copiers;
	int			running;
	int			refused;		/* for lack of a process */
	int			failures;
	uint64		halves;			/* bytes of rows whose copier ended before
								 * their end */

	/* last sequence of the stream at the last look, and at the one before */
	uint64		stored;
	uint64		stored_before;

	/* the stream's limit, as it was last made */
	int64		limit;			/* -1 = not yet */
} FloCopyTeam;

/*
 * Lock a table and cut it into ranges, the first of which has this number; returns that
 * of the next.  With "read" false it is locked alone.  As flo_copy_lock_relation() of what
 * flo_copy_each_relation() says.
 */
extern uint32 flo_team_plan(FloCopyTeam *team, const FloCopyRelation *what, bool read,
							uint32 range);

/*
 * Put the plan where copiers find it, with the snapshot, which is active and is exported
 * for them; "identity" is that of their chunks, "backfill" the number of one, 0 = a copy
 */
extern void flo_team_share(FloCopyTeam *team, const char *group, const FloChunkHeader *identity,
						   uint32 attempt, int64 backfill);

/* Start those that are lacking, if "start"; 40001 when they fail too often */
extern void flo_team_look_after(FloCopyTeam *team, int64 limit, bool start);

/* What copiers may put into the stream, which is made; a limit that was changed is made its */
extern void flo_team_look_at_space(FloCopyTeam *team, int64 limit);

/*
 * A look, once a second, whether more copiers should be at slow relations; "loaded" is the
 * sequence up to which everybody has loaded the stream, PG_UINT64_MAX = nobody loads
 */
extern void flo_team_widen(FloCopyTeam *team, uint64 loaded);

extern void flo_team_make_stream(FloCopyTeam *team, int64 limit);

#endif
