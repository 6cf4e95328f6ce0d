/*
 * spec.h
 *		Rules and routes as plain structs, as conf reads them for shape.
 */
#ifndef FLO_SHAPE_SPEC_H
#define FLO_SHAPE_SPEC_H

#include "nodes/pg_list.h"

/* Operations, as a set */
#define FLO_ON_INSERT	0x01
#define FLO_ON_UPDATE	0x02
#define FLO_ON_DELETE	0x04
#define FLO_ON_TRUNCATE	0x08

typedef enum FloAction
{
	/* transforms: a column's value becomes another */
	FLO_ACTION_REGEX,
	FLO_ACTION_MASK,
	FLO_ACTION_EXPRESSION,
	FLO_ACTION_NULL,
	FLO_ACTION_CONSTANT,
	FLO_ACTION_PSEUDONYM,
	FLO_ACTION_HASH,
	FLO_ACTION_KEEP,			/* says that the column is meant to pass as it
								 * is */

	/* filters: the row passes or is dropped */
	FLO_ACTION_EQ,
	FLO_ACTION_NE,
	FLO_ACTION_GT,
	FLO_ACTION_LT,
	FLO_ACTION_GTE,
	FLO_ACTION_LTE,
	FLO_ACTION_CONTAINS,
	FLO_ACTION_WHERE
} FloAction;

static inline bool
flo_action_is_filter(FloAction action)
{
	return action >= FLO_ACTION_EQ;
}

/* Does it make another value? */
static inline bool
flo_action_is_transform(FloAction action)
{
	return !flo_action_is_filter(action) && action != FLO_ACTION_KEEP;
}

/* One row of flo.rules */
typedef struct FloRuleSpec
{
	int64		id;
	char	   *schema;			/* of the table at the source */
	char	   *table;
	char	   *column;			/* NULL: none */
	FloAction	action;
	Oid			author;			/* may have been dropped */
	int			operations;
	bool		allow_empty_deletes;

	/* arguments of the action; NULL where it has no such argument */
	char	   *pattern;
	char	   *replace;
	char	   *flags;
	char	   *mask_char;
	int			keep_first;
	int			keep_last;
	bool		keep_short;
	char	   *value;
	char	   *expression;
	char	   *kind;
	char	   *min;
	char	   *max;
	char	   *days;
	char	   *subject;		/* a column */
	char	   *length;
	char	   *alphabet;
	bool		allow_duplicates;
	char	   *secret_name;
	char	   *secret;			/* NULL: there is none, or none for the author */
} FloRuleSpec;

typedef struct FloMapping
{
	char	   *source;
	char	   *destination;	/* NULL: left out */
} FloMapping;

/* One row of flo.routes */
typedef struct FloRouteSpec
{
	int64		id;
	char	   *source_schema;
	char	   *source_table;	/* NULL: every table of the schema */
	char	   *destination_schema; /* NULL: the same */
	char	   *destination_table;	/* NULL: the same */
	int			nmappings;
	FloMapping *mappings;
	int			operations;
} FloRouteSpec;

/*
 * A source table to which rules or a route applied, as it was then.  Kept, so
 * that a table or column that got another name is noticed.
 */
typedef struct FloKnownTable
{
	uint32		id;				/* OID at the source */
	char	   *schema;
	char	   *table;
	int			ncolumns;
	char	  **columns;
	int			ntypes;			/* 0: not known */
	char	  **types;			/* see flo_known_type() */
	int			nkeys;			/* columns of the replica identity */
	char	  **keys;
	int64		newest_rule;	/* highest ids that were known then */
	int64		newest_route;
} FloKnownTable;

/* All that is in force for one member */
typedef struct FloShapeSpec
{
	List	   *rules;			/* of FloRuleSpec *, by position and id */
	List	   *routes;			/* of FloRouteSpec *; the first that names a
								 * table applies */
	List	   *known_tables;	/* of FloKnownTable * */
} FloShapeSpec;

#endif
