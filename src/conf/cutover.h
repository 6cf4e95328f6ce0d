/*
 * cutover.h
 *		The durable row of a cut-over, one for each side: flo.cutovers.
 *
 * Every function needs a transaction.
 */
#ifndef FLO_CONF_CUTOVER_H
#define FLO_CONF_CUTOVER_H

#include "conf/store.h"
#include "core/clock.h"

typedef enum FloCutoverState
{
	/* the source: what may come next */
	FLO_CUTOVER_REQUESTED,		/* preparing, cancelled */
	FLO_CUTOVER_PREPARING,		/* fenced, checked, cancelled */
	FLO_CUTOVER_FENCED,			/* released, cancelling, cancelled, forced */
	FLO_CUTOVER_CANCELLING,		/* cancelled, released, forced */
	FLO_CUTOVER_RELEASED,		/* returned, forced */
	FLO_CUTOVER_FORCED,			/* released, when the destination turns out to
								 * be open */
	FLO_CUTOVER_RETURNED,		/* - */

	/* the destination; preparing, then */
	FLO_CUTOVER_CHECKING,		/* checked, cancelled */
	FLO_CUTOVER_PREPARED,		/* arrived, cancelled */
	FLO_CUTOVER_ARRIVED,		/* open, cancelled */
	FLO_CUTOVER_OPEN,			/* - */

	/* both: the attempt is over */
	FLO_CUTOVER_CHECKED,
	FLO_CUTOVER_CANCELLED
} FloCutoverState;

typedef struct FloCutover
{
	char	   *group;
	char	   *member;			/* FLO_REPLICATOR_MEMBER at the source */
	int64		attempt;
	FloCutoverState state;
	char	   *reverse;		/* NULL: none */
	bool		reverse_made;
	char	   *consumer;		/* the destination's; at the source it may be
								 * what was asked for */
	bool		dry_run;
	bool		compares;
	bool		opens;
	bool		cancel_asked;
	int64		max_lag;		/* ms */
	int64		timeout;		/* ms */
	List	   *tables;			/* OIDs here */
	Jsonb	   *options;
	int64		comparison;		/* 0: none yet */
	XLogRecPtr	lsn;
	char	   *sqlstate;		/* these three NULL: nothing went wrong */
	char	   *problem;
	char	   *hint;
	int64		age;			/* ms in this state, as it was read */
	char	   *changed_at;		/* for people */
} FloCutover;

/* ms in which all tables have to be locked at one try: meanwhile the stream waits */
#define FLO_CUTOVER_LOCK_PATIENCE 400

extern const char *flo_cutover_state_name(FloCutoverState state);

/* NULL when there was none */
extern FloCutover *flo_cutover_load(const char *group, const char *member);

/* Is nothing left to be done for it? */
extern bool flo_cutover_is_over(const FloCutover *cutover);

/*
 * A new attempt, in place of one that is over.  False when the one that is there is
 * not; "cutover" has group, member, attempt (0: the next one), state and all else
 * that is known.
 */
extern bool flo_cutover_insert(const FloCutover *cutover);

/*
 * Is it still as it was loaded?  It stays so to the end of the transaction: somebody
 * may have forced, or withdrawn, it since, and what he was told stands.  Who does not
 * wait takes a lock of somebody else's for a change.
 */
extern bool flo_cutover_hold(const FloCutover *cutover, bool wait);

/* The source does nothing more for the group's, until the end of the transaction */
extern void flo_cutover_halt(const char *group);

/* Into another state; one of these goes into "lsn" unless it is invalid */
extern void flo_cutover_set(FloCutover *cutover, FloCutoverState state, XLogRecPtr lsn);

/* What the source has found out: attempt, consumer, tables, whether it opens by itself */
extern void flo_cutover_save(const FloCutover *cutover);

/* That its side of the way back was made, or is gone */
extern void flo_cutover_save_reverse(FloCutover *cutover, bool made);

/* Why it is undone; keeps the first reason */
extern void flo_cutover_blame(FloCutover *cutover, int sqlstate, const char *problem,
							  const char *hint);

/* For a person: undo what is under way here.  False when nothing is. */
extern bool flo_cutover_ask_cancel(const char *group);

/*
 * For a person: this side takes writes whatever the other one does.  The destination
 * is open with that, and says so.
 */
extern void flo_cutover_force(const char *group);

/* Tell what happened */
extern void flo_cutover_step(const FloCutover *cutover, const char *step, const char *format,...)
			pg_attribute_printf(3, 4);

/*
 * The cut-overs of this database as a source that the other side has taken over,
 * and whose way back is the group: they have returned, once it opens here.  List of
 * char *, their groups.
 */
extern List *flo_cutover_returned(const char *reverse);

/*
 * The group that brought rows the other way before, and whose worker is still here:
 * the way back, unless another one is named.  NULL when there is none.
 */
extern char *flo_cutover_way_back(const char *group);

/*
 * One act of an attempt: "what", in a transaction of its own that holds the row, durable
 * when it returns.  Unless "keep" all of it is undone again: it was to be seen whether it
 * works.  NULL when it has, else the error; 55P03 when the row is another by now than
 * "cutover", as which it was loaded.  Tests halt at cutover.<point>.before and .after.
 */
extern ErrorData *flo_cutover_do(const FloCutover *cutover, const char *point, bool keep,
								 void (*what) (void *arg), void *arg);

/* Make running members look at flo.cutovers at the commit of this transaction */
extern void flo_cutover_changed(void);

/*
 * A statement that calls a function, as a role, arguments are text; its result as text.
 * Locks are waited for no longer than the patience above.
 */
extern char *flo_cutover_call(Oid role, const char *statement, int nargs, const char *const *args);

#endif
