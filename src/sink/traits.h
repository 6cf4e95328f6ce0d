/*
 * traits.h
 *		What of a destination table decides how its changes may be gathered.
 */
#ifndef FLO_TRAITS_H
#define FLO_TRAITS_H

#include "fmgr.h"
#include "sink/relmap.h"
#include "utils/relcache.h"

/* How two values of a key column are told apart */
typedef enum FloKeyCompare
{
	FLO_KEY_BY_VALUE,			/* equal values are equal Datums */
	FLO_KEY_BY_BYTES,			/* varlena: equal values are equal bytes */
	FLO_KEY_FIXED,				/* the same of a fixed length */
	FLO_KEY_FUNCTIONS			/* as the type's operator class says */
} FloKeyCompare;

typedef struct FloKeyColumn
{
	int			column;
	FloKeyCompare compare;
	int16		typlen;
	Oid			collation;
	FmgrInfo	hash;			/* of FLO_KEY_FUNCTIONS */
	FmgrInfo	equal;
} FloKeyColumn;

typedef struct FloTraits
{
	/* what may be gathered at all */
	bool		fires;			/* triggers or rules do something with each
								 * change */
	bool		keyed;			/* UPDATE and DELETE find rows by a unique key */

	/* what has to be kept */
	bool		ordered;		/* more than the key is unique: order matters */
	bool		each_image;		/* every version of a row may meet an
								 * objection */

	/* how it can be written */
	bool		direct;			/* an ordinary table: past the SQL executor */
	bool		direct_insert;	/* and all columns it has are sent, or NULL */

	/* columns, as numbered in the messages */
	int			nkey;
	FloKeyColumn *key;			/* in the order of the key index */
	int			nnotnull;
	int		   *notnull;
	bool		user_code;		/* reading values can run code of users */
	Oid			key_index;

	/* how it went so far, see batch.c and direct.c */
	int			strict_turns;	/* sets not to be tried */
	int			last_strict_turns;
	uint64		strict_batch;	/* the batch that these are counted in: */
	int			strict_changes;
	uint32		scattered;		/* sets of new rows in a row whose entries did
								 * not go to the end of any index */
} FloTraits;

/* Does any trigger of the table fire for rows that are written here? */
extern bool flo_triggers_fire(Relation rel);

/*
 * The target's traits, which are worked out once and live as long as it does.
 * Its table must be locked.
 */
extern FloTraits *flo_traits(FloTarget *target);

/*
 * Has it foreign keys whose other side lacks rows, or is it that of some: of the
 * tables (OIDs) "referring", or "any"?  Of partitions it is not looked at.
 */
extern bool flo_traits_foreign_keys(const FloTarget *target, bool any, const List *referring);

#endif
