/*
 * gather.h
 *		Changes of one table that were read but not written yet.
 *
 * Every change is kept as it came, converted, in order: that is what strict
 * application works from.  Beside it stands what all changes of one key come
 * to, their net effect: that is what is written as a set.
 */
#ifndef FLO_GATHER_H
#define FLO_GATHER_H

#include "sink/relmap.h"
#include "sink/traits.h"

/*
 * A row: one Datum for each column, followed by one byte for each column that
 * says what the Datum is.  As isnull arrays have 0 and 1 for value and NULL,
 * the bytes of a row without unchanged values are one.
 */
typedef Datum *FloRow;

#define FLO_ROW_VALUE		0
#define FLO_ROW_NULL		1
#define FLO_ROW_UNCHANGED	2

static inline char *
flo_row_kinds(FloRow row, int natts)
{
	return (char *) (row + natts);
}

/* A change as it came */
typedef struct FloLogged
{
	FloRow		new;			/* NULL: none */
	FloRow		old;			/* NULL: none; only columns that may be needed
								 * are in it */
	XLogRecPtr	commit_lsn;
	char		op;				/* FloOp */
	bool		old_is_key;
	bool		moves;			/* an UPDATE that changes the key */
	bool		partial;		/* the new row has unchanged values */
} FloLogged;

/* What the changes of one key come to */
typedef enum FloNetKind
{
	FLO_NET_INSERT,
	FLO_NET_UPDATE,
	FLO_NET_DELETE,
	FLO_NET_REPLACE,			/* DELETE and INSERT */
	FLO_NET_NOTHING				/* INSERT and DELETE: there must be no such
								 * row */
} FloNetKind;

typedef struct FloNet
{
	FloRow		key;			/* holds the key the row is found by */
	FloRow		row;			/* new values */
	uint32		hash;
	uint8		kind;			/* FloNetKind */
	bool		partial;		/* "row" has unchanged values */
} FloNet;

typedef struct FloGather
{
	struct FloGather *next;		/* in the batch's list */
	FloTarget  *target;
	FloTraits  *traits;
	MemoryContext context;		/* rows and arrays */
	Size		bytes;			/* what it took when last looked at */

	int			nlogged;
	int			log_room;
	FloLogged  *log;

	int			nnets;
	int			net_room;
	FloNet	   *nets;

	/* where the net effect of a key is: indexes into "nets", -1 = free */
	int			nhashed;		/* nets found through it; INSERTs alone need
								 * none */
	uint32		mask;
	int		   *slots;

	/*
	 * Columns with long values that the source's server could not make
	 * smaller, and with such as may be made so; NULL while there are none
	 */
	uint64	   *vain;
	uint64	   *worthwhile;

	/* a run: all changes are of one kind, and are written in order */
	bool		run;
	char		run_op;
	bool		run_moves;
	uint64	   *run_bits;		/* columns that are unchanged */
} FloGather;

/* May this change be gathered with what is there? */
typedef enum FloFit
{
	FLO_FIT_ADDED,
	FLO_FIT_FLUSH,				/* write what is there, and try again */
	FLO_FIT_NEVER				/* write what is there, and apply this one */
} FloFit;

extern FloGather *flo_gather_create(MemoryContext parent);
extern void flo_gather_begin(FloGather *gather, FloTarget *target, FloTraits *traits);
extern FloFit flo_gather_add(FloGather *gather, const FloChange *change, XLogRecPtr commit_lsn);

/* Is it in vain to compress what was gathered for this column? */
static inline bool
flo_gather_is_vain(const FloGather *gather, int column)
{
	return gather->vain != NULL && flo_bit_get(gather->vain, column) &&
		!flo_bit_get(gather->worthwhile, column);
}

/* Forget everything that was gathered */
extern void flo_gather_reset(FloGather *gather);

#endif
