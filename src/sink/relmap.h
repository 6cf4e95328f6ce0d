/*
 * relmap.h
 *		Source tables and the destination tables their changes go to.
 */
#ifndef FLO_RELMAP_H
#define FLO_RELMAP_H

#include "core/as_role.h"
#include "core/compat.h"
#include "nodes/parsenodes.h"
#include "sink/convert.h"
#include "utils/palloc.h"
#include "wire/change.h"

typedef struct FloRelmap FloRelmap;
struct FloStatement;
struct FloTraits;
struct FloGather;
struct FloSetStatement;

/* The privileges that changes of rows need */
#define FLO_ROW_PRIVILEGES	(ACL_SELECT | ACL_INSERT | ACL_UPDATE | ACL_DELETE)

/* How a row of the destination is found */
typedef enum FloMatch
{
	FLO_MATCH_NOTHING,			/* the source sends nothing to find it by */
	FLO_MATCH_KEY,				/* by the columns listed in "match" */
	FLO_MATCH_ROW				/* by all columns; duplicates are possible */
} FloMatch;

/* What a source column is at the destination */
typedef struct FloTargetColumn
{
	char	   *name;
	char	   *quoted;
	AttrNumber	attnum;
	Oid			type;
	int32		typmod;
	int16		typlen;
	bool		typbyval;
	bool		compressed;		/* the server may keep it so */
	char		compression;	/* by which method, as in pg_attribute */
	bool		generated;		/* computed here: compared, never written */
	bool		identity_always;	/* INSERT overrides it, UPDATE cannot
									 * assign it */
	bool		matched;		/* one of "match" */
	bool		in_key;			/* one of "key" */
	FloConverter converter;
} FloTargetColumn;

/*
 * A destination table as seen from one source relation.  Columns are numbered
 * as in the source's messages throughout.
 */
typedef struct FloTarget
{
	/* identity */
	Oid			relid;
	char	   *schema;
	char	   *table;
	char	   *quoted;			/* "schema"."table" */
	bool		partitioned;
	bool		is_partition;
	FloRelation source;			/* what the target was made from; a copy */
	char	   *source_schema;	/* and before routes, at the source */
	char	   *source_table;

	/* columns */
	int			natts;
	FloTargetColumn *columns;
	int			nwords;			/* of a bitmap over the columns */
	uint64	   *writable;		/* columns that may be assigned */
	uint64	   *matched;		/* columns in "match" */
	uint64	   *identity;		/* columns that are GENERATED ALWAYS AS
								 * IDENTITY here */
	bool		has_identity;	/* any of these */
	char	   *touch;			/* quoted name of a column that may be set to
								 * itself, or NULL */

	/* finding rows */
	FloMatch	match_by;
	int			nmatch;
	int		   *match;			/* columns that find a row for UPDATE and
								 * DELETE */
	int			nkey;			/* 0: no primary key here, or the source does
								 * not send all of it */
	int		   *key;			/* columns of the destination's primary key */
	char	  **key_quoted;
	bool		key_deferrable; /* no arbiter for ON CONFLICT */
	Oid			key_index;

	/* whom to be */
	Oid			owner;
	Oid			run_as;
	bool		restricted;		/* run_as must not get at what this process
								 * may do */

	AclMode		privileges;		/* on the whole table, of those changes need */

	/* prepared statements, see statement.h */
	struct FloStatement *statements;
	int			nstatements;

	/* gathering, see batch.h */
	struct FloTraits *traits;	/* NULL until asked for */
	struct FloSetStatement *set_statements;
	int			nset_statements;
	struct FloGather *gather;	/* changes not written yet, or NULL */
	int			nchildren;		/* partitions the traits depend on */
	Oid		   *children;

	/* life */
	MemoryContext context;		/* of all of the above */
	uint64		version;		/* of the FloRelation it was made from */
	uint32		namespace_hash;
	bool		built;
	bool		stale;			/* the table changed since */
	bool		allowed;		/* roles were checked, and did not change
								 * since */
	uint64		batch;			/* number of the batch that holds a lock on it */
} FloTarget;

/*
 * As whom tables of this owner are written to, whatever is done to them; 0 = the
 * worker's owner may not become him, which the second says.
 */
extern Oid	flo_target_role(Oid worker_owner, bool as_worker, Oid owner);
pg_noreturn extern void flo_target_refuse(Oid worker_owner, Oid owner, const char *schema,
										  const char *table);

/*
 * Rows are applied as the destination table's owner when "as_worker" is
 * false, else as "worker_owner".  Lives in "context"; there is at most one map
 * per process.
 */
extern FloRelmap *flo_relmap_create(MemoryContext context, Oid worker_owner, bool as_worker);

/*
 * Called with a target that has changes gathered before it is made anew, so
 * that they can be written the way they were read.
 */
extern void flo_relmap_on_rebuild(FloRelmap *map, void (*function) (void *arg, FloTarget *target),
								  void *arg);

/* flo_target_role() of the map's worker */
extern Oid	flo_relmap_role(const FloRelmap *map, Oid owner);

/* A new transaction begins: no locks are held */
extern void flo_relmap_begin(FloRelmap *map);

/*
 * The destination of a source table, locked against changes of its definition
 * until the end of the transaction.  Throws 42P01, 42703, 42809, 42501.  The
 * result is valid until the next call.
 */
extern FloTarget *flo_relmap_open(FloRelmap *map, const FloRelation *relation);

/* Forget everything, e.g. because routes changed */
extern void flo_relmap_forget(FloRelmap *map);

/* Forget one source table, of which no change is left to be written */
extern void flo_relmap_forget_table(FloRelmap *map, uint32 relation);

/* Act as the target's user; an abort of the transaction restores, too */
extern void flo_target_enter(const FloTarget *target, FloAsRole *saved);
extern void flo_target_leave(const FloAsRole *saved);

/* Types whose equal values are always the same value (see statement.c) */
extern bool flo_equal_is_same(Oid type);

static inline bool
flo_bit_get(const uint64 *bits, int i)
{
	return (bits[i >> 6] >> (i & 63)) & 1;
}

static inline void
flo_bit_set(uint64 *bits, int i)
{
	bits[i >> 6] |= UINT64CONST(1) << (i & 63);
}

#endif
