/*
 * copy_loader_state.h
 *		A loader: what the files of it share.
 *
 * copy_loader.c is the process and calls copy_chunk.c, which loads a chunk; both call
 * copy_sitting.c, and all of them copy_hand.c.
 */
#ifndef FLO_COPY_LOADER_STATE_H
#define FLO_COPY_LOADER_STATE_H

#include "bus/bus.h"
#include "core/clock.h"
#include "core/process.h"
#include "dest/table_filter.h"
#include "dest/worker_rules.h"
#include "monitor/copy.h"
#include "monitor/state.h"
#include "sink/sink.h"
#include "utils/uuid.h"
#include "wire/change.h"
#include "wire/chunk.h"

/* ms; for so long a loader without work may hold up the purge */
#define FLO_PULL_EXPIRES 1000

/* A transaction in which tables are filled from their first chunk on, see copy_sitting.c */
typedef struct FloSitting
{
	bool		open;
	uint32		attempt;		/* of its rows */
	FloClock	began;
	FloClock	last;			/* when the last chunk was loaded */
	FloClock	next_look;		/* whether all is in */
	FloClock	next_way;		/* whether it is in anybody's way */
	uint64		low;			/* lowest sequence of its chunks */
	uint64		bytes;			/* of its tables, as they were planned */
	int			chunks;
	int			ntables;
	struct
	{
		uint32		relation;
		int64		chunks;
	}			tables[FLO_OWN_TABLES];
} FloSitting;

typedef struct FloLoader
{
	const FloProcessArgs *args;
	char	   *group;
	char	   *worker;
	bool		backfill;
	char	   *stream;
	char	   *subject;		/* of its messages, and what follows it */
	char	   *consumer;
	FloWorkerSpec *spec;
	FloBus	   *bus;
	FloChangeParser *parser;
	FloTableFilter *tables;		/* of the option; NULL = all */
	FloWorkerRules *rules;		/* NULL until the first chunk */
	MemoryContext given_up_context;
	List	   *given_up;		/* of FloGivenUp *, in that */
	FloSink    *sink;
	FloSinkHost host;
	FloTally	tally;			/* open: of the chunk at hand, or the sitting */
	pg_uuid_t	generation;		/* chunks of others are not for us */
	int			encoding;
	MemoryContext turn;
	StringInfoData plain;		/* of the chunk at hand, if it came compressed */
	StringInfoData next_plain;	/* and of the next one */

	/* the table of the chunk at hand */
	bool		checks_keys;	/* in the end: the worker is one that fires
								 * triggers */
	bool		prepared;
	bool		takes_turns;	/* those with earlier rows do not wait for
								 * this one */
	bool		outdated;		/* it gets the rows of a later snapshot */
	bool		owned;			/* by this loader, alone */
	uint64		planned;		/* its bytes, when it is not begun and could
								 * be filled in a sitting; else 0 */
	bool		joins;			/* also in one that is open */

	/* the open request */
	int			expected;		/* messages still to come */
	FloClock	requested;
	uint64		bound;			/* none of them has a lower sequence */

	/* loaded, not acknowledged */
	List	   *unacked;		/* of char * */
	XLogRecPtr	unflushed;
	uint64		in_hand;		/* lowest sequence of what may be lost with
								 * this process; PG_UINT64_MAX = nothing */
	uint64		last_seen;		/* highest sequence ever had */
	uint64		current;		/* of the chunk at hand; PG_UINT64_MAX = none */
	bool		has_next;		/* and the one that comes after it is here */
	bool		waits;			/* which was had, and has to come again */
	uint32		waits_for;		/* when the owner of this table has room; 0 =
								 * for its snapshot */
	uint32		full_for;		/* as whose table the chunk at hand was not
								 * handed over */
	FloBusDelivery next;

	FloSitting	sitting;
} FloLoader;

/* --- copy_hand.c: what it has in hand ------------------------------------ */

/* Tell what may not be purged */
extern void flo_hand_show(FloLoader *l);

/* Ask for another chunk */
extern void flo_hand_request(FloLoader *l);

/* This chunk is taken care of, as "acknowledge" tells the broker once it is durable */
extern void flo_hand_done(FloLoader *l, const char *ack_subject);
extern void flo_hand_acknowledge(FloLoader *l);

/* The chunk at hand has to wait: it must not look as if those before it were not in */
extern void flo_hand_hold(FloLoader *l, uint32 attempt);

/* --- copy_sitting.c: several chunks in a transaction --------------------- */

/*
 * Could the table at hand, which is not begun and was copied before or not, be filled in
 * one?  That is noted; needs a transaction.
 */
extern void flo_sitting_plan(FloLoader *l, uint32 relation, bool again);

/* Is the table one of those that are being filled? */
extern bool flo_sitting_has(const FloLoader *l, uint32 relation);

/* Has the open one to end before a chunk of that attempt, or one of another table? */
extern bool flo_sitting_ends_before(FloLoader *l, uint32 attempt);
extern bool flo_sitting_ends_before_table(FloLoader *l, uint32 relation);

/* The table of the chunk at hand is here, empty, and in this transaction */
extern void flo_sitting_try(FloLoader *l, const FloRelation *relation, Oid target,
							uint32 attempt);

/* A chunk was loaded in it */
extern void flo_sitting_note(FloLoader *l, uint32 relation);

/* Is there no reason to go on with it?  idle: there is nothing to load */
extern bool flo_sitting_is_over(FloLoader *l, bool idle);

/* Build what is to be built, and commit */
extern void flo_sitting_end(FloLoader *l);

/* --- copy_chunk.c: one chunk --------------------------------------------- */

/*
 * False when it has to come again: its snapshot is not reached, or its table is
 * another loader's, who has no room
 */
extern bool flo_loader_chunk(FloLoader *l, const FloBusDelivery *delivery);

/*
 * What a sink has written elsewhere is durable; that it is recorded in the
 * transaction that claims the chunk makes it count.
 */
extern void flo_loader_save_sink(FloLoader *l);

/* This one has made its index entries: whoever has the next rows goes on */
extern void flo_loader_pass_turn(FloLoader *l);

#endif
