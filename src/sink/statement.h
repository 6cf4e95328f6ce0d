/*
 * statement.h
 *		The prepared statements of a destination table.
 *
 * Built once per table, kind and set of columns, with every identifier
 * quoted and every operator named in full, and kept until the table changes.
 */
#ifndef FLO_STATEMENT_H
#define FLO_STATEMENT_H

#include "executor/spi.h"
#include "nodes/params.h"
#include "sink/relmap.h"

typedef enum FloStatementKind
{
	FLO_STMT_INSERT,			/* plain */
	FLO_STMT_INSERT_NEW,		/* unless the key exists: 0 rows then */
	FLO_STMT_UPDATE,			/* bits: columns assigned; by "match" */
	FLO_STMT_UPDATE_KEY,		/* the same, by the destination's key */
	FLO_STMT_UPDATE_PLACE,		/* the same, by where FLO_STMT_LOCATE found
								 * the row */
	FLO_STMT_REPLACE,			/* like FLO_STMT_UPDATE, as DELETE and INSERT */
	FLO_STMT_REPLACE_KEY,		/* like FLO_STMT_UPDATE_KEY */
	FLO_STMT_REPLACE_PLACE,		/* like FLO_STMT_UPDATE_PLACE */
	FLO_STMT_DELETE,
	FLO_STMT_DELETE_PLACE,
	FLO_STMT_EXISTS,			/* is there a row for "match"? */
	FLO_STMT_EXISTS_KEY,		/* is there one with the new row's key? */
	FLO_STMT_LOCATE				/* bits: columns that are NULL; one row by all
								 * columns that are stored as sent */
} FloStatementKind;

typedef enum FloParamSource
{
	FLO_PARAM_NEW,				/* column of the new row */
	FLO_PARAM_OLD,				/* column of the old row */
	FLO_PARAM_PLACE_TABLE,		/* what FLO_STMT_LOCATE returned */
	FLO_PARAM_PLACE_CTID
} FloParamSource;

typedef struct FloParam
{
	FloParamSource source;
	int			column;
} FloParam;

typedef struct FloStatement
{
	struct FloStatement *next;
	FloStatementKind kind;
	bool		by_old;			/* rows are found by the old row's values, not
								 * the new one's */
	uint64	   *bits;

	SPIPlanPtr	plan;
	int			nparams;
	FloParam   *params;
	ParamListInfo values;		/* filled anew for each execution */
} FloStatement;

/*
 * The statement of this kind; "bits" as the kind says, NULL where it says
 * nothing.  Needs an SPI connection and runs as the target's user when it has
 * to be built.  Leaves the current memory context as it was.
 */
extern FloStatement *flo_statement_get(FloTarget *target, FloStatementKind kind,
									   bool by_old, const uint64 *bits);

/* The type's equality as "OPERATOR(schema.name)"; NULL when it has none */
extern char *flo_equality(Oid type);

/* Free all statements of the target */
extern void flo_statement_forget(FloTarget *target);

#endif
