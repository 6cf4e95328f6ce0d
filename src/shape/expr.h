/*
 * expr.h
 *		SQL expressions over the columns of a row.
 */
#ifndef FLO_EXPR_H
#define FLO_EXPR_H

#include "core/as_role.h"
#include "executor/executor.h"
#include "nodes/params.h"
#include "shape/columns.h"
#include "utils/relcache.h"

/*
 * Act as a rule's author.  "guarded": code of users may run, which must not
 * change this process; its settings are undone afterwards, it cannot write,
 * and a snapshot is there for it.  An abort restores everything, too.
 */
typedef struct FloAuthor
{
	FloAsRole	as;
	bool		guarded;
	bool		read_only;
	bool		pushed_snapshot;
} FloAuthor;

extern void flo_author_enter(FloAuthor *saved, Oid author, bool guarded);
extern void flo_author_leave(const FloAuthor *saved);

typedef struct FloExpr
{
	/* what the caller fills in before each evaluation, beginning with $1 */
	int			ncolumns;
	int		   *columns;		/* numbers of the FloShapeColumns */
	ParamListInfo values;

	Oid			type;			/* of the result */
	FmgrInfo	output;			/* of that type */
	bool		result_is_text;
	bool		guarded;
	Oid			author;
	ExprState  *state;
	ExprContext *context;
} FloExpr;

/* Is the text one SQL expression?  Throws 42601. */
extern void flo_expr_check_syntax(const char *text);

/*
 * Parse, plan and prepare, as the author; lives in the current memory context.
 * A condition is one of type boolean.  "decoding": the tables of users cannot
 * be read where it will run.  Throws what the parser throws, and 0A000 for
 * volatile or set-returning expressions.
 */
extern FloExpr *flo_expr_compile(const char *text, bool is_condition, Oid author,
								 bool decoding, FloShapeColumns *columns);

/*
 * A condition over the columns of a table that is open, as its publisher reads it: its
 * columns stay such.  Planned, to be prepared with ExecPrepareExpr() and evaluated by who
 * acts as the author, "guarded" or not.  "fixed": whatever the time, and whatever
 * is in other tables, it says the same of the same row.
 */
extern Expr *flo_expr_condition(const char *text, Oid author, Relation rel, bool *guarded,
								bool *fixed);

/*
 * The caller acts as the author, also while it reads the values.  The result
 * is valid until the next evaluation of the same expression.
 */
extern Datum flo_expr_evaluate(FloExpr *expr, bool *isnull);

#endif
