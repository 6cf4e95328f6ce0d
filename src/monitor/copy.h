/*
 * copy.h
 *		Where a copy of a group's tables is: between a replicator and the process
 *		that leads its copy, and between a worker and its loaders.
 */
#ifndef FLO_MONITOR_COPY_H
#define FLO_MONITOR_COPY_H

#include "access/xlogdefs.h"
#include "utils/dsa.h"
#include "utils/uuid.h"

typedef enum FloCopyPhase
{
	FLO_COPY_NONE,
	FLO_COPY_SNAPSHOT,			/* the replicator holds an exported snapshot:
								 * import it */
	FLO_COPY_DUMPING,			/* imported; definitions are being read */
	FLO_COPY_RUNNING,			/* tables are being read */
	FLO_COPY_PUBLISHED,			/* all rows are in the copy stream */
	FLO_COPY_DONE				/* and every worker has them; the copy stream
								 * is gone */
} FloCopyPhase;

/* --- the source's side --------------------------------------------------- */

typedef struct FloSourceCopy
{
	/* what the replicator orders */
	FloCopyPhase phase;			/* afterwards the leader's */
	char		snapshot[64];
	uint32		attempt;
	XLogRecPtr	lsn;			/* of the snapshot */
	pg_uuid_t	generation;
	XLogRecPtr	generation_start;
	bool		marked;			/* of the tables in flo.copy_requests,
								 * announced by a marker */
	int64		stream_limit;	/* copy_stream_max_bytes; always the
								 * replicator's */
	bool		may_fill;		/* the stream has the session's first chunk:
								 * copiers may take what room there is; always
								 * the replicator's */

	/* what the leader tells */
	uint32		segment;		/* its plan, in dynamic shared memory */
	int			copiers;		/* running */
	int			copiers_wanted; /* more than run when the server has no
								 * process free */
	int			tables;
	int			tables_done;
	uint64		bytes;			/* of table files */
	uint64		bytes_done;
	uint64		rows_done;
	bool		full;			/* copiers wait for room in the stream */
	char		broker_full[160];	/* whose limit was met, when that is not
									 * the stream's; "" = none */
	uint64		row_room;		/* what a row needs that does not fit into the
								 * stream at all; 0 = none */
	Oid			row_relation;	/* its table */
} FloSourceCopy;

/* For the replicator: order a copy; look at it; another limit; copiers may begin */
extern void flo_source_copy_order(const FloSourceCopy *order);
extern FloSourceCopy flo_source_copy_get(void);
extern FloCopyPhase flo_source_copy_phase(void);
extern void flo_source_copy_set_limit(int64 bytes);
extern void flo_source_copy_may_fill(void);

/* For the leader, of the member in the entry: what was ordered */
extern FloSourceCopy flo_source_copy_ordered(int slot);

/* All that it tells; takes over the replicator's limit */
extern void flo_source_copy_tell(int slot, FloSourceCopy *copy);

/* Parts of it; the replicator, which may set the phase itself, is woken when that changes */
extern void flo_source_copy_set_phase(int slot, FloCopyPhase phase);
extern void flo_source_copy_set_full(int slot, const char *words);

/* --- the destination's side ---------------------------------------------- */

#define FLO_MAX_LOADERS 64

/*
 * A loader's "low" is the lowest sequence of the copy stream that it may have
 * been handed and that is not durable
 */
typedef struct FloDestCopy
{
	bool		runs;
	pg_uuid_t	generation;
	uint32		attempt;		/* whose rows may be loaded */
	bool		exact;			/* rows of that snapshot only */
	bool		backfill;		/* in the stream of backfills */
	uint32		newest;			/* that the source has begun */
	uint64		seen;			/* highest sequence that any loader has had */
	uint64		later;			/* lowest of rows whose snapshot the stream
								 * has not reached; PG_UINT64_MAX = none */
	uint64		loaded;			/* chunks, since the loaders began */
	uint64		awaited;		/* the worker is woken when there are so many;
								 * PG_UINT64_MAX = it does not know */
	uint64		low[FLO_MAX_LOADERS];
} FloDestCopy;

/*
 * Whose turn it is to make index entries: of the chunks of one table that loaders
 * have in hand, the one that comes first in the stream
 */
typedef struct FloTurns
{
	struct
	{
		uint32		relation;	/* of the source; 0 = none */
		uint64		sequence;
	}			at[FLO_MAX_LOADERS];
} FloTurns;

/*
 * Tables that a loader has to itself until it has filled them, and chunks of these that
 * others were handed
 */
#define FLO_OWN_TABLES 8
#define FLO_HANDED 4
typedef struct FloHanded
{
	uint64		sequence;		/* of the copy stream; 0 = none */
	dsa_pointer data;			/* the message, and one byte more */
	uint32		len;
} FloHanded;

typedef struct FloOwners
{
	dsa_handle	area;			/* of these chunks */
	struct
	{
		int			procno;		/* + 1; 0 = it is not at work */
		uint32		tables[FLO_OWN_TABLES]; /* of the source; 0 = none */
		FloHanded	handed[FLO_HANDED];
	}			at[FLO_MAX_LOADERS];
} FloOwners;

typedef enum FloOwned
{
	FLO_OWNED_NOT,				/* by nobody */
	FLO_OWNED_HERE,				/* by the loader that asks */
	FLO_OWNED_HANDED,			/* by another one, which has the chunk now */
	FLO_OWNED_FULL				/* by another one, which has no room for it */
} FloOwned;

/* For the worker: loaders may begin; they are to end */
extern void flo_dest_copy_begin(const pg_uuid_t *generation, bool exact, bool backfill);
extern void flo_dest_copy_end(void);

/* None of them is at work any more */
extern void flo_dest_copy_close(void);

/*
 * A later snapshot was begun at the source; rows of one may be loaded, and
 * what was held for it goes on
 */
extern void flo_dest_copy_note_newest(uint32 attempt);
extern void flo_dest_copy_admit(uint32 attempt);

/* Sequence up to which nothing of the copy stream is needed; 0 = nothing is known */
extern uint64 flo_dest_copy_floor(void);

/* Lowest sequence of rows held for later; PG_UINT64_MAX = none */
extern uint64 flo_dest_copy_later(void);

/*
 * How many chunks were loaded so far, and at how many the worker wants to be woken.
 * False when there are that many by now, or more.
 */
extern uint64 flo_dest_copy_loaded(void);
extern bool flo_dest_copy_await(uint64 chunks);

/* For a loader: it has loaded so many */
extern void flo_dest_copy_count(int slot, uint32 incarnation, uint64 chunks);

/* For loaders, of the member in the entry: where the copy is */
extern FloDestCopy flo_dest_copy_get(int slot);

/*
 * What loader "number" of that incarnation has been handed at most, and what
 * of it is not durable at least
 */
extern void flo_dest_copy_show(int slot, uint32 incarnation, int number, uint64 seen, uint64 low);

/*
 * Loader "number" has a chunk of that table in hand; its index entries are made,
 * or will not be.  In between it waits for its turn, for so many milliseconds at
 * most: nothing but the order of the entries depends on it.
 */
extern void flo_dest_copy_queue(int slot, int number, uint32 relation, uint64 sequence);
extern void flo_dest_copy_leave(int slot, int number);
extern void flo_dest_copy_await_turn(int slot, int number, long ms);

/* For loader "number": it is at work, and may be handed chunks; false when the copy has ended */
extern bool flo_dest_copy_join(int slot, uint32 incarnation, int number);

/*
 * Whose is a table of which it has a chunk in hand?  With "take", one that is nobody's is
 * given to the loader with the fewest, and has the chunk; so has, in any case, who owns it.
 */
extern FloOwned flo_dest_copy_own(int slot, uint32 incarnation, int number, uint32 relation,
								  bool take, uint64 sequence, const char *data, uint32 len);

/* Hand a chunk to any loader that has no tables of its own; FLO_OWNED_NOT: there is none */
extern FloOwned flo_dest_copy_give(int slot, uint32 incarnation, uint64 sequence,
								   const char *data, uint32 len);
extern bool flo_dest_copy_is_full(int slot, uint32 relation);
extern void flo_dest_copy_disown(int slot, uint32 incarnation, int number, uint32 relation);

/*
 * The first chunk that it was handed and that comes after *sequence, with a byte to write
 * to behind it; false = none.  It stays until it is loaded.
 */
extern bool flo_dest_copy_handed(int slot, uint32 incarnation, int number, uint64 *sequence,
								 char **data, int *len);
extern void flo_dest_copy_took(int slot, uint32 incarnation, int number, uint64 sequence);

/* Rows of that attempt, from that sequence on, wait */
extern void flo_dest_copy_hold(int slot, uint32 attempt, uint64 sequence);

#endif
